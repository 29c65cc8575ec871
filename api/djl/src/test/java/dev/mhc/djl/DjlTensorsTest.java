// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.ndarray.types.SparseFormat;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class DjlTensorsTest {
  private final Device device = Models.device();
  private final NDManager manager = Models.manager();

  @AfterEach
  void close() {
    manager.close();
    device.close();
  }

  @Test
  void anArraysMemoryIsTheTensors() {
    NDArray array = manager.create(new float[] {1, 2, 3, 4, 5, 6}, new Shape(2, 3));
    try (Tensor tensor = DjlTensors.tensor(device, array)) {
      assertThat(tensor.shape()).containsExactly(2, 3);
      assertThat(tensor.dtype()).isEqualTo(DType.FP32);
      assertThat(tensor.toFloats()).containsExactly(1, 2, 3, 4, 5, 6);
      tensor.set(9, 1, 0);
      array.addi(1);
      assertThat(tensor.get(0, 1)).isEqualTo(3);
    }
    assertThat(array.toFloatArray()).containsExactly(2, 3, 4, 10, 6, 7);
    assertThat(device.liveBytes()).isZero(); // nothing was copied
  }

  @Test
  void aTensorsMemoryIsTheArrays() {
    try (Tensor tensor = device.tensor(DType.FP32, 2, 3)) {
      NDArray array = DjlTensors.array(manager, tensor);
      assertThat(array.getShape()).isEqualTo(new Shape(2, 3));
      tensor.set(7, 1, 2);
      array.addi(1);
      assertThat(array.toFloatArray()).containsExactly(1, 1, 1, 1, 1, 8);
      assertThat(tensor.get(1, 2)).isEqualTo(8);
      array.close();
      assertThat(tensor.get(0, 0)).isEqualTo(1);
    }
  }

  @Test
  void otherTypes() {
    NDArray half = manager.create(new float[] {0.5f, -2}).toType(DataType.FLOAT16, false);
    NDArray number = manager.create(new int[] {3, -4});
    try (Tensor a = DjlTensors.tensor(device, half); Tensor b = DjlTensors.tensor(device, number)) {
      assertThat(a.dtype()).isEqualTo(DType.FP16);
      assertThat(a.toFloats()).containsExactly(0.5f, -2);
      assertThat(b.dtype()).isEqualTo(DType.INT32);
      assertThat(b.toDoubles()).containsExactly(3, -4);
      assertThat(DjlTensors.array(manager, a).getDataType()).isEqualTo(DataType.FLOAT16);
      assertThat(DjlTensors.array(manager, b).toIntArray()).containsExactly(3, -4);
    }
  }

  @Test
  void whatCannotBeShared() {
    NDArray array = manager.arange(6f).reshape(2, 3);
    assertThatThrownBy(() -> DjlTensors.tensor(device, array.transpose())).isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("array (3, 2) is not contiguous");
    assertThatThrownBy(() -> DjlTensors.tensor(device, manager.create(new long[] {1})))
        .hasMessageContaining("array is of int64; expected FLOAT32");
    assertThatThrownBy(() -> DjlTensors.tensor(device, array.toSparse(SparseFormat.COO))).hasMessageContaining("sparse");
    try (Tensor bf16 = device.tensor(DType.BF16, 2); Tensor wide = device.tensor(DType.FP32, 2, 4);
        Tensor part = wide.slice(1, 0, 2)) {
      assertThatThrownBy(() -> DjlTensors.array(manager, bf16)).hasMessageContaining("expected FP32, FP16 or INT32");
      assertThatThrownBy(() -> DjlTensors.array(manager, part)).hasMessageContaining("not compact");
    }
  }
}
