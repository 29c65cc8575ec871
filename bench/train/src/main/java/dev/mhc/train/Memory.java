// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import dev.mhc.Device;
import dev.mhc.RecomputePlan;

/**
 * Bytes that mhc holds in a training step, with and without recomputing, and what the planner expects: n C a block and
 * (n + 2) C a layer of the longest one. Of the 2 in n + 2, the input of F and its norm, mhc holds nothing here: they are
 * DJL's, with everything else that F keeps for its gradient.
 *
 * @param recompute whether residuals are rebuilt
 * @param predicted by the planner
 * @param measured by the device's own account, coefficients and optimiser left out
 */
record Memory(boolean recompute, double predicted, long measured) {

  /** Takes a step with such settings. */
  static Memory measure(Device device, Settings settings, boolean recompute, Corpus corpus) {
    Settings changed = new Settings(settings.kind(), settings.layers(), settings.width(), settings.streams(), settings.heads(),
        settings.context(), settings.batch(), settings.steps(), settings.rate(), settings.optimizer(), settings.precision(),
        recompute, settings.seed(), settings.text(), settings.textCheck());
    int n = settings.kind().config(settings.streams()).streams();
    int bytes = settings.precision() == Settings.Precision.BF16 ? 2 : 4;
    double unit = (double) settings.tokens() * settings.width() * bytes;
    RecomputePlan plan = RecomputePlan.of(settings.functions(), n);
    try (Training training = Training.start(device, changed, corpus)) {
      long before = device.liveBytes();
      training.gradientsOnly();
      long coefficients = training.model.stack().connections().stream().mapToLong(Memory::coefficientBytes).sum();
      return new Memory(recompute, unit * (recompute ? plan.storedPerChannel() + plan.transientPerChannel()
          : n * settings.functions() + n + 2.0), device.liveBytes() - before - coefficients);
    }
  }

  private static long coefficientBytes(dev.mhc.HyperConnection connection) {
    var held = connection.coefficients();
    long each = held.preMix().elements() + held.postMix().elements() + held.resMix().elements();
    long saved = held.mix() == null ? 0 : held.mix().elements() + held.invRms().elements();
    return Float.BYTES * (2 * each + saved);
  }
}
