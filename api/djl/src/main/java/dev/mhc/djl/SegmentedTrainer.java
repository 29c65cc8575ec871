// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import ai.djl.Model;
import ai.djl.training.GradientCollector;
import ai.djl.training.Trainer;
import ai.djl.training.TrainingConfig;

/** DJL's trainer for models with hyper-connections: its collector is a {@link SegmentedGradientCollector}. */
public final class SegmentedTrainer extends Trainer {
  /**
   * A trainer.
   *
   * @param model that is trained
   * @param config as for DJL's own
   */
  public SegmentedTrainer(Model model, TrainingConfig config) {
    super(model, config);
  }

  @Override
  public GradientCollector newGradientCollector() {
    return SegmentedGradientCollector.over(super.newGradientCollector());
  }
}
