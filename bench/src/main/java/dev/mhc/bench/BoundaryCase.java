// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.Accumulate;
import dev.mhc.Coefficients;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Expand;
import dev.mhc.Gradients;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.Operations;
import dev.mhc.Parameters;
import dev.mhc.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;

/**
 * One boundary between two layers of random parameters, and the same work cut into smaller operations. Rows rotate over
 * several sets of tensors, so that a call does not find in a cache what the call before left there.
 */
public final class BoundaryCase implements AutoCloseable {
  /**
   * The rows that one call works on: those of a boundary, and two views. dX also holds what operations that are not fused
   * leave for each other.
   *
   * @param index of it among the sets, from 0
   */
  public record Set(int index, Tensor x, Tensor f, Tensor xNext, Tensor h, Tensor dH, Tensor dXNext, Tensor dX, Tensor dF,
      Tensor xNextRows, Tensor dXOneStream) {}

  private final Device device;
  private final HyperConnectionConfig config;
  private final long tokens;
  private final long width;
  private final HyperConnection current;
  private final HyperConnection next;
  private final Gradients gradients;
  private final Tensor noPostMix;
  private final Tensor zeroRow;
  private final Tensor zeroF;
  private final List<Set> sets = new ArrayList<>();
  private Consumer<String> afterEach = operation -> {};
  private int turn;

  /**
   * A boundary.
   *
   * @param device to run on
   * @param config of both layers
   * @param type of the rows
   * @param tokens T
   * @param width C
   * @param bytes that the rows of all sets together shall have at least: more than the caches
   */
  public BoundaryCase(Device device, HyperConnectionConfig config, DType type, long tokens, long width, long bytes) {
    this.device = device;
    this.config = config;
    this.tokens = tokens;
    this.width = width;
    current = HyperConnection.create(device, config, parameters(1), tokens);
    next = HyperConnection.create(device, config, parameters(2), tokens);
    gradients = Gradients.like(next.parameters());
    noPostMix = device.tensor(DType.FP32, tokens, config.streams());
    zeroRow = device.tensor(type, width);
    zeroF = Tensor.wrap(device, type, zeroRow.segment(), new long[] {tokens, width}, new long[] {0, 1});
    var random = new SplittableRandom(3);
    long one = (4L * config.streams() + 4) * tokens * width * type.bytes();
    for (long made = 0; made == 0 || made < bytes; made += one) {
      sets.add(set(type, random));
    }
    for (Set each : sets) {
      current.pre(each.x, each.h);
    }
    current.pre(sets.get(0).x, sets.get(0).h); // the coefficients that stay are those of the first set
  }

  private Parameters parameters(long seed) {
    Parameters made = Parameters.initialize(device, config, width, seed);
    if (made.scale() != null) {
      made.scale().fill(1); // gates wide open: coefficients that depend on x
    }
    return made;
  }

  private Set set(DType type, SplittableRandom random) {
    int n = config.streams();
    Tensor xNext = device.tensor(type, tokens, n, width);
    Tensor dX = device.tensor(type, tokens, n, width);
    return new Set(sets.size(), Rows.random(device.tensor(type, tokens, n, width), random, 1),
        Rows.random(device.tensor(type, tokens, width), random, 1), xNext, device.tensor(type, tokens, width),
        Rows.random(device.tensor(type, tokens, width), random, 1),
        Rows.random(device.tensor(type, tokens, n, width), random, 1), dX, device.tensor(type, tokens, width),
        xNext.reshape(tokens * n, width), dX.reshape(tokens * n, 1, width));
  }

  /** The next set of rows. */
  public Set rotate() {
    turn = (turn + 1) % sets.size();
    return sets.get(turn);
  }

  /** The first set of rows, whose coefficients the first layer holds. */
  public Set first() {
    return sets.get(0);
  }

  /** One of the sets of rows, from 0. */
  public Set set(int index) {
    return sets.get(index);
  }

  /** How many sets of rows there are. */
  public int sets() {
    return sets.size();
  }

  /** The layer before the boundary. */
  public HyperConnection current() {
    return current;
  }

