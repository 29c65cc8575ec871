// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.mhc.HyperConnectionConfig.Preset;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** F's output in FP8: with scales of powers of two its values are bfloat16 too, and what comes of both is the same. */
class LayerOutputTest {
  private static final int T = 5;
  private static final int N = 4;
  private static final int C = 140;
  private static final int LAYERS = 3;
  private static final long SEED = System.nanoTime();

  /** The tensors of a stack, and F's outputs in both types. */
  private static final class Stack {
    final Device device;
    final List<HyperConnection> layers = new ArrayList<>();
    final Tensor[] x = new Tensor[LAYERS + 1];
    final Tensor[] h = new Tensor[LAYERS];
    final Tensor[] f = new Tensor[LAYERS];
    final Tensor[] fp8 = new Tensor[LAYERS];
    final Tensor[] scale = new Tensor[LAYERS];

    Stack(Device device, Preset preset) {
      this.device = device;
      var random = new SplittableRandom(SEED);
      for (int l = 0; l <= LAYERS; l++) {
        x[l] = device.tensor(DType.BF16, T, N, C);
        if (l == LAYERS) {
          continue;
        }
        layers.add(HyperConnection.create(device, preset.config(N), Parameters.initialize(device, preset.config(N), C, l)));
        h[l] = device.tensor(DType.BF16, T, C);
        f[l] = device.tensor(DType.BF16, T, C).copyFrom(random.doubles(T * C, -2, 2).toArray());
        fp8[l] = device.tensor(DType.FP8_E4M3, T, C);
        scale[l] = device.tensor(l == 1 ? DType.E8M0 : DType.FP32, T, 2);
        Fp8.quantize(f[l], fp8[l], scale[l], Fp8.Tile.ROW, Fp8.Rounding.POWER_OF_TWO);
        Fp8.dequantize(fp8[l], scale[l], Fp8.Tile.ROW, f[l]);
      }
      x[0].copyFrom(random.doubles(T * N * C, -2, 2).toArray());
    }

    LayerOutput output(int l) {
      return LayerOutput.fp8(fp8[l], scale[l]);
    }

    /** Forward, from the outputs in FP8 or not; all that it makes. */
    List<double[]> forward(boolean inFp8) {
      layers.get(0).pre(x[0], h[0]);
      for (int l = 0; l + 1 < LAYERS; l++) {
        LayerOutput output = inFp8 ? output(l) : LayerOutput.of(f[l]);
        layers.get(l).boundary(x[l], output, layers.get(l + 1), x[l + 1], LayerInput.of(h[l + 1]));
      }
      int last = LAYERS - 1;
      layers.get(last).post(x[last], inFp8 ? output(last) : LayerOutput.of(f[last]), x[LAYERS]);
      return IntStream.rangeClosed(1, LAYERS).mapToObj(l -> x[l].toDoubles()).toList();
    }

    List<double[]> backward(boolean inFp8) {
      var random = new SplittableRandom(SEED + 1);
      Tensor dX = device.tensor(DType.BF16, T, N, C).copyFrom(random.doubles(T * N * C, -1, 1).toArray());
      Tensor dF = device.tensor(DType.BF16, T, C);
      Tensor dH = device.tensor(DType.BF16, T, C).copyFrom(random.doubles(T * C, -1, 1).toArray());
      var made = new ArrayList<double[]>();
      int last = LAYERS - 1;
      if (inFp8) {
        layers.get(last).postBackward(x[last], output(last), dX, dX, dF, Accumulate.NONE);
      } else {
        layers.get(last).postBackward(x[last], f[last], dX, dX, dF);
      }
      made.add(dF.toDoubles());
      for (int l = last - 1; l >= 0; l--) {
        var dInput = LayerInputGradient.of(dH);
        if (inFp8) {
          layers.get(l).boundaryBackward(x[l], output(l), layers.get(l + 1), dInput, dX, dX, dF, null, Accumulate.NONE);
        } else {
          layers.get(l).boundaryBackward(x[l], f[l], layers.get(l + 1), dInput, dX, dX, dF, null, Accumulate.NONE);
        }
        made.add(dF.toDoubles());
        made.add(dX.toDoubles());
        made.add(layers.get(l).coefficientGradients().postMix().toDoubles());
      }
      return made;
    }
  }

