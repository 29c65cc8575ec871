// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import dev.mhc.Coefficients;
import dev.mhc.Gradients;
import dev.mhc.Tensor;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.bench.Rows;
import java.util.LinkedHashMap;
import java.util.Map;

/** What mhc computes on the first rows of a case, forward and backward, for another library's results to be compared with. */
final class Ours {
  private static final double CLOSE = 1e-4; // of the largest value: sums in another order

  private final Map<String, Tensor> forward = new LinkedHashMap<>();
  private final Map<String, Tensor> all = new LinkedHashMap<>();

  /** Computes it. */
  Ours(BoundaryCase boundary) {
    BoundaryCase.Set on = boundary.first();
    boundary.boundary(on);
    boundary.receiveCoefficientGradients();
    boundary.boundaryBackward(on);
    Coefficients made = boundary.next().coefficients();
    forward.put("xNext", on.xNext());
    forward.put("h", on.h());
    forward.put("preMix", made.preMix());
    forward.put("postMix", made.postMix());
    forward.put("resMix", made.resMix());
    Coefficients gradients = boundary.current().coefficientGradients();
    Gradients learned = boundary.gradients();
    all.putAll(forward);
    all.put("dX", on.dX());
    all.put("dF", on.dF());
    all.put("dPostMix", gradients.postMix());
    all.put("dResMix", gradients.resMix());
    all.put("dProjection", learned.projection());
    all.put("dScale", learned.scale());
    all.put("dBias", learned.bias());
  }

  /** The results of a forward, all of them and by these names, are the same but for the order of sums. */
  void requireForward(String library, Map<String, float[]> theirs) {
    require(library, forward, theirs);
  }

  /** The same of a forward and its backward. */
  void requireAll(String library, Map<String, float[]> theirs) {
    require(library, all, theirs);
  }

  private static void require(String library, Map<String, Tensor> ours, Map<String, float[]> theirs) {
    if (!theirs.keySet().equals(ours.keySet())) {
      throw new IllegalStateException(library + " gives " + theirs.keySet() + "; expected " + ours.keySet());
    }
    ours.forEach((what, tensor) -> requireClose(library, what, Rows.read(tensor), theirs.get(what)));
  }

  private static void requireClose(String library, String what, float[] ours, float[] theirs) {
    if (theirs.length != ours.length) {
      throw new IllegalStateException(what + " of " + library + " has " + theirs.length + " values; expected " + ours.length);
    }
    double largest = 0;
    double apart = 0;
    for (int i = 0; i < ours.length; i++) {
      largest = Math.max(largest, Math.abs(theirs[i]));
      apart = Math.max(apart, Math.abs(ours[i] - (double) theirs[i]));
    }
    if (!(apart <= CLOSE * largest)) {
      throw new IllegalStateException(what + " of " + library + " and of mhc differ by " + apart + "; the largest value is "
          + largest);
    }
  }
}
