// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import dev.mhc.Accumulate;
import dev.mhc.Birkhoff;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Expand;
import dev.mhc.Fp8;
import dev.mhc.Gain;
import dev.mhc.Gradients;
import dev.mhc.Head;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Orientation;
import dev.mhc.LayerInput;
import dev.mhc.Operations;
import dev.mhc.Parameters;
import dev.mhc.Recompute;
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
  private static final int LAYERS = 8; // of a recomputed block

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
    try {
      make(cacheBytes);
    } catch (RuntimeException e) { // no room for it
      close();
      throw e;
    }
  }

  private void make(long cacheBytes) {
    long one = (4L * N + 4) * tokens * width * TYPE.bytes();
    int wanted = (int) Math.min(MOST_SETS, Math.max(1, (3 * cacheBytes + one - 1) / one));
    for (int i = 0; i < wanted; i++) {
      sets.add(new Set(streams(4L * i), layer(4L * i + 1), streams(-1), layer(-1), streams(-1), layer(-1), layer(4L * i + 2),
          streams(4L * i + 3)));
    }
    forward();
    backward();
    rows();
    head();
    recompute();
    matrices();
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
    add("coefficients_backward", 2 * N, 2 * coefficientBytes(paper) + 2 * projection,
        set -> next.coefficientsBackward(set.x, set.dX, gradients, Accumulate.NONE));
    Tensor dPreMix = own(device.tensor(DType.FP32, tokens, N));
    add("pre_backward", 2 * N + 1, 8 * tokens * N, set -> Operations.preBackward(set.x, current.coefficients().preMix(), set.dH,
        set.dX, dPreMix, Accumulate.NONE));
  }

  private void rows() {
    Tensor weight = own(device.tensor(DType.FP32, width).fill(1));
    Tensor dWeight = own(device.tensor(DType.FP32, width));
    Tensor fp8 = own(device.tensor(DType.FP8_E4M3, tokens, width));
    Tensor scale = own(Fp8.scales(device, Fp8.Tile.ROW, tokens, width));
    Tensor square = own(Fp8.scales(device, Fp8.Tile.SQUARE, tokens, width));
    Fp8.quantize(sets.get(0).f, fp8, scale, Fp8.Tile.ROW, Fp8.Rounding.EXACT);
    add("expand", N + 1, 0, set -> Expand.forward(set.f, set.xNext));
    add("expand_backward", N + 1, 0, set -> Expand.backward(set.dXNext, set.dF, Accumulate.NONE));
    add("rmsnorm", 2, 4 * width, set -> RmsNorm.forward(set.f, weight, 1e-6f, set.h, null));
    add("rmsnorm_backward", 3, 8 * width,
        set -> RmsNorm.backward(set.f, weight, 1e-6f, set.dH, set.dF, dWeight, Accumulate.NONE));
    add("fp8_quantize", 1.5, 4 * scale.elements(),
        set -> Fp8.quantize(set.f, fp8, scale, Fp8.Tile.ROW, Fp8.Rounding.EXACT));
    add("fp8_dequantize", 1.5, 4 * scale.elements(), set -> Fp8.dequantize(fp8, scale, Fp8.Tile.ROW, set.h));
    add("fp8_quantize_square", 1.5, 4 * square.elements(),
        set -> Fp8.quantize(set.f, fp8, square, Fp8.Tile.SQUARE, Fp8.Rounding.EXACT));
  }

  private void head() {
    HyperConnectionConfig config = HyperConnectionConfig.Preset.DEEPSEEK_V4.config(N);
    Head.Weights weights = weights(8);
    Head.Weights gradients = weights(-1);
    Tensor mix = own(device.tensor(DType.FP32, tokens, N));
    Tensor invRms = own(device.tensor(DType.FP32, tokens));
    long projection = 4L * N * N * width;
    long saved = 4 * tokens * (N + 1L);
    Head.weighted(config, weights, sets.get(0).x, sets.get(0).h, mix, invRms);
    add("head", N + 1, projection + saved, set -> Head.weighted(config, weights, set.x, set.h, mix, invRms));
    add("head_backward", 2 * N + 1, 2 * projection + saved,
        set -> Head.weightedBackward(config, weights, set.x, mix, invRms, set.dH, set.dX, gradients, Accumulate.NONE));
    add("head_mean", N + 1, 0, set -> Head.mean(set.x, set.h));
  }

  private Head.Weights weights(long seed) {
    if (seed < 0) {
      return new Head.Weights(own(device.tensor(DType.FP32, N, N * width)), own(device.tensor(DType.FP32, 1)),
          own(device.tensor(DType.FP32, N)));
    }
    return new Head.Weights(own(Rows.random(device, DType.FP32, seed, N, N * width)), own(device.tensor(DType.FP32, 1).fill(0.01)),
        own(device.tensor(DType.FP32, N).fill(0)));
  }

  /** What the backward of a block wants at least, the inputs of F: x is read once, and no other residual is asked for. */
  private void recompute() {
    HyperConnectionConfig paper = HyperConnectionConfig.Preset.PAPER.config(N);
    var layers = new ArrayList<HyperConnection>();
    var f = new Tensor[LAYERS];
    var h = new Tensor[LAYERS];
    for (int l = 0; l < LAYERS; l++) {
      layers.add(layer(paper, 9 + l));
      f[l] = l + 1 < LAYERS ? layer(100 + l) : null; // nothing behind the last layer's F is rebuilt
      h[l] = layer(-1);
    }
    Recompute block = Recompute.of(layers);
    add("recompute_" + LAYERS, N + 2 * LAYERS - 1, LAYERS * (coefficientBytes(paper) + projectionBytes(paper, width)),
        set -> block.run(set.x, null, f, null, h, null));
  }

  /** A small matrix for each token. */
  private void matrices() {
    HyperConnectionConfig paper = HyperConnectionConfig.Preset.PAPER.config(N);
    Tensor logits = own(Rows.random(device, DType.FP32, 7, tokens, N, N));
    Tensor made = own(device.tensor(DType.FP32, tokens, N, N));
    Tensor gradient = own(device.tensor(DType.FP32, tokens, N, N));
    Sinkhorn.forward(paper, logits, made);
    add("sinkhorn", 0, 8 * logits.elements(), set -> Sinkhorn.forward(paper, logits, made));
    add("sinkhorn_backward", 0, 12 * logits.elements(),
        set -> Sinkhorn.backward(paper, logits, logits, gradient, Accumulate.NONE));
    Tensor layer = made.reshape(1, tokens, N, N);
    Gain gain = Gain.allocate(device, 1, tokens);
    Birkhoff terms = Birkhoff.allocate(device, tokens, N);
    Tensor distance = own(device.tensor(DType.FP32, tokens));
    owned.add(gain::close);
    owned.add(terms::close);
    add("gain", 0, 4 * (logits.elements() + 6 * tokens),
        set -> Gain.measure(Orientation.OUT_IN, layer, gain));
    add("doubly_stochastic_distance", 0, 4 * (logits.elements() + tokens),
        set -> Birkhoff.doublyStochasticDistance(made, distance));
    add("birkhoff", 0, 4 * (logits.elements() + terms.weight().elements() + terms.permutation().elements() + 2 * tokens),
        set -> Birkhoff.decompose(made, terms));
  }

  @Override
  public void close() {
    device.synchronize();
    owned.reversed().forEach(Runnable::run);
  }
}
