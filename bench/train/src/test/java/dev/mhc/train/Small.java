// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import dev.mhc.CpuOptions;
import dev.mhc.Device;
import dev.mhc.bench.Text;
import java.nio.charset.StandardCharsets;
import java.util.SplittableRandom;

/** A run that takes no time. */
final class Small {
  private Small() {}

  static Device device() {
    return Device.cpu(CpuOptions.DEFAULT.withThreads(1));
  }

  static Corpus corpus() {
    return new Corpus(text());
  }

  /** Words of a small language, so that there is something to learn. */
  static Text text() {
    String[] words = {"stream ", "residual ", "mixes ", "layer ", "and ", "the "};
    var random = new SplittableRandom(1);
    var text = new StringBuilder();
    while (text.length() < 4000) {
      text.append(words[random.nextInt(words.length)]);
    }
    return new Text("words", text.toString().getBytes(StandardCharsets.US_ASCII));
  }

  static Settings settings(Kind kind, int layers) {
    return new Settings(kind, layers, 24, 4, 2, 8, 3, 12, 0.01, Settings.MatrixOptimizer.MUON, Settings.Precision.FP32, false, 7,
        "words", corpus().check());
  }

  static Settings recomputed(Settings s, Settings.Precision precision) {
    return new Settings(s.kind(), s.layers(), s.width(), s.streams(), s.heads(), s.context(), s.batch(), s.steps(), s.rate(),
        s.optimizer(), precision, true, s.seed(), s.text(), s.textCheck());
  }
}
