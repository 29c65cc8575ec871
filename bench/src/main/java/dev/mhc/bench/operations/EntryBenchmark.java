// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Accumulate;
import dev.mhc.Coefficients;
import dev.mhc.DType;
import dev.mhc.Fp8;
import dev.mhc.Gradients;
import dev.mhc.HyperConnection;
import dev.mhc.LayerInput;
import dev.mhc.LayerInputGradient;
import dev.mhc.RmsNorm;
import dev.mhc.Tensor;
import dev.mhc.bench.BoundaryCheck;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * The boundary before the first layer, which has no post: coefficients and h in one pass, with the RMSNorm of h, with that in
 * FP8, and the backward.
 */
public class EntryBenchmark extends OperationBenchmark {
  private static final float EPS = BoundaryNormBenchmark.EPS;

  private HyperConnection layer;
  private Gradients gradients;
  private Tensor weight;
  private Tensor[] x;
  private Tensor[] h;
  private Tensor[] fp8;
  private Tensor[] scale;
  private Tensor[] dXLater;
  private Tensor[] dX;
  private LayerInput[] normalized;
  private LayerInput[] quantized;
  private LayerInputGradient[] dH;

  @Override
  protected void make() {
    rotate((3.0 * streams + 2) * width, dtype);
    layer = own(HyperConnection.create(on, config, parameters(), tokens));
    gradients = own(Gradients.like(layer.parameters()));
    weight = input(DType.FP32, 1, width);
    x = inputs(dtype, tokens, streams, width);
    h = outputs(dtype, tokens, width);
    fp8 = outputs(DType.FP8_E4M3, tokens, width);
    scale = outputs(DType.FP32, tokens, tiles());
    dXLater = inputs(dtype, tokens, streams, width);
    dX = outputs(dtype, tokens, streams, width);
    Tensor[] upstream = inputs(dtype, tokens, width);
    normalized = new LayerInput[x.length];
    quantized = new LayerInput[x.length];
    dH = new LayerInputGradient[x.length];
    for (int i = 0; i < x.length; i++) {
      normalized[i] = LayerInput.normalized(weight, EPS, h[i]);
      quantized[i] = LayerInput.quantized(fp8[i], scale[i], Fp8.Rounding.EXACT).withNorm(weight, EPS, null);
      dH[i] = LayerInputGradient.of(upstream[i]);
    }
    layer.pre(x[0], h[0]);
    receive();
  }

  private long tiles() {
    return (width + Check.TILE - 1) / Check.TILE;
  }

  /** What the backward of the layer would have left. */
  private Coefficients receive() {
    Coefficients received = layer.coefficientGradients();
    received.postMix().fill(0.5);
    received.resMix().fill(-0.25);
    return received;
  }

  @Override
  protected void check() {
    layer.pre(x[0], h[0]);
    Check.written("h", h[0]);
    var reference = new Reference(layer.parameters(), streams);
    for (int token : Check.tokens(tokens)) {
      Reference.Mixes mixes = reference.coefficients(token(x[0], token));
      BoundaryCheck.coefficients(token, layer.coefficients(), mixes);
      Check.rounded("h of token " + token, dtype, token(h[0], token), Reference.pre(token(x[0], token), mixes.pre()));
    }
    checkInputs();
    Coefficients received = receive();
    layer.preBackward(x[0], dH[0], dXLater[0], dX[0], gradients, Accumulate.NONE);
    Check.written("dX", dX[0]);
    for (int token : Check.tokens(tokens)) {
      Check.gradient("the backward of token " + token, at -> {
        Reference.Mixes mixes = reference.coefficients(at);
        return Check.join(at, Reference.pre(at, mixes.pre()), mixes.post(), mixes.res());
      }, token(x[0], token), Check.join(token(dXLater[0], token), token(dH[0].dInput(), token),
          token(received.postMix(), token), token(received.resMix(), token)), token(dX[0], token), Check.rounding(dtype));
    }
  }

  /** The norm of h, which is there, and its FP8, beside the operations by themselves. */
  private void checkInputs() {
    Tensor y = own(on.tensor(dtype, tokens, width));
    RmsNorm.forward(h[0], weight, EPS, y, null);
    double[] apart = y.toDoubles();
    double[] w = weight.toDoubles();
    for (int token : Check.tokens(tokens)) {
      Check.rounded("y of token " + token, dtype, token(y, token), Reference.rmsNorm(token(h[0], token), w, EPS));
    }
    Check.poison(h[0]);
    layer.pre(x[0], normalized[0]);
    Check.written("y", h[0]);
    if (!Arrays.equals(h[0].toDoubles(), apart)) {
      throw new IllegalStateException("y differs from the RMSNorm of h");
    }
    layer.pre(x[0], quantized[0]);
    Check.written("fp8", fp8[0]);
    Check.written("scale", scale[0]);
    Tensor back = own(on.tensor(DType.FP32, tokens, width));
    Fp8.dequantize(fp8[0], scale[0], Fp8.Tile.ROW, back);
    for (int token : Check.tokens(tokens)) {
      Check.quantized("y of token " + token, token(y, token), token(scale[0], token), token(back, token));
    }
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    double m = n * n + 2 * n;
    double forward = m * n + 2 * n;
    return switch (method) {
      case "forward" -> rows(n, 1, forward);
      case "forwardNorm" -> rows(n, 1, forward + 2);
      case "forwardNormFp8" -> {
        Cost rows = rows(n, 1.0 / dtype.bytes(), forward + 3);
        yield new Cost(rows.rowsRead(), rows.rowsWritten(), 0, 4.0 * tokens * tiles(), rows.multiplyAdds());
      }
      default -> rows(2 * n + 1, n, 2 * m * n + 3 * n);
    };
  }

  /** Coefficients and h. */
  @Benchmark
  public void forward() {
    int i = turn();
    layer.pre(x[i], h[i]);
  }

  /** Coefficients and the RMSNorm of h. */
  @Benchmark
  public void forwardNorm() {
    int i = turn();
    layer.pre(x[i], normalized[i]);
  }

  /** Coefficients and the RMSNorm of h in FP8. */
  @Benchmark
  public void forwardNormFp8() {
    int i = turn();
    layer.pre(x[i], quantized[i]);
  }

  /** From the gradient of h and what reaches x from later layers; the values saved on the first rows serve for all. */
  @Benchmark
  public void backward() {
    int i = turn();
    layer.preBackward(x[i], dH[i], dXLater[i], dX[i], gradients, Accumulate.NONE);
  }
}
