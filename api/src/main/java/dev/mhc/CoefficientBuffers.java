// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The coefficients that a layer holds, and their gradients, in one allocation that grows with T. While T stays the same,
 * so do the tensors, and nothing is allocated. Guarded by the device's lock.
 */
final class CoefficientBuffers {
  private final Device device;
  private final int streams;
  private final int mixCount; // 0 where neither mix nor invRms is kept
  private final boolean shifted;

  private @Nullable Tensor memory;
  private long capacity = -1;
  private @Nullable Coefficients coefficients;
  private @Nullable Coefficients gradients;
  private @Nullable Tensor firstStream;
  private boolean isComputed;
  private boolean hasGradients;
  private boolean hasPreGradient;
  private volatile boolean closed;

  CoefficientBuffers(Device device, HyperConnectionConfig config, long tokens) {
    this.device = device;
    streams = config.streams();
    mixCount = config.isDynamic() ? config.mixCount() : 0;
    shifted = config.shifted();
    try (var _ = device.held()) {
      device.handle();
      reserve(tokens);
    }
  }

  boolean isClosed() {
    return closed || device.isClosed();
  }

  void close() {
    try (var _ = device.held()) {
      closed = true;
      device.closings++;
      if (memory != null) {
        memory.close();
      }
    }
  }

  /** The coefficients, for T tokens, to be written. Another T than before ends what was computed before. */
  Coefficients prepare(long tokens) {
    requireOpen();
    reserve(tokens);
    Coefficients current = coefficients;
    if (current == null || current.preMix().shape[0] != tokens) {
      current = divide(tokens);
    }
    return current;
  }

  void computed() {
    isComputed = true;
    hasGradients = false;
    hasPreGradient = false;
  }

  /** The coefficients, written or not. Whoever asks knows that this layer is open; so for the next. */
  @Nullable Coefficients heldOrNull() {
    return coefficients;
  }

  /** The coefficients, if the last forward made any. */
  @Nullable Coefficients computedOrNull() {
    return isComputed ? coefficients : null;
  }

  /** The coefficients that the last forward made. */
  Coefficients current() {
    requireOpen();
    Coefficients current = coefficients;
    if (!isComputed || current == null) {
      throw new IllegalStateException("this layer has no coefficients yet; expected pre, coefficients, or the boundary"
          + " of the layer before it first");
    }
    return current;
  }

  /** Where the gradients of the current coefficients go. */
  Coefficients gradients() {
    current();
    return gradients;
  }

  void gradientsComputed(boolean preToo) {
    hasGradients = true;
    hasPreGradient = preToo;
  }

  /** The gradients that a backward has made. */
  Coefficients gradientsGiven() {
    current();
    if (!hasGradients) {
      throw new IllegalStateException("this layer has no gradients of its coefficients yet; expected postBackward,"
          + " boundaryBackward or coefficientGradients of this layer first");
    }
    return gradients;
  }

  boolean hasPreGradient() {
    return hasPreGradient;
  }

  Coefficients gradientsToEdit() {
    Coefficients result = gradients();
    if (!hasGradients) {
      result.postMix().fill(0);
      result.resMix().fill(0);
    }
    if (!hasPreGradient) {
      result.preMix().fill(0);
    }
    hasGradients = true;
    hasPreGradient = true;
    return result;
  }

  /** [T, n], 1 for the first stream and 0 for the others. */
  Tensor firstStream(long tokens) {
    prepare(tokens);
    return firstStream;
  }

  private void requireOpen() {
    if (isClosed()) {
      throw new IllegalStateException("this HyperConnection is closed, or its device is");
    }
  }

  private long floatsPerToken() {
    long n = streams;
    return 2 * (2 * n + n * n) + (mixCount > 0 ? mixCount + 1 : 0) + (shifted ? n : 0);
  }

  private void reserve(long tokens) {
    if (tokens <= capacity) {
      return;
    }
    Tensor old = memory;
    memory = Tensor.allocate(device, DType.FP32, new long[] {tokens * floatsPerToken()}, false);
    capacity = tokens;
    coefficients = null;
    gradients = null;
    isComputed = false;
    if (old != null) {
      old.close();
    }
  }

  private Coefficients divide(long tokens) {
    isComputed = false;
    int n = streams;
    var parts = new Parts(tokens);
    coefficients = new Coefficients(parts.next(n), parts.next(n), parts.next(n, n),
        mixCount > 0 ? parts.next(mixCount) : null, mixCount > 0 ? parts.next() : null);
    gradients = new Coefficients(parts.next(n), parts.next(n), parts.next(n, n), null, null);
    if (shifted) {
      Tensor one = parts.next(n).fill(0);
      one.slice(1, 0, 1).fill(1);
      firstStream = one;
    }
    return coefficients;
  }

  /** Cuts the memory into one tensor after the other. */
  private final class Parts {
    private final long tokens;
    private long offset;

    Parts(long tokens) {
      this.tokens = tokens;
    }

    Tensor next(long... perToken) {
      long[] shape = new long[perToken.length + 1];
      shape[0] = tokens;
      System.arraycopy(perToken, 0, shape, 1, perToken.length);
      Tensor part = memory.part(offset, DType.FP32, shape);
      offset += tokens * Arrays.stream(perToken).reduce(1, (a, b) -> a * b) * DType.FP32.bytes();
      return part;
    }
  }
}
