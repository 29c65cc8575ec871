// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.management.ManagementFactory;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Once the code is compiled and the shapes are known, a call allocates nothing on the Java heap. */
class AllocationTest {
  private static final int T = 2;
  private static final int N = 4;
  private static final int C = 64;
  private static final int CALLS = 20_000;

  private Device device;

  @BeforeEach
  void open() {
    device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
  }

  @AfterEach
  void close() {
    device.close();
  }

  @Test
  void aStackForwardAndBackward() {
    var config = HyperConnectionConfig.Preset.PAPER.config(N);
    Parameters parameters = Parameters.initialize(device, config, C, 1);
    Gradients gradients = Gradients.like(parameters);
    HyperConnection first = HyperConnection.create(device, config, parameters, T);
    HyperConnection second = HyperConnection.create(device, config, parameters, T);
    Tensor x = device.tensor(DType.BF16, T, N, C).fill(1);
    Tensor xNext = device.tensor(DType.BF16, T, N, C);
    Tensor f = device.tensor(DType.BF16, T, C).fill(1);
    Tensor h = device.tensor(DType.BF16, T, C);
    Tensor dX = device.tensor(DType.BF16, T, N, C);
    Tensor dF = device.tensor(DType.BF16, T, C);
    LayerInput input = LayerInput.of(h).withNorm(device.tensor(DType.FP32, C).fill(1), 1e-6f, device.tensor(DType.BF16, T, C));
    assertNothingAllocated("forward and backward", () -> {
      first.pre(x, h);
      first.boundary(x, f, second, xNext, h);
      first.boundary(x, f, second, xNext, input);
      second.post(xNext, f, x);
      second.postBackward(xNext, f, x, dX, dF);
      first.boundaryBackward(x, f, second, h, dX, dX, dF, gradients);
      first.preBackward(x, h, dX, dX, gradients);
    });
  }

  @Test
  void singleOperations() {
    var config = HyperConnectionConfig.Preset.DEEPSEEK_V4.config(N);
    Tensor logits = device.tensor(DType.FP32, T, N, N);
    Tensor matrix = device.tensor(DType.FP32, T, N, N);
    Tensor x = device.tensor(DType.BF16, T, N, C).fill(1);
    Tensor h = device.tensor(DType.BF16, T, C);
    Tensor preMix = device.tensor(DType.FP32, T, N);
    Tensor fp8 = device.tensor(DType.FP8_E4M3, T, C);
    Tensor scale = device.tensor(DType.FP32, T, 1);
    assertNothingAllocated("single operations", () -> {
      Sinkhorn.forward(config, logits, matrix);
      Operations.pre(x, preMix, h);
      Expand.forward(h, x);
      RmsNorm.forward(h, null, 1e-6f, h, null);
      Fp8.quantize(h, fp8, scale, Fp8.Tile.ROW, Fp8.Rounding.EXACT);
      Head.mean(x, h);
    });
  }

  @Test
  void products() {
    Gemm fp32 = Gemm.create(device, GemmConfig.of(DType.FP32, T, C, C));
    Gemm bf16 = Gemm.create(device, GemmConfig.of(DType.BF16, T, C, C).withTransposed(false, true)
        .withEpilogue(true, Activation.GELU));
    Fp8Gemm tiled = Fp8Gemm.create(device, Fp8GemmConfig.tiled(T, C, C, DType.BF16));
    Fp8Gemm scaled = Fp8Gemm.create(device, Fp8GemmConfig.scaled(T, C, C, DType.FP32));
    Muon muon = Muon.create(device, MuonConfig.Preset.KELLER_JORDAN.config(), T, C);
    Tensor a = device.tensor(DType.FP32, T, C).fill(1);
    Tensor b = device.tensor(DType.FP32, C, C).fill(1);
    Tensor d = device.tensor(DType.FP32, T, C);
    Tensor halfA = device.tensor(DType.BF16, T, C).fill(1);
    Tensor halfB = device.tensor(DType.BF16, C, C).fill(1);
    Tensor halfD = device.tensor(DType.BF16, T, C);
    Tensor bias = device.tensor(DType.BF16, C);
    Tensor bytesA = device.tensor(DType.FP8_E4M3, T, C);
    Tensor bytesB = device.tensor(DType.FP8_E4M3, C, C);
    Tensor one = device.tensor(DType.FP32, 1).fill(1);
    Tensor rowScales = device.tensor(DType.FP32, T, 1).fill(1);
    Tensor blockScales = device.tensor(DType.FP32, 1, 1).fill(1);
    assertNothingAllocated("products", () -> {
      fp32.run(a, b, d);
      bf16.run(halfA, halfB, bias, halfD);
      tiled.run(bytesA, rowScales, bytesB, blockScales, halfD);
      scaled.run(bytesA, one, bytesB, one, d);
      muon.step(halfA, halfD, a, 0.5f);
    });
  }

  private static void assertNothingAllocated(String what, Runnable calls) {
    var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    long perRound = Long.MAX_VALUE;
    for (int round = 0; round < 30 && perRound > 0; round++) { // until the compilers are done with it
      long before = threads.getCurrentThreadAllocatedBytes();
      for (int i = 0; i < CALLS; i++) {
        calls.run();
      }
      perRound = threads.getCurrentThreadAllocatedBytes() - before;
    }
    assertThat((double) perRound / CALLS).as("bytes for each run of " + what).isZero();
  }
}
