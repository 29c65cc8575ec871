// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import ai.djl.training.GradientCollector;
import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;

/**
 * DJL's gradients through blocks that have a backward of their own. DJL's engines record what their operations do, and know
 * nothing of an operation from elsewhere. So each such block ends the record with its input and starts a new one with its
 * output; a backward runs through the last record, then the block's own backward, then the record before it.
 *
 * <pre>
 *   try (GradientCollector collector = SegmentedGradientCollector.over(trainer.getManager().getEngine().newGradientCollector())) {
 *     collector.backward(loss(model.forward(...)));
 *   }
 * </pre>
 *
 * <p>One for a thread at a time. A segment belongs to the backward that follows its forward; closing drops those left.
 */
public final class SegmentedGradientCollector implements GradientCollector {
  private static final ThreadLocal<@Nullable SegmentedGradientCollector> CURRENT = new ThreadLocal<>();

  /** What a block with a backward of its own has left behind in its forward. */
  interface Segment {
    /** From the gradient of the block's output to that of its input, and on into the record before it. */
    void backward(SegmentedGradientCollector collector);

    /** There will be no backward. */
    void drop();
  }

  private final GradientCollector engine;
  private final ArrayDeque<Segment> segments = new ArrayDeque<>();

  private SegmentedGradientCollector(GradientCollector engine) {
    this.engine = engine;
  }

  /**
   * Makes the collector that blocks on this thread use until it is closed.
   *
   * @param engine the engine's own collector; closed with this one
   * @throws IllegalStateException if this thread has one already
   */
  public static SegmentedGradientCollector over(GradientCollector engine) {
    if (CURRENT.get() != null) {
      throw new IllegalStateException("this thread has a SegmentedGradientCollector already; expected it to be closed first");
    }
    var collector = new SegmentedGradientCollector(engine);
    CURRENT.set(collector);
    return collector;
  }

  /** The one that this thread has open. */
  static SegmentedGradientCollector current() {
    SegmentedGradientCollector collector = CURRENT.get();
    if (collector == null) {
      throw new IllegalStateException("a hyper-connection is trained without a SegmentedGradientCollector, and would get no"
          + " gradient; expected SegmentedTrainer, or a collector made by SegmentedGradientCollector.over");
    }
    return collector;
  }

  void add(Segment segment) {
    segments.addLast(segment);
  }

  @Override
  public void backward(NDArray target) {
    engine.backward(target);
    while (!segments.isEmpty()) {
      segments.removeLast().backward(this);
    }
  }

  /** Backward through the record that ends with an array, whose gradient has come from elsewhere. */
  void backward(NDArray output, NDArray gradient) {
    try (NDArray product = output.mul(gradient); NDArray sum = product.sum()) {
      engine.backward(sum);
    }
  }

  /**
   * As {@link #backward(NDArray, NDArray)}, for an array that may depend on nothing that wants a gradient: DJL does not tell,
   * and its engine would refuse to start there. The sum starts from something that does.
   */
  void backwardFromAny(NDArray output, NDArray gradient) {
    try (NDArray product = output.mul(gradient); NDArray sum = product.sum(); NDArray zero = sum.getManager().zeros(new Shape())) {
      zero.setRequiresGradient(true);
      try (NDArray total = sum.add(zero)) {
        engine.backward(total);
      }
    }
  }

  /** Only through the engine's record. */
  void backwardOfEngine(NDArray target) {
    engine.backward(target);
  }

  @Override
  public void zeroGradients() {
    engine.zeroGradients();
  }

  @Override
  public void close() {
    CURRENT.remove();
    segments.forEach(Segment::drop);
    segments.clear();
    engine.close();
  }
}
