// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Accumulate;
import dev.mhc.CpuTier;
import dev.mhc.DType;
import dev.mhc.Fp8;
import dev.mhc.HyperConnection;
import dev.mhc.LayerInput;
import dev.mhc.LayerInputGradient;
import dev.mhc.LayerOutput;
import dev.mhc.Tensor;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.bench.BoundaryCheck;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import java.util.function.UnaryOperator;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * What reads F's output in FP8, tiles of 1 x 128 with their scales: boundary and post, and their backwards. Beside the boundary
 * and its backward, the same after F's output was made rows of the other type by an operation of its own.
 */
public class Fp8OutputBenchmark extends OperationBenchmark {
  private BoundaryCase boundary;
  private LayerInput[] h;
  private LayerInputGradient[] dH;
  private LayerOutput[] output;

  /** Scales are powers of two: an element of E4M3 times its scale is one of the rows' types, so rows have the same values. */
  @Override
  protected void make() {
    boundary = own(new BoundaryCase(on, config, dtype, tokens, width, rotated()));
    int sets = boundary.sets();
    h = new LayerInput[sets];
    dH = new LayerInputGradient[sets];
    output = new LayerOutput[sets];
    for (int i = 0; i < sets; i++) {
      BoundaryCase.Set set = boundary.rotate();
      Tensor fp8 = output(DType.FP8_E4M3, tokens, width);
      Tensor scale = output(DType.FP32, tokens, tiles());
      Fp8.quantize(set.f(), fp8, scale, Fp8.Tile.ROW, Fp8.Rounding.POWER_OF_TWO);
      h[set.index()] = LayerInput.of(set.h());
      dH[set.index()] = LayerInputGradient.of(set.dH());
      output[set.index()] = LayerOutput.fp8(fp8, scale);
      dequantize(set);
    }
    if (on.tier() == CpuTier.COUNTING) {
      boundary.afterEach(operation -> ended());
    }
  }

  private long tiles() {
    return (width + Check.TILE - 1) / Check.TILE;
  }

  private void dequantize(BoundaryCase.Set set) {
    LayerOutput from = output[set.index()];
    Fp8.dequantize(from.f(), from.scale(), Fp8.Tile.ROW, set.f());
    ended();
  }

  private void boundary(BoundaryCase.Set set) {
    boundary.current().boundary(set.x(), output[set.index()], boundary.next(), set.xNext(), h[set.index()]);
  }

  private void boundaryBackward(BoundaryCase.Set set) {
    boundary.current().boundaryBackward(set.x(), output[set.index()], boundary.next(), dH[set.index()], set.dXNext(),
        set.dX(), set.dF(), boundary.gradients(), Accumulate.NONE);
  }

  private void post(BoundaryCase.Set set) {
    boundary.current().post(set.x(), output[set.index()], set.xNext());
  }

  private void postBackward(BoundaryCase.Set set) {
    boundary.current().postBackward(set.x(), output[set.index()], set.dXNext(), set.dX(), set.dF(), Accumulate.NONE);
  }

  @Override
  protected void check() {
    BoundaryCheck.forward(boundary, this::boundaryApart);
    BoundaryCheck.post(boundary, this::post);
    BoundaryCheck.postBackward(boundary, this::postBackward);
    BoundaryCheck.forward(boundary, this::boundary);
    BoundaryCheck.backward(boundary, this::boundaryBackward, UnaryOperator.identity());
    BoundaryCheck.backward(boundary, this::boundaryBackwardApart, UnaryOperator.identity());
  }

  private void boundaryApart(BoundaryCase.Set set) {
    dequantize(set);
    boundary.boundary(set);
  }

  private void boundaryBackwardApart(BoundaryCase.Set set) {
    dequantize(set);
    boundary.boundaryBackward(set);
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    double fp8 = 1.0 / dtype.bytes(); // a byte, in elements of the rows
    double forward = BoundaryBenchmark.forwardAdds(n) + 1;
    double backward = BoundaryBenchmark.backwardAdds(n) + 1;
    Cost rows = switch (method) {
      case "boundary" -> rows(n + fp8, n + 1, forward);
      case "boundaryApart" -> rows(fp8 + n + 1, 1 + n + 1, forward);
      case "boundaryBackward" -> rows(2 * n + 1 + fp8, n + 1, backward);
      case "boundaryBackwardApart" -> rows(fp8 + 2 * n + 2, 1 + n + 1, backward);
      case "post" -> rows(n + fp8, n, n * (n + 1) + 1);
      default -> rows(2 * n + fp8, n + 1, 2 * n * (n + 1) + 1);
    };
    return new Cost(rows.rowsRead(), rows.rowsWritten(), 4.0 * tokens * tiles(), 0, rows.multiplyAdds());
  }

  /** One pass. */
  @Benchmark
  public void boundary() {
    boundary(boundary.rotate());
  }

  /** The dequantiser, then the boundary. */
  @Benchmark
  public void boundaryApart() {
    boundaryApart(boundary.rotate());
  }

  /** One pass; the values that a forward saved on the first rows serve for all. */
  @Benchmark
  public void boundaryBackward() {
    boundaryBackward(boundary.rotate());
  }

  /** The dequantiser, then the boundary's backward. */
  @Benchmark
  public void boundaryBackwardApart() {
    boundaryBackwardApart(boundary.rotate());
  }

  /** The next residual from F's output. */
  @Benchmark
  public void post() {
    post(boundary.rotate());
  }

  /** Its backward. */
  @Benchmark
  public void postBackward() {
    postBackward(boundary.rotate());
  }
}
