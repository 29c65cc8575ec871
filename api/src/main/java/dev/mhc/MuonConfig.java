// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.ArrayList;
import java.util.List;

/**
 * How {@link Muon} updates a matrix.
 *
 * @param steps coefficients of the Newton-Schulz steps, in order; at least one
 * @param momentum factor of the momentum in each step, 0 to 1 (not 1)
 * @param nesterov whether the update looks ahead: the gradient plus the new momentum times its factor
 * @param scaling the size of the update
 * @param rms the root mean square that an update's entries have with {@link Scaling#RMS}, above 0; ignored otherwise
 * @param weightDecay at least 0: the parameter loses {@code learningRate weightDecay} of itself in each step
 * @param eps added to the Frobenius norm that the first iterate is divided by, at least 1e-12
 */
public record MuonConfig(List<Step> steps, float momentum, boolean nesterov, Scaling scaling, float rms, float weightDecay,
    float eps) {
  private static final float LEAST_EPS = 1e-12f;

  /** {@code X = a X + (b (X X^T) + c (X X^T)^2) X}. */
  public record Step(float a, float b, float c) {
    /** Keller Jordan's quintic: inflates small singular values quickly, and settles near 1, not at it. */
    public static final Step QUINTIC = new Step(3.4445f, -4.7750f, 2.0315f);

    /** Converges to 1, slowly from afar. */
    public static final Step CONVERGING = new Step(2, -1.5f, 0.5f);

    /** Checks the values. */
    public Step {
      Check.finite("a", a);
      Check.finite("b", b);
      Check.finite("c", c);
    }
  }

  /** The size of an update. */
  public enum Scaling {
    /** As it is: singular values about 1. */
    NONE,
    /** Times {@code sqrt(max(1, rows / columns))}. */
    ASPECT,
    /** Times {@code rms sqrt(max(rows, columns))}: the entries of a matrix of full rank then have that root mean square. */
    RMS
  }

  /** Published choices. */
  public enum Preset {
    /** Keller Jordan: 5 quintic steps, momentum 0.95, Nesterov, ASPECT, no weight decay. */
    KELLER_JORDAN(new MuonConfig(repeat(5, 0), 0.95f, true, Scaling.ASPECT, 0.2f, 0, 1e-7f)),
    /** DeepSeek-V4: 8 quintic and 2 converging steps, momentum 0.95, Nesterov, RMS 0.18, weight decay 0.1. */
    DEEPSEEK_V4(new MuonConfig(repeat(8, 2), 0.95f, true, Scaling.RMS, 0.18f, 0.1f, 1e-7f));

    private final MuonConfig config;

    Preset(MuonConfig config) {
      this.config = config;
    }

    /** These choices. */
    public MuonConfig config() {
      return config;
    }
  }

  /** Checks the values. */
  public MuonConfig {
    for (int i = 0; i < Check.given("steps", steps, "a list of steps").size(); i++) {
      Check.given("steps[" + i + "]", steps.get(i), "a Step");
    }
    steps = List.copyOf(steps);
    if (steps.isEmpty()) {
      throw new IllegalArgumentException("steps is empty; expected at least one step");
    }
    Check.notNegative("momentum", momentum);
    if (momentum >= 1) {
      throw new IllegalArgumentException("momentum is " + momentum + "; expected less than 1");
    }
    Check.given("scaling", scaling, "a Scaling");
    Check.positive("rms", rms);
    Check.notNegative("weightDecay", weightDecay);
    Check.positive("eps", eps);
    if (eps < LEAST_EPS) {
      throw new IllegalArgumentException("eps is " + eps + "; expected at least " + LEAST_EPS
          + ": the square of a smaller one, divided among a matrix's elements, is no float32 any more");
    }
  }

  /** These choices with other steps. */
  public MuonConfig withSteps(List<Step> steps) {
    return new MuonConfig(steps, momentum, nesterov, scaling, rms, weightDecay, eps);
  }

  /** These choices with another momentum. */
  public MuonConfig withMomentum(float momentum, boolean nesterov) {
    return new MuonConfig(steps, momentum, nesterov, scaling, rms, weightDecay, eps);
  }

  /** These choices with updates of another size. */
  public MuonConfig withScaling(Scaling scaling, float rms) {
    return new MuonConfig(steps, momentum, nesterov, scaling, rms, weightDecay, eps);
  }

  /** These choices with another weight decay. */
  public MuonConfig withWeightDecay(float weightDecay) {
    return new MuonConfig(steps, momentum, nesterov, scaling, rms, weightDecay, eps);
  }

  /** The factor of an orthogonalised update. */
  double scale(long rows, long columns) {
    return switch (scaling) {
      case NONE -> 1;
      case ASPECT -> Math.sqrt(Math.max(1.0, (double) rows / columns));
      case RMS -> rms * Math.sqrt(Math.max(rows, columns));
    };
  }

  private static List<Step> repeat(int quintic, int converging) {
    var steps = new ArrayList<Step>();
    for (int i = 0; i < quintic + converging; i++) {
      steps.add(i < quintic ? Step.QUINTIC : Step.CONVERGING);
    }
    return steps;
  }
}
