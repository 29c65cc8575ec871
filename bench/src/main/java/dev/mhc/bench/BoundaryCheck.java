// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.Coefficients;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/** Compares what a {@link BoundaryCase} of bf16 in the paper's conventions computes with {@link Reference}. */
final class BoundaryCheck {
  private static final double BF16_ROUNDING = 0x1p-8; // half a unit in the last place, relative
  private static final double COEFFICIENTS = 2e-5;

  private BoundaryCheck() {}

  /** The forward on the first, the last and some tokens between. */
  static void forward(BoundaryCase boundary) {
    BoundaryCase.Set on = boundary.first();
    boundary.boundary(on);
    Coefficients made = boundary.next().coefficients();
    for (int token : tokens(boundary)) {
      var reference = new Reference(boundary.next().parameters(), boundary.current().coefficients(), token);
      Reference.Result expected =
          reference.run(Reference.token(on.x(), token), Reference.token(on.f(), token), true);
      close("xNext", token, Reference.token(on.xNext(), token), expected.xNext(), 2 * BF16_ROUNDING, 1e-3);
      close("h", token, Reference.token(on.h(), token), expected.h(), 1.1 * BF16_ROUNDING, 1e-3);
      close("preMix", token, Reference.token(made.preMix(), token), expected.preMix(), COEFFICIENTS, 0);
      close("postMix", token, Reference.token(made.postMix(), token), expected.postMix(), COEFFICIENTS, 0);
      double[] res = flat(expected.resMix());
      close("resMix", token, Reference.token(made.resMix(), token), res, COEFFICIENTS, 1e-6);
    }
  }

  /**
   * The backward, along a random direction of each token's x and f: the scalar product of the direction with dX and dF
   * is the derivative of the reference's scalar product of its results with dXNext, dH and the coefficients' gradients.
   */
  static void backward(BoundaryCase boundary) {
    BoundaryCase.Set on = boundary.first();
    boundary.boundary(on);
    boundary.receiveCoefficientGradients();
    boundary.boundaryBackward(on);
    for (int token : tokens(boundary)) {
      double[] dX = Reference.token(on.dX(), token);
      double[] dF = Reference.token(on.dF(), token);
      double[] direction = doubles(Rows.normal(dX.length + dF.length, new SplittableRandom(token + 1L), 1));
      double along = 0;
      double size = 0;
      for (int i = 0; i < direction.length; i++) {
        double d = i < dX.length ? dX[i] : dF[i - dX.length];
        along += d * direction[i];
        size += d * d;
      }
      double step = 1e-4;
      double expected = (objective(boundary, token, direction, step) - objective(boundary, token, direction, -step))
          / (2 * step);
      // The rounding of each gradient is independent of the direction: it grows as the root of the sum of squares.
      double tolerance = 6 * BF16_ROUNDING * Math.sqrt(size);
      if (!(Math.abs(along - expected) <= tolerance)) {
        throw new IllegalStateException("the backward of token " + token + " gives " + along
            + " along a direction; expected " + expected + " within " + tolerance);
      }
    }
  }

  private static double objective(BoundaryCase boundary, int token, double[] direction, double step) {
    BoundaryCase.Set on = boundary.first();
    double[] x = Reference.token(on.x(), token);
    double[] f = Reference.token(on.f(), token);
    for (int i = 0; i < direction.length; i++) {
      if (i < x.length) {
        x[i] += step * direction[i];
      } else {
        f[i - x.length] += step * direction[i];
      }
    }
    var reference = new Reference(boundary.next().parameters(), boundary.current().coefficients(), token);
    Reference.Result result = reference.run(x, f, false);
    Coefficients received = boundary.next().coefficientGradients();
    double[] res = flat(result.resMix());
    return dot(result.xNext(), Reference.token(on.dXNext(), token)) + dot(result.h(), Reference.token(on.dH(), token))
        + dot(result.postMix(), Reference.token(received.postMix(), token))
        + dot(res, Reference.token(received.resMix(), token));
  }

  private static double[] doubles(float[] values) {
    var result = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      result[i] = values[i];
    }
    return result;
  }

  private static double[] flat(double[][] matrix) {
    return Arrays.stream(matrix).flatMapToDouble(Arrays::stream).toArray();
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  private static int[] tokens(BoundaryCase boundary) {
    int last = (int) boundary.first().x().dim(0) - 1;
    return IntStream.of(0, last / 3, last / 2, last).distinct().toArray();
  }

  private static void close(String what, int token, double[] got, double[] expected, double relative, double absolute) {
    for (int i = 0; i < expected.length; i++) {
      if (!(Math.abs(got[i] - expected[i]) <= relative * Math.abs(expected[i]) + absolute)) {
        throw new IllegalStateException(
            what + "[" + i + "] of token " + token + " is " + got[i] + "; expected " + expected[i]);
      }
    }
  }
}
