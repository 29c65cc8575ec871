// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Expand;
import dev.mhc.Fp8;
import dev.mhc.Gradients;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.LayerInput;
import dev.mhc.Operations;
import dev.mhc.Parameters;
import dev.mhc.RmsNorm;
import dev.mhc.Sinkhorn;
import dev.mhc.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The operations of one shape, n = 4 and bf16, with what each has to move. Rows rotate over sets that together are larger than
 * the second-level cache, where that fits the memory.
 */
final class Kernels implements AutoCloseable {
  private static final int N = 4;
  private static final DType TYPE = DType.BF16;
  private static final int MOST_SETS = 64;

  /**
   * One operation.
   *
   * @param bytes that one call reads and writes at least, each once: rows, coefficients, parameters
   */
  record Kernel(long bytes, Replay.Calls calls) {}

  private record Set(Tensor x, Tensor f, Tensor xNext, Tensor h, Tensor dX, Tensor dF, Tensor dH, Tensor dXNext) {}

  private interface Work {
    void run(Set set);
  }

  private final Device device;
  private final long tokens;
  private final long width;
  private final List<Set> sets = new ArrayList<>();
  private final List<Runnable> owned = new ArrayList<>(); // closes it
  private final Map<String, Kernel> kernels = new LinkedHashMap<>();
  private int turn;

  Kernels(Device device, long cacheBytes, long tokens, long width) {
    this.device = device;
    this.tokens = tokens;
    this.width = width;
    long one = (4L * N + 4) * tokens * width * TYPE.bytes();
    int wanted = (int) Math.min(MOST_SETS, Math.max(1, (3 * cacheBytes + one - 1) / one));
    for (int i = 0; i < wanted; i++) {
      sets.add(new Set(streams(4L * i), layer(4L * i + 1), streams(-1), layer(-1), streams(-1), layer(-1), layer(4L * i + 2),
          streams(4L * i + 3)));
    }
    forward();
    backward();
    others();
  }

  Map<String, Kernel> all() {
    return kernels;
  }

  private Tensor streams(long seed) {
    return own(seed < 0 ? device.tensor(TYPE, tokens, N, width) : Rows.random(device, TYPE, seed, tokens, N, width));
  }

  private Tensor layer(long seed) {
    return own(seed < 0 ? device.tensor(TYPE, tokens, width) : Rows.random(device, TYPE, seed, tokens, width));
  }

  private Tensor own(Tensor made) {
    owned.add(made::close);
    return made;
  }

  private HyperConnection layer(HyperConnectionConfig config, long seed) {
    Parameters parameters = Parameters.initialize(device, config, width, seed);
    owned.add(parameters::close);
    HyperConnection made = HyperConnection.create(device, config, parameters, tokens);
    owned.add(made::close);
    return made;
  }

  private void add(String name, double rows, long more, Work work) {
    long bytes = Math.round(rows * width * TYPE.bytes()) * tokens + more;
    kernels.put(name, new Kernel(bytes, count -> {
      for (int i = 0; i < count; i++) {
        turn = (turn + 1) % sets.size();
        work.run(sets.get(turn));
      }
    }));
  }

  private long coefficientBytes(HyperConnectionConfig config) {
    return 4 * tokens * (2L * config.mixCount() + 1); // coefficients, mix and 1 / rms
  }

  private static long projectionBytes(HyperConnectionConfig config, long width) {
    return 4L * config.mixCount() * N * width;
  }