  /** The layer behind it. */
  public HyperConnection next() {
    return next;
  }

  /** Gradients of the parameters of the layer behind the boundary. */
  public Gradients gradients() {
    return gradients;
  }

  /** Bytes of an element of C for every token: the unit of the traffic ledger. */
  public long unit() {
    return tokens * width * sets.get(0).x.dtype().bytes();
  }

  /** Has something done after each operation, which is named to it. */
  public void afterEach(Consumer<String> action) {
    afterEach = action;
  }

  // ---------------------------------------------------------------------------------------------- forward

  /** One pass. */
  public void boundary(Set on) {
    current.boundary(on.x, on.f, next, on.xNext, on.h);
    afterEach.accept("boundary");
  }

  /** Two passes: post, then coefficients and pre together. */
  public void twoPasses(Set on) {
    current.post(on.x, on.f, on.xNext);
    afterEach.accept("post");
    next.pre(on.xNext, on.h);
    afterEach.accept("coefficients and pre");
  }

  /** Three kernels, as in the paper: post with the mix of the residual, coefficients, pre. */
  public void threeKernels(Set on) {
    current.post(on.x, on.f, on.xNext);
    afterEach.accept("post");
    coefficientsThenPre(on);
  }

  /**
   * Five operations, one for each row of the paper's Table 2. The library has none that does so little, so others stand
   * in: H_post f is the dX of a pre's backward; H_res x is a post whose f is one row of zeros for all tokens, which the
   * ledger counts though it stays in the cache; their sum is an expand's backward of one stream, accumulated.
   */
  public void unfused(Set on) {
    Coefficients made = current.coefficients();
    Operations.preBackward(on.x, made.postMix(), on.f, on.xNext, null, Accumulate.NONE);
    afterEach.accept("H_post f");
    Operations.post(config.orientation(), on.x, zeroF, noPostMix, made.resMix(), on.dX);
    afterEach.accept("H_res x");
    Expand.backward(on.dXOneStream, on.xNextRows, Accumulate.INPUTS);
    afterEach.accept("sum of both");
    coefficientsThenPre(on);
  }

  private void coefficientsThenPre(Set on) {
    Coefficients made = next.coefficients(on.xNext);
    afterEach.accept("coefficients");
    Operations.pre(on.xNext, made.preMix(), on.h);
    afterEach.accept("pre");
  }

  // ---------------------------------------------------------------------------------------------- backward

  /** What the backward of a layer behind this boundary would have left: gradients of the next layer's coefficients. */
  public void receiveCoefficientGradients() {
    Coefficients received = next.coefficientGradients();
    received.postMix().fill(0.5);
    received.resMix().fill(-0.25);
  }

  /** One pass; after a forward on the same rows, and {@link #receiveCoefficientGradients()}. */
  public void boundaryBackward(Set on) {
    current.boundaryBackward(on.x, on.f, next, on.dH, on.dXNext, on.dX, on.dF, gradients);
    afterEach.accept("boundary backward");
  }

  /**
   * Three operations: the backwards of pre, coefficients and post. The first two add to dXNext, in place; each run
   * therefore starts from what the run before made of it.
   */
  public void threeKernelsBackward(Set on) {
    Operations.preBackward(on.xNext, next.coefficients().preMix(), on.dH, on.dXNext,
        next.coefficientGradients().preMix(), Accumulate.INPUTS);
    afterEach.accept("pre backward");
    next.coefficientsBackward(on.xNext, on.dXNext, gradients, Accumulate.INPUTS);
    afterEach.accept("coefficients backward");
    current.postBackward(on.x, on.f, on.dXNext, on.dX, on.dF);
    afterEach.accept("post backward");
  }

  @Override
  public void close() {
    for (Set set : sets) {
      for (Tensor tensor : List.of(set.x, set.f, set.xNext, set.h, set.dH, set.dXNext, set.dX, set.dF)) {
        tensor.close();
      }
    }
    for (Tensor tensor : List.of(zeroF, zeroRow, noPostMix)) {
      tensor.close();
    }
    gradients.close();
    next.close();
    current.close();
    next.parameters().close();
    current.parameters().close();
  }
}
