// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl.examples;

import ai.djl.Model;
import ai.djl.nn.Block;
import ai.djl.nn.SequentialBlock;
import ai.djl.nn.core.Linear;
import ai.djl.training.Trainer;
import ai.djl.training.TrainingConfig;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.djl.HyperConnectionBlock;
import dev.mhc.djl.HyperConnectionStack;
import dev.mhc.djl.SegmentedTrainer;
import java.util.ArrayList;
import java.util.List;

/** A DJL model with hyper-connections, and its trainer. */
public final class Stack {
  private Stack() {}

  /** A trainer of a model with these layer functions. */
  public static Trainer trainer(Device device, HyperConnectionConfig config, List<Block> functions, int width, Model model,
      TrainingConfig training) {
    // @start region="stack"
    var layers = new ArrayList<HyperConnectionBlock>();
    for (Block function : functions) { // attention, feed-forward: any DJL blocks, [..., C] to [..., C]
      layers.add(HyperConnectionBlock.builder(device, config, function).optNorm(1e-6f).optLayer(layers.size()).build());
    }
    model.setBlock(new SequentialBlock()
        .add(Linear.builder().setUnits(width).build()) // yours: an embedding
        .add(HyperConnectionStack.builder(layers).optRecompute(true).build())
        .add(Linear.builder().setUnits(1).build())); // yours: a head
    Trainer trainer = new SegmentedTrainer(model, training); // DJL's in all but how gradients pass the boundaries
    // @end
    return trainer;
  }
}
