// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Fp8;
import dev.mhc.Fp8Gemm;
import dev.mhc.Fp8GemmConfig;
import dev.mhc.Gemm;
import dev.mhc.GemmConfig;
import dev.mhc.GemmConfig.Precision;
import dev.mhc.Muon;
import dev.mhc.MuonConfig;
import dev.mhc.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;

/** Products of square matrices in every type, and an update by Muon. */
final class Products {
  /** @param operations floating-point operations of one call */
  record Product(double operations, Function<Device, Measured> measure) {}

  /** What is measured, and what has to be closed behind it. */
  record Measured(Runnable call, Runnable close) {}

  private Products() {}

  static Map<String, Product> all(long extent) {
    double operations = 2.0 * extent * extent * extent;
    var all = new LinkedHashMap<String, Product>();
    all.put("gemm_bf16", new Product(operations, device -> gemm(device, GemmConfig.of(DType.BF16, extent, extent, extent))));
    all.put("gemm_fp16", new Product(operations, device -> gemm(device, GemmConfig.of(DType.FP16, extent, extent, extent))));
    all.put("gemm_tf32", new Product(operations,
        device -> gemm(device, GemmConfig.of(DType.FP32, extent, extent, extent).withPrecision(Precision.TF32))));
    all.put("gemm_fp32", new Product(operations, device -> gemm(device, GemmConfig.of(DType.FP32, extent, extent, extent))));
    all.put("fp8_gemm_scaled", new Product(operations, device -> fp8(device, Fp8GemmConfig.scaled(extent, extent, extent, DType.BF16))));
    all.put("fp8_gemm_tiled", new Product(operations, device -> fp8(device, Fp8GemmConfig.tiled(extent, extent, extent, DType.BF16))));
    MuonConfig muon = MuonConfig.Preset.KELLER_JORDAN.config();
    long side = Math.max(1, extent / 2);
    all.put("muon_step", new Product(muon.steps().size() * 6.0 * side * side * side, device -> muon(device, muon, side)));
    return all;
  }

  private static Measured gemm(Device device, GemmConfig config) {
    Tensor a = Rows.random(device, config.aType(), 1, config.m(), config.k());
    Tensor b = Rows.random(device, config.bType(), 2, config.k(), config.n());
    Tensor d = device.tensor(config.dType(), config.m(), config.n());
    Gemm gemm = Gemm.create(device, config);
    return new Measured(() -> gemm.run(a, b, d), closing(gemm::close, a, b, d));
  }

  private static Measured fp8(Device device, Fp8GemmConfig config) {
    Tensor a = Rows.random(device, DType.FP8_E4M3, 1, config.m(), config.k());
    Tensor b = Rows.random(device, DType.FP8_E4M3, 2, config.n(), config.k());
    boolean tiled = config.aScaling() != Fp8GemmConfig.Scaling.TENSOR;
    Tensor aScale = tiled ? Fp8.scales(device, Fp8.Tile.ROW, config.m(), config.k()) : device.tensor(DType.FP32, 1);
    Tensor bScale = tiled ? Fp8.scales(device, Fp8.Tile.SQUARE, config.n(), config.k()) : device.tensor(DType.FP32, 1);
    aScale.fill(0.5);
    bScale.fill(0.5);
    Tensor d = device.tensor(config.dType(), config.m(), config.n());
    Fp8Gemm gemm = Fp8Gemm.create(device, config);
    return new Measured(() -> gemm.run(a, aScale, b, bScale, d), closing(gemm::close, a, b, aScale, bScale, d));
  }

  private static Measured muon(Device device, MuonConfig config, long side) {
    Tensor weight = Rows.random(device, DType.FP32, 1, side, side);
    Tensor gradient = Rows.random(device, DType.BF16, 2, side, side);
    Tensor momentum = device.tensor(DType.FP32, side, side);
    Muon muon = Muon.create(device, config, side, side);
    return new Measured(() -> muon.step(weight, gradient, momentum, 0.01f), closing(muon::close, weight, gradient, momentum));
  }

  private static Runnable closing(Runnable prepared, Tensor... tensors) {
    return () -> {
      prepared.run();
      for (Tensor tensor : tensors) {
        tensor.close();
      }
    };
  }
}