  private static void same(List<double[]> actual, List<double[]> expected) {
    assertThat(actual).hasSameSizeAs(expected);
    for (int i = 0; i < expected.size(); i++) {
      assertThat(actual.get(i)).as("result " + i + ", seed " + SEED).isEqualTo(expected.get(i));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"PAPER", "DEEPSEEK_V4_1"})
  void isBitForBitItsValues(Preset preset) {
    try (Device device = TestDevice.open()) {
      var stack = new Stack(device, preset);
      List<double[]> forward = stack.forward(false);
      List<double[]> backward = stack.backward(false);
      same(stack.forward(true), forward);
      same(stack.backward(true), backward);
      same(stack.forward(false), forward); // nothing of the FP8 is left behind
    }
  }

  /** Layers of both kinds in one block. */
  @Test
  void goesIntoARecompute() {
    try (Device device = TestDevice.open()) {
      var stack = new Stack(device, Preset.PAPER);
      List<double[]> forward = stack.forward(false);
      Tensor[] f = {stack.fp8[0], stack.fp8[1], stack.f[2]};
      Tensor[] scale = {stack.scale[0], stack.scale[1], null};
      Tensor[] residuals = {null, device.tensor(DType.BF16, T, N, C), device.tensor(DType.BF16, T, N, C)};
      Tensor xNext = device.tensor(DType.BF16, T, N, C);
      Recompute block = Recompute.of(stack.layers);
      for (int run = 0; run < 2; run++) {
        block.run(stack.x[0], null, f, scale, residuals, null, xNext);
        same(List.of(residuals[1].toDoubles(), residuals[2].toDoubles(), xNext.toDoubles()), forward);
        block.run(stack.x[0], null, stack.f, residuals, null, xNext);
        same(List.of(residuals[1].toDoubles(), residuals[2].toDoubles(), xNext.toDoubles()), forward);
      }
    }
  }

  /** A forward with a preMix of its own between two equal ones does not become the second. */
  @Test
  void anEqualForwardIsMadeAnewAfterAnotherOne() {
    try (Device device = TestDevice.open()) {
      var stack = new Stack(device, Preset.DEEPSEEK_V4_1);
      HyperConnection layer = stack.layers.get(0);
      LayerInput input = LayerInput.of(stack.h[0]);
      layer.pre(stack.x[0], input);
      double[] expected = stack.h[0].toDoubles();
      Tensor preMix = device.tensor(DType.FP32, T, N).copyFrom(new SplittableRandom(SEED + 2).doubles(T * N).toArray());
      layer.pre(stack.x[0], preMix, input);
      assertThat(stack.h[0].toDoubles()).as("seed " + SEED).isNotEqualTo(expected);
      layer.pre(stack.x[0], input);
      assertThat(stack.h[0].toDoubles()).as("seed " + SEED).isEqualTo(expected);
    }
  }

  /** The same call again, and with other scales alone. */
  @Test
  void repeats() {
    try (Device device = TestDevice.open()) {
      var stack = new Stack(device, Preset.PAPER);
      HyperConnection layer = stack.layers.get(0);
      HyperConnection next = stack.layers.get(1);
      LayerInput input = LayerInput.of(stack.h[1]);
      LayerOutput output = stack.output(0);
      LayerOutput larger = LayerOutput.fp8(stack.fp8[0], device.tensor(DType.FP32, T, 2).fill(8));
      var made = new ArrayList<double[]>();
      for (LayerOutput f : List.of(output, output, larger, output)) {
        layer.pre(stack.x[0], stack.h[0]);
        layer.boundary(stack.x[0], f, next, stack.x[1], input);
        made.add(stack.x[1].toDoubles());
      }
      assertThat(made.get(1)).as("seed " + SEED).isEqualTo(made.get(0));
      assertThat(made.get(2)).as("seed " + SEED).isNotEqualTo(made.get(0));
      assertThat(made.get(3)).as("seed " + SEED).isEqualTo(made.get(0));
    }
  }

