// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.Gradients;
import dev.mhc.HyperConnection;
import dev.mhc.Tensor;

/** Two layers forward and backward. */
public final class TrainingStep {
  private TrainingStep() {}

  /** A layer function with its derivative. */
  public interface Layer {
    /** f from h. */
    void forward(Tensor h, Tensor f);

    /** dH from dF. */
    void backward(Tensor h, Tensor dF, Tensor dH);
  }

  /** Runs a step; dX holds the gradient of x2 at first, and that of x0 in the end. */
  public static void step(HyperConnection first, HyperConnection second, Layer attention, Layer feedForward, Tensor x0,
      Tensor x1, Tensor x2, Tensor h0, Tensor h1, Tensor f0, Tensor f1, Tensor dX, Tensor dF, Tensor dH,
      Gradients firstGradients, Gradients secondGradients) {
    // @start region="step"
    first.pre(x0, h0);
    attention.forward(h0, f0);
    first.boundary(x0, f0, second, x1, h1);
    feedForward.forward(h1, f1);
    second.post(x1, f1, x2);

    second.postBackward(x1, f1, dX, dX, dF); // dX comes in as the gradient of x2
    feedForward.backward(h1, dF, dH);
    first.boundaryBackward(x0, f0, second, dH, dX, dX, dF, secondGradients);
    attention.backward(h0, dF, dH);
    first.preBackward(x0, dH, dX, dX, firstGradients); // dX is now the gradient of x0
    // @end
  }
}
