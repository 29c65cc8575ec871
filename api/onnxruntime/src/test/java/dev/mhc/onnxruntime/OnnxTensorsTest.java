// SPDX-License-Identifier: Apache-2.0
package dev.mhc.onnxruntime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.Parameters;
import dev.mhc.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class OnnxTensorsTest {
  private final Device device = Device.cpu();
  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();

  @AfterEach
  void close() {
    device.close();
  }

  /** F by ONNX Runtime, on mhc's memory. */
  private static void function(OrtEnvironment environment, OrtSession session, Tensor h, Tensor f) throws OrtException {
    // @start region="function"
    try (OnnxTensor in = OnnxTensors.onnx(environment, h);
        OnnxTensor out = OnnxTensors.onnx(environment, f);
        OrtSession.Result result = session.run(Map.of("x", in), Map.of("y", out))) {
      assert result.get(0) == out; // f is filled
    }
    // @end
  }

  @Test
  void itComputesF() throws OrtException {
    HyperConnectionConfig config = Preset.PAPER.config(4);
    try (OrtSession session = environment.createSession(Onnx.twice(1));
        Parameters parameters = Parameters.initialize(device, config, 8, 1);
        HyperConnection layer = HyperConnection.create(device, config, parameters);
        Tensor x = device.tensor(DType.FP32, 3, 4, 8).fill(0.5);
        Tensor h = device.tensor(DType.FP32, 3, 8);
        Tensor f = device.tensor(DType.FP32, 3, 8)) {
      layer.pre(x, h);
      function(environment, session, h, f);
      for (int t = 0; t < 3; t++) {
        for (int c = 0; c < 8; c++) {
          assertThat(f.get(t, c)).isEqualTo(2 * h.get(t, c)).isNotZero();
        }
      }
      layer.post(x, f, x);
    }
  }

  @Test
  void itsTensorsMemoryIsOurs() throws OrtException {
    ByteBuffer buffer = ByteBuffer.allocateDirect(24).order(ByteOrder.nativeOrder());
    for (int i = 0; i < 6; i++) {
      buffer.putFloat(4 * i, i);
    }
    try (OnnxTensor theirs = OnnxTensor.createTensor(environment, buffer.asFloatBuffer(), new long[] {2, 3});
        Tensor ours = OnnxTensors.tensor(device, theirs)) {
      assertThat(ours.toFloats()).containsExactly(0, 1, 2, 3, 4, 5);
      ours.set(9, 1, 0);
      assertThat(buffer.getFloat(12)).isEqualTo(9);
      assertThat(theirs.getFloatBuffer().get(3)).isEqualTo(9);
    }
  }

  @Test
  void everyType() throws OrtException {
    for (DType type : new DType[] {DType.FP32, DType.BF16, DType.FP16, DType.INT32}) {
      try (Tensor tensor = device.tensor(type, 2, 2).fill(3); OnnxTensor theirs = OnnxTensors.onnx(environment, tensor);
          Tensor back = OnnxTensors.tensor(device, theirs)) {
        assertThat(theirs.getInfo().getShape()).containsExactly(2, 2);
        assertThat(back.dtype()).isEqualTo(type);
        back.set(-5, 1, 1);
        assertThat(tensor.toDoubles()).containsExactly(3, 3, 3, -5);
      }
    }
  }

  @Test
  void whatCannotBeShared() throws OrtException {
    try (OrtSession session = environment.createSession(Onnx.twice(1));
        OnnxTensor in = OnnxTensor.createTensor(environment, new float[][] {{1, 2}});
        OrtSession.Result result = session.run(Map.of("x", in))) {
      assertThatThrownBy(() -> OnnxTensors.tensor(device, (OnnxTensor) result.get(0)))
          .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("memory of ONNX Runtime's own");
    }
    try (OnnxTensor wide = OnnxTensor.createTensor(environment, ByteBuffer.allocateDirect(8).order(ByteOrder.nativeOrder()),
        new long[] {1}, OnnxJavaType.INT64)) {
      assertThatThrownBy(() -> OnnxTensors.tensor(device, wide)).hasMessageContaining("tensor is of INT64");
    }
    try (Tensor wide = device.tensor(DType.FP32, 2, 4); Tensor part = wide.slice(1, 0, 2);
        Tensor fp8 = device.tensor(DType.FP8_E4M3, 2)) {
      assertThatThrownBy(() -> OnnxTensors.onnx(environment, part)).hasMessageContaining("not compact");
      assertThatThrownBy(() -> OnnxTensors.onnx(environment, fp8)).hasMessageContaining("expected FP32, BF16, FP16 or INT32");
    }
  }
}
