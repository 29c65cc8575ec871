// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.CpuTier;
import dev.mhc.DType;
import dev.mhc.Fp8;
import dev.mhc.LayerInput;
import dev.mhc.RmsNorm;
import dev.mhc.Tensor;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.bench.BoundaryCheck;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * The boundary that makes F's input in FP8, tiles of 1 x 128: of h, and of the RMSNorm of h. Beside it boundary, RMSNorm and
 * quantiser apart. Gradients are not in FP8, so that there is no backward of its own.
 */
public class BoundaryFp8Benchmark extends OperationBenchmark {
  private BoundaryCase boundary;
  private Tensor weight;
  private Tensor[] y;
  private Tensor[] fp8;
  private Tensor[] scale;
  private LayerInput[] plain;
  private LayerInput[] normalized;

  @Override
  protected void make() {
    boundary = own(new BoundaryCase(on, config, dtype, tokens, width, rotated()));
    weight = input(DType.FP32, 1, width);
    int sets = boundary.sets();
    y = new Tensor[sets];
    fp8 = new Tensor[sets];
    scale = new Tensor[sets];
    plain = new LayerInput[sets];
    normalized = new LayerInput[sets];
    for (int i = 0; i < sets; i++) {
      y[i] = output(dtype, tokens, width);
      fp8[i] = output(DType.FP8_E4M3, tokens, width);
      scale[i] = output(DType.FP32, tokens, tiles());
      plain[i] = LayerInput.quantized(fp8[i], scale[i], Fp8.Rounding.EXACT);
      normalized[i] = plain[i].withNorm(weight, BoundaryNormBenchmark.EPS, null);
    }
    if (on.tier() == CpuTier.COUNTING) {
      boundary.afterEach(operation -> ended());
    }
  }

  private long tiles() {
    return (width + Check.TILE - 1) / Check.TILE;
  }

  private void fused(BoundaryCase.Set set, LayerInput[] inputs) {
    boundary.current().boundary(set.x(), set.f(), boundary.next(), set.xNext(), inputs[set.index()]);
  }

  private void apart(BoundaryCase.Set set) {
    int i = set.index();
    boundary.boundary(set);
    RmsNorm.forward(set.h(), weight, BoundaryNormBenchmark.EPS, y[i], null);
    ended();
    Fp8.quantize(y[i], fp8[i], scale[i], Fp8.Tile.ROW, Fp8.Rounding.EXACT);
    ended();
  }

  @Override
  protected void check() {
    BoundaryCheck.forward(boundary);
    BoundaryCase.Set set = boundary.first();
    double[] w = weight.toDoubles();
    apart(set);
    double[] bits = fp8[0].toDoubles();
    fusedAnew(set, normalized);
    if (!Arrays.equals(fp8[0].toDoubles(), bits)) {
      throw new IllegalStateException("fp8 differs from that of three operations");
    }
    Tensor back = own(on.tensor(DType.FP32, tokens, width));
    Fp8.dequantize(fp8[0], scale[0], Fp8.Tile.ROW, back);
    for (int token : Check.tokens(tokens)) {
      double[] expected = Reference.rmsNorm(token(set.h(), token), w, BoundaryNormBenchmark.EPS);
      Check.rounded("y of token " + token, dtype, token(y[0], token), expected);
      Check.quantized("y of token " + token, token(y[0], token), token(scale[0], token), token(back, token));
    }
    fusedAnew(set, plain);
    Fp8.dequantize(fp8[0], scale[0], Fp8.Tile.ROW, back);
    for (int token : Check.tokens(tokens)) {
      Check.quantized("h of token " + token, token(set.h(), token), token(scale[0], token), token(back, token));
    }
  }

  private void fusedAnew(BoundaryCase.Set set, LayerInput[] inputs) {
    Check.poison(fp8[0]);
    Check.poison(scale[0]);
    Check.poison(set.xNext());
    fused(set, inputs);
    Check.written("fp8", fp8[0]);
    Check.written("scale", scale[0]);
    Check.written("xNext", set.xNext());
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    double quantized = 1.0 / dtype.bytes(); // a byte, in elements of the rows
    double adds = BoundaryBenchmark.forwardAdds(n);
    Cost rows = switch (method) {
      case "forward" -> rows(n + 1, n + quantized, adds + 1);
      case "forwardNorm" -> rows(n + 1, n + quantized, adds + 3);
      default -> rows(n + 3, n + 2 + quantized, adds + 3);
    };
    return new Cost(rows.rowsRead(), rows.rowsWritten(), 0, 4.0 * tokens * tiles(), rows.multiplyAdds());
  }

  /** One pass, h in FP8. */
  @Benchmark
  public void forward() {
    fused(boundary.rotate(), plain);
  }

  /** One pass, the RMSNorm of h in FP8. */
  @Benchmark
  public void forwardNorm() {
    fused(boundary.rotate(), normalized);
  }

  /** The boundary, then RMSNorm, then the quantiser. */
  @Benchmark
  public void forwardNormApart() {
    apart(boundary.rotate());
  }
}
