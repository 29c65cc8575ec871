// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * What a {@link PipelineStage} does not know: the layer functions, and both ends of the model. Methods are called by the
 * thread that runs the stage; tensors are the stage's and good during the call.
 */
public interface PipelineModel {
  /**
   * Whether F of a layer is a feed-forward layer, or is otherwise to be followed at once: what mixes its output into the
   * streams, and the backward of that, then goes to a stream of {@link Stream.Priority#HIGH}, before other work of the
   * device (arXiv 2512.24880, 4.3.3). A CPU makes no difference, and results are the same.
   *
   * @param layer of this stage, from 0
   */
  default boolean isFeedForward(int layer) {
    return false;
  }

  /**
   * The layer function.
   *
   * @param microBatch which one
   * @param layer of this stage, from 0
   * @param h {@code [T, C]}, its input
   * @param f {@code [T, C]}, its output, written
   */
  void forward(int microBatch, int layer, Tensor h, Tensor f);

  /**
   * The backward of {@link #forward}; only in training.
   *
   * @param microBatch which one
   * @param layer of this stage, from 0
   * @param h {@code [T, C]}, as in the forward
   * @param dF {@code [T, C]}, gradient of f
   * @param dH {@code [T, C]}, gradient of h, written
   */
  default void backward(int microBatch, int layer, Tensor h, Tensor dF, Tensor dH) {
    throw new UnsupportedOperationException("this model has no backward");
  }

  /**
   * The model's beginning: what enters the first layer. Called on the first stage.
   *
   * @param microBatch which one
   * @param x {@code [T, n, C]}, written
   */
  void begin(int microBatch, Tensor x);

  /**
   * The model's end: what left the last layer. Called on the last stage without training.
   *
   * @param microBatch which one
   * @param x {@code [T, n, C]}
   */
  default void end(int microBatch, Tensor x) {}

  /**
   * The model's end in training: the loss of what left the last layer. Called on the last stage.
   *
   * @param microBatch which one
   * @param x {@code [T, n, C]}
   * @param dX {@code [T, n, C]}, written: its gradient
   */
  default void end(int microBatch, Tensor x, Tensor dX) {
    throw new UnsupportedOperationException("this model has no loss");
  }

  /**
   * The gradient of what {@link #begin} gave. Called on the first stage, in training.
   *
   * @param microBatch which one
   * @param dX {@code [T, n, C]}
   */
  default void beginBackward(int microBatch, Tensor dX) {}
}
