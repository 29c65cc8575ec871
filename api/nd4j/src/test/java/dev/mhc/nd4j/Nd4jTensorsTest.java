// SPDX-License-Identifier: Apache-2.0
package dev.mhc.nd4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.Parameters;
import dev.mhc.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

class Nd4jTensorsTest {
  private final Device device = Device.cpu();

  @AfterEach
  void close() {
    device.close();
  }

  private static INDArray count(long... shape) {
    return Nd4j.arange(Nd4j.create(shape).length()).castTo(DataType.FLOAT).reshape(shape);
  }

  /** F by ND4J, on mhc's memory. */
  private static void function(Tensor h, INDArray weight, Tensor f) {
    // @start region="function"
    Nd4jTensors.array(h).mmuli(weight, Nd4jTensors.array(f)); // f = h weight
    // @end
  }

  @Test
  void itComputesF() {
    HyperConnectionConfig config = Preset.PAPER.config(4);
    try (Parameters parameters = Parameters.initialize(device, config, 8, 1);
        HyperConnection layer = HyperConnection.create(device, config, parameters);
        Tensor x = device.tensor(DType.FP32, 3, 4, 8).fill(0.5);
        Tensor h = device.tensor(DType.FP32, 3, 8);
        Tensor f = device.tensor(DType.FP32, 3, 8)) {
      layer.pre(x, h);
      function(h, Nd4j.eye(8).castTo(DataType.FLOAT).mul(2), f);
      for (int t = 0; t < 3; t++) {
        for (int c = 0; c < 8; c++) {
          assertThat(f.get(t, c)).isEqualTo(2 * h.get(t, c)).isNotZero();
        }
      }
      layer.post(x, f, x);
    }
  }

  @Test
  void anArraysMemoryIsTheTensors() {
    INDArray array = count(2, 3);
    try (Tensor tensor = Nd4jTensors.tensor(device, array)) {
      assertThat(tensor.toFloats()).containsExactly(0, 1, 2, 3, 4, 5);
      tensor.set(9, 1, 0);
      array.addi(1);
      assertThat(tensor.get(0, 1)).isEqualTo(2);
    }
    assertThat(array.getFloat(1, 0)).isEqualTo(10);
    assertThat(device.liveBytes()).isZero(); // nothing was copied
  }

  @Test
  void viewsAndOrders() {
    INDArray array = count(3, 4);
    try (Tensor row = Nd4jTensors.tensor(device, array.get(NDArrayIndex.point(1)));
        Tensor part = Nd4jTensors.tensor(device, array.get(NDArrayIndex.interval(1, 3), NDArrayIndex.interval(2, 4)));
        Tensor turned = Nd4jTensors.tensor(device, array.transpose());
        Tensor columns = Nd4jTensors.tensor(device, array.dup('f'))) {
      assertThat(row.toFloats()).containsExactly(4, 5, 6, 7);
      assertThat(part.toFloats()).containsExactly(6, 7, 10, 11);
      assertThat(turned.toFloats()).startsWith(0, 4, 8, 1);
      assertThat(columns.toFloats()).startsWith(0, 1, 2, 3);
      part.set(-1, 1, 1);
      assertThat(array.getFloat(2, 3)).isEqualTo(-1);
    }
  }

  @Test
  void everyType() {
    for (DType type : new DType[] {DType.FP32, DType.BF16, DType.FP16, DType.INT32}) {
      try (Tensor tensor = device.tensor(type, 2, 2).fill(3)) {
        INDArray array = Nd4jTensors.array(tensor);
        assertThat(array.shape()).containsExactly(2, 2);
        assertThat(array.getDouble(1, 1)).isEqualTo(3);
        array.addi(1);
        assertThat(tensor.toDoubles()).containsExactly(4, 4, 4, 4);
        try (Tensor back = Nd4jTensors.tensor(device, array)) {
          assertThat(back.dtype()).isEqualTo(type);
          back.set(-5, 0, 1);
        }
        assertThat(array.getDouble(0, 1)).isEqualTo(-5);
      }
    }
  }

  @Test
  void whatCannotBeShared() {
    assertThatThrownBy(() -> Nd4jTensors.tensor(device, Nd4j.create(DataType.DOUBLE, 2)))
        .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("array is of DOUBLE; expected FLOAT");
    assertThatThrownBy(() -> Nd4jTensors.tensor(device, Nd4j.empty(DataType.FLOAT))).hasMessageContaining("array is empty");
    INDArray closed = Nd4j.create(DataType.FLOAT, 2);
    closed.close();
    assertThatThrownBy(() -> Nd4jTensors.tensor(device, closed)).hasMessageContaining("array is closed");
    try (Tensor wide = device.tensor(DType.FP32, 2, 4); Tensor part = wide.slice(1, 0, 2);
        Tensor fp8 = device.tensor(DType.FP8_E4M3, 2); Tensor none = device.tensor(DType.FP32, 0)) {
      assertThatThrownBy(() -> Nd4jTensors.array(part)).hasMessageContaining("not compact");
      assertThatThrownBy(() -> Nd4jTensors.array(fp8)).hasMessageContaining("expected FP32, BF16, FP16 or INT32");
      assertThatThrownBy(() -> Nd4jTensors.array(none)).hasMessageContaining("0 bytes");
    }
  }
}
