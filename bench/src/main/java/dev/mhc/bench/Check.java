// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.DType;
import dev.mhc.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;

/** Compares results with a plain rendering in double precision, and ends a benchmark whose results are wrong. */
public final class Check {
  /** Of coefficients, which are fp32. */
  public static final double COEFFICIENTS = 2e-5;

  /** Channels that share a scale in FP8. */
  public static final int TILE = 128;

  private static final byte POISON = (byte) 0xff; // a NaN of every type of number, and -1

  private Check() {}

  /** Half a unit in the last place, relative. */
  public static double rounding(DType type) {
    return switch (type) {
      case BF16 -> 0x1p-8;
      case FP16 -> 0x1p-11;
      case FP32 -> 0x1p-22; // sums of fp32 values in another order; 0x1p-24 would be the rounding alone
      case FP8_E4M3 -> 0x1p-4;
      default -> throw new IllegalArgumentException("type is " + type + "; expected a floating-point type");
    };
  }

  /** Some of so many tokens: the first, the last, and two between. */
  public static int[] tokens(long count) {
    int last = (int) count - 1;
    return IntStream.of(0, last / 3, last / 2, last).distinct().toArray();
  }

  /** A token's values. */
  public static double[] token(Tensor tensor, int token) {
    return tensor.slice(0, token, token + 1).toDoubles();
  }

  /** Fills a compact tensor with what no operation writes. */
  public static Tensor poison(Tensor tensor) {
    tensor.segment().fill(POISON);
    return tensor;
  }

  /** Nothing of the poison is left. */
  public static void written(String what, Tensor tensor) {
    MemorySegment segment = tensor.segment();
    int bytes = tensor.dtype().bytes();
    long ones = -1L >>> Long.SIZE - 8 * bytes;
    for (long at = 0; at < segment.byteSize(); at += bytes) {
      long bits = switch (bytes) {
        case 1 -> segment.get(ValueLayout.JAVA_BYTE, at) & ones;
        case 2 -> segment.get(ValueLayout.JAVA_SHORT, at) & ones;
        default -> segment.get(ValueLayout.JAVA_INT, at) & ones;
      };
      if (bits == ones) {
        throw new IllegalStateException(what + "[" + at / bytes + "] of " + Arrays.toString(tensor.shape())
            + " was not written");
      }
    }
  }

  /** Each value within a relative and an absolute distance. */
  public static void close(String what, double[] got, double[] expected, double relative, double absolute) {
    if (got.length != expected.length) {
      throw new IllegalStateException(what + " has " + got.length + " values; expected " + expected.length);
    }
    for (int i = 0; i < expected.length; i++) {
      if (!(Math.abs(got[i] - expected[i]) <= relative * Math.abs(expected[i]) + absolute)) {
        throw new IllegalStateException(what + "[" + i + "] is " + got[i] + "; expected " + expected[i]);
      }
    }
  }

  /** Values that were rounded to a type, after sums in another order. */
  public static void rounded(String what, DType type, double[] got, double[] expected) {
    double rounding = rounding(type);
    close(what, got, expected, 1.1 * rounding, Math.max(rounding / 4, 1e-5));
  }

  /**
   * A row of a matrix product, summed in fp32 and rounded.
   *
   * @param left its row
   * @param right row by row
   */
  public static void product(String what, DType type, double[] left, double[] right, double[] got) {
    var expected = new double[got.length];
    for (int k = 0; k < left.length; k++) {
      for (int n = 0; n < expected.length; n++) {
        expected[n] += left[k] * right[k * expected.length + n];
      }
    }
    close(what, got, expected, 1.1 * rounding(type), 1e-5 * Math.sqrt(left.length));
  }

  /**
   * Values that went through E4M3 in tiles of 1 x {@value #TILE}, and came back.
   *
   * @param scales of the tiles
   */
  public static void quantized(String what, double[] given, double[] scales, double[] got) {
    for (int c = 0; c < given.length; c++) {
      double error = Math.abs(got[c] - given[c]); // half a unit of 3 bits, or of the smallest subnormal, 2^-9
      double bound = 1.02 * Math.max(Math.abs(given[c]) * 0x1p-4, scales[c / TILE] * 0x1p-10);
      if (!(error <= bound)) {
        throw new IllegalStateException(what + ", there and back, " + given[c] + " is " + got[c] + "; expected at most "
            + bound + " apart");
      }
    }
  }

  /**
   * A gradient, along a random direction: its scalar product with the direction is the derivative of the scalar product
   * of forward's results with what reaches them from behind.
   *
   * @param forward in double precision
   * @param at its argument
   * @param upstream gradient of its results
   * @param gradient of its argument
   * @param rounding of the gradient's type: independent of the direction, it grows as the root of the sum of squares
   */
  public static void gradient(String what, UnaryOperator<double[]> forward, double[] at, double[] upstream,
      double[] gradient, double rounding) {
    double[] direction = doubles(Rows.normal(at.length, new SplittableRandom(at.length), 1));
    double step = 1e-4;
    double expected = (along(forward, at, upstream, direction, step) - along(forward, at, upstream, direction, -step))
        / (2 * step);
    double got = dot(gradient, direction);
    double tolerance = 6 * rounding * Math.sqrt(dot(gradient, gradient)) + 1e-6;
    if (!(Math.abs(got - expected) <= tolerance)) {
      throw new IllegalStateException(
          what + " is " + got + " along a direction; expected " + expected + " within " + tolerance);
    }
  }

  /**
   * The gradient of an RMSNorm's weight, a sum over all tokens, in fp32.
   *
   * @param x of the norm
   * @param upstream gradient of its result
   */
  public static void normGradient(String what, Tensor x, float eps, Tensor upstream, Tensor gradient) {
    var expected = new double[(int) gradient.dim(0)];
    for (int token = 0; token < x.dim(0); token++) {
      double[] at = token(x, token);
      double[] dY = token(upstream, token);
      double rms = Reference.rms(at, eps);
      for (int c = 0; c < expected.length; c++) {
        expected[c] += dY[c] * at[c] / rms;
      }
    }
    close(what, gradient.toDoubles(), expected, 1e-5, 1e-5 * Math.sqrt(x.dim(0)));
  }

  private static double along(UnaryOperator<double[]> forward, double[] at, double[] upstream, double[] direction,
      double step) {
    double[] moved = at.clone();
    for (int i = 0; i < moved.length; i++) {
      moved[i] += step * direction[i];
    }
    return dot(forward.apply(moved), upstream);
  }

  /** One after the other. */
  public static double[] join(double[]... parts) {
    return Arrays.stream(parts).flatMapToDouble(Arrays::stream).toArray();
  }

  /** The scalar product. */
  public static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  private static double[] doubles(float[] values) {
    var result = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      result[i] = values[i];
    }
    return result;
  }
}