  private void forward() {
    HyperConnectionConfig paper = HyperConnectionConfig.Preset.PAPER.config(N);
    HyperConnection current = layer(paper, 1);
    HyperConnection next = layer(paper, 2);
    long made = coefficientBytes(paper);
    long mixes = 4 * tokens * (N + (long) N * N);
    long projection = projectionBytes(paper, width);
    add("coefficients", N, made + projection, set -> current.coefficients(set.x));
    add("pre", N + 1, 4 * tokens * N, set -> Operations.pre(set.x, current.coefficients().preMix(), set.h));
    add("post", 2 * N + 1, mixes, set -> current.post(set.x, set.f, set.xNext));
    add("boundary", 2 * N + 2, mixes + made + projection, set -> current.boundary(set.x, set.f, next, set.xNext, set.h));
    Tensor normWeight = own(device.tensor(DType.FP32, width).fill(1));
    Tensor fp8 = own(device.tensor(DType.FP8_E4M3, tokens, width));
    Tensor scale = own(Fp8.scales(device, Fp8.Tile.ROW, tokens, width));
    LayerInput quantized = LayerInput.quantized(fp8, scale, Fp8.Rounding.EXACT).withNorm(normWeight, 1e-6f, null);
    add("boundary_norm_fp8", 2 * N + 1.5, mixes + made + projection + 4 * width + 4 * scale.elements(),
        set -> current.boundary(set.x, set.f, next, set.xNext, quantized));
    HyperConnectionConfig single = HyperConnectionConfig.Preset.DEEPSEEK_V4_1.config(N);
    HyperConnection shifted = layer(single, 3);
    HyperConnection shiftedNext = layer(single, 4);
    Tensor firstMix = own(device.tensor(DType.FP32, tokens, N).fill(0.25));
    add("boundary_shifted", 2 * N + 2, mixes + coefficientBytes(single) + projectionBytes(single, width),
        set -> shifted.boundary(set.x, set.f, shiftedNext, set.xNext, set.h));
    Set first = sets.get(0);
    shifted.pre(first.x, firstMix, LayerInput.of(first.h));
    for (HyperConnection layer : List.of(current, next)) {
      layer.pre(first.x, first.h); // the coefficients that the others use
    }
  }

  private void backward() {
    HyperConnectionConfig paper = HyperConnectionConfig.Preset.PAPER.config(N);
    HyperConnection current = layer(paper, 5);
    HyperConnection next = layer(paper, 6);
    Gradients gradients = Gradients.like(next.parameters());
    owned.add(gradients::close);
    Set first = sets.get(0);
    current.pre(first.x, first.h);
    current.boundary(first.x, first.f, next, first.xNext, first.h);
    next.coefficientGradients(); // zeros: no later layer has left any
    long mixes = 4 * tokens * (N + (long) N * N);
    long projection = projectionBytes(paper, width);
    add("boundary_backward", 3 * N + 3, 2 * mixes + 2 * coefficientBytes(paper) + 2 * projection,
        set -> current.boundaryBackward(set.x, set.f, next, set.dH, set.dXNext, set.dX, set.dF, gradients));
    add("post_backward", 3 * N + 2, 2 * mixes, set -> current.postBackward(set.x, set.f, set.dXNext, set.dX, set.dF));
  }

  private void others() {
    Tensor weight = own(device.tensor(DType.FP32, width).fill(1));
    Tensor fp8 = own(device.tensor(DType.FP8_E4M3, tokens, width));
    Tensor scale = own(Fp8.scales(device, Fp8.Tile.ROW, tokens, width));
    HyperConnectionConfig paper = HyperConnectionConfig.Preset.PAPER.config(N);
    Tensor logits = own(Rows.random(device, DType.FP32, 7, tokens, N, N));
    Tensor matrices = own(device.tensor(DType.FP32, tokens, N, N));
    add("expand", N + 1, 0, set -> Expand.forward(set.f, set.xNext));
    add("expand_backward", N + 1, 0, set -> Expand.backward(set.dXNext, set.dF, Accumulate.NONE));
    add("rmsnorm", 2, 4 * width, set -> RmsNorm.forward(set.f, weight, 1e-6f, set.h, null));
    add("fp8_quantize", 1.5, 4 * scale.elements(),
        set -> Fp8.quantize(set.f, fp8, scale, Fp8.Tile.ROW, Fp8.Rounding.EXACT));
    add("sinkhorn", 0, 8 * logits.elements(), set -> Sinkhorn.forward(paper, logits, matrices));
  }

  @Override
  public void close() {
    device.synchronize();
    owned.reversed().forEach(Runnable::run);
  }
}