  @Test
  void refusesWhatDoesNotGoTogether() {
    try (Device device = TestDevice.open()) {
      var stack = new Stack(device, Preset.PAPER);
      stack.forward(false);
      HyperConnection layer = stack.layers.get(0);
      refuses(() -> LayerOutput.fp8(stack.f[0], stack.scale[0]), "scale is given", "expected null", "BF16");
      refuses(() -> LayerOutput.of(stack.fp8[0]), "scale is null", "expected a tensor [T, ceil(C / 128)]");
      refuses(() -> new LayerOutput(null, null), "f is null", "expected");
      refuses(() -> layer.post(stack.x[0], (LayerOutput) null, stack.x[1]), "output is null", "expected a LayerOutput");
      refuses(() -> layer.post(stack.x[0], stack.fp8[0], stack.x[1]), "f is [5, 140] FP8_E4M3", "expected BF16 elements");
      Tensor narrow = device.tensor(DType.FP32, T, 1);
      refuses(() -> layer.post(stack.x[0], LayerOutput.fp8(stack.fp8[0], narrow), stack.x[1]), "scale is [5, 1]",
          "[T, ceil(C / 128)]");
      HyperConnection next = stack.layers.get(1);
      LayerInput input = LayerInput.of(stack.h[1]);
      LayerInputGradient dInput = LayerInputGradient.of(stack.h[2]);
      Tensor dX = device.tensor(DType.BF16, T, N, C);
      Tensor dF = device.tensor(DType.BF16, T, C);
      LayerOutput tooNarrow = LayerOutput.fp8(stack.fp8[0], narrow);
      refuses(() -> layer.boundary(stack.x[0], (LayerOutput) null, next, stack.x[1], input), "output is null",
          "expected a LayerOutput");
      refuses(() -> layer.boundary(stack.x[0], tooNarrow, next, stack.x[1], input), "scale is [5, 1]",
          "[T, ceil(C / 128)]");
      refuses(() -> layer.boundaryBackward(stack.x[0], (LayerOutput) null, next, dInput, null, dX, dF, null,
          Accumulate.NONE), "output is null", "expected a LayerOutput");
      refuses(() -> layer.boundaryBackward(stack.x[0], tooNarrow, next, dInput, null, dX, dF, null, Accumulate.NONE),
          "scale is [5, 1]", "[T, ceil(C / 128)]");
      refuses(() -> layer.postBackward(stack.x[0], (LayerOutput) null, stack.x[1], null, dF, Accumulate.NONE),
          "output is null", "expected a LayerOutput");
      refuses(() -> layer.postBackward(stack.x[0], tooNarrow, stack.x[1], null, dF, Accumulate.NONE), "scale is [5, 1]",
          "[T, ceil(C / 128)]");
      Tensor half = device.tensor(DType.BF16, T, 2);
      refuses(() -> layer.post(stack.x[0], LayerOutput.fp8(stack.fp8[0], half), stack.x[1]), "scale is [5, 2] BF16",
          "expected FP32 or E8M0 elements");
      refuses(() -> layer.postBackward(stack.x[0], stack.output(0), stack.x[1], null, stack.fp8[1], Accumulate.NONE),
          "dF is [5, 140] FP8_E4M3", "expected BF16 elements");
      refuses(() -> Recompute.of(stack.layers).run(stack.x[0], null, stack.f, stack.scale, null, null, null),
          "f is [5, 140] BF16", "expected FP8_E4M3 elements");
    }
  }

  private static void refuses(Runnable call, String... words) {
    assertThatThrownBy(call::run).isInstanceOf(IllegalArgumentException.class).message().contains(words);
  }
}
