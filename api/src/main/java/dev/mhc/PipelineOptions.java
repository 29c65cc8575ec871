// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * What goes through a pipeline.
 *
 * @param tokens T of a micro-batch, at least 0
 * @param width C, at least 1
 * @param type of residuals and layer tensors: {@link DType#BF16}, {@link DType#FP16} or {@link DType#FP32}
 * @param wire how residuals and their gradients travel between ranks
 * @param segment after how many layers of a stage the gradient of the residual is rounded to the type, as it is between
 *     two stages; 0: nowhere inside a stage, which is faster. With the same segment, of which all stages have a whole
 *     number, and {@link Wire#EXACT}, any number of ranks makes the same bits, backward too
 */
public record PipelineOptions(long tokens, long width, DType type, Wire wire, int segment) {

  /** How residuals and their gradients travel. */
  public enum Wire {
    /** As they are. */
    EXACT,
    /** In FP8 with a scale for each 1 x 128: half the bytes of BF16. */
    FP8
  }

  /** Checks the values. */
  public PipelineOptions {
    Check.range("tokens", tokens, 0, Integer.MAX_VALUE);
    Check.range("width", width, 1, Integer.MAX_VALUE);
    if (!Check.given("type", type, "a DType").isRow()) {
      throw new IllegalArgumentException("type is " + type + "; expected " + Types.names(Types.ROW));
    }
    Check.given("wire", wire, "a Wire");
    Check.range("segment", segment, 0, 4096);
  }

  /** With a segment of 0. */
  public PipelineOptions(long tokens, long width, DType type, Wire wire) {
    this(tokens, width, type, wire, 0);
  }

  /** These options with another segment. */
  public PipelineOptions withSegment(int segment) {
    return new PipelineOptions(tokens, width, type, wire, segment);
  }
}
