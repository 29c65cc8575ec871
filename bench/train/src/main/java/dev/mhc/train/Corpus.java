// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import dev.mhc.bench.Text;
import java.util.SplittableRandom;
import java.util.zip.CRC32C;

/** Text to train on, and its last twentieth to check on. What a step reads depends on the seed and its number alone. */
final class Corpus {
  private final Text text;
  private final int trained; // bytes to train on

  Corpus(Text text) {
    this.text = text;
    trained = text.length() - text.length() / 20;
  }

  String source() {
    return text.source();
  }

  long check() {
    var crc = new CRC32C();
    crc.update(text.bytes());
    return crc.getValue();
  }

  /** Sequences and, one byte on, what is to be foretold: each {@code [B, S]} INT64. */
  record Batch(NDArray bytes, NDArray next) {}

  Batch training(NDManager manager, Settings settings, int step) {
    return batch(manager, settings, new SplittableRandom(settings.seed() * 1_000_003 + step), 0, trained);
  }

  /** The same ones for all steps, seeds and kinds. */
  Batch validation(NDManager manager, Settings settings, int index) {
    return batch(manager, settings, new SplittableRandom(index), trained, text.length());
  }

  private Batch batch(NDManager manager, Settings settings, SplittableRandom random, int from, int to) {
    int length = settings.context();
    var bytes = new long[settings.tokens()];
    var next = new long[settings.tokens()];
    for (int sequence = 0; sequence < settings.batch(); sequence++) {
      int start = random.nextInt(from, to - length);
      for (int i = 0; i < length; i++) {
        bytes[sequence * length + i] = text.at(start + i);
        next[sequence * length + i] = text.at(start + i + 1);
      }
    }
    var shape = new Shape(settings.batch(), length);
    return new Batch(manager.create(bytes, shape), manager.create(next, shape));
  }
}
