// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class TensorTest {
  private Device device;

  @BeforeEach
  void open() {
    device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
  }

  @AfterEach
  void close() {
    device.close();
  }

  /** Against the definition: the nearest of all values of the type, of two the one with the even pattern. */
  @ParameterizedTest
  @EnumSource(names = {"BF16", "FP16", "FP8_E4M3"})
  void roundsOnceToNearestEven(DType type) {
    long seed = System.nanoTime();
    var random = new SplittableRandom(seed);
    int patterns = 1 << type.bits - 1;
    var all = new double[patterns]; // of the positive values, ascending until infinity or NaN
    Tensor every = device.tensor(type, patterns);
    for (int i = 0; i < patterns; i++) {
      if (type.bytes() == 1) {
        every.segment().set(ValueLayout.JAVA_BYTE, i, (byte) i);
      } else {
        every.segment().set(ValueLayout.JAVA_SHORT, 2L * i, (short) i);
      }
      all[i] = every.get(i);
    }
    int finite = 0;
    while (Double.isFinite(all[finite])) {
      finite++;
    }
    double largest = all[finite - 1];
    Tensor one = device.tensor(type, 1);
    for (int trial = 0; trial < 200_000; trial++) {
      int below = random.nextInt(finite - 1);
      double low = all[below];
      double high = all[below + 1];
      double middle = low + (high - low) / 2;
      double value = switch (random.nextInt(4)) {
        case 0 -> middle;
        case 1 -> Math.nextUp(middle); // where rounding to float first would lose the difference
        case 2 -> Math.nextDown(middle);
        default -> low + (high - low) * random.nextDouble();
      };
      double expected = value < middle || (value == middle && below % 2 == 0) ? low : high;
      double sign = random.nextBoolean() ? 1 : -1;
      one.set(sign * value, 0);
      assertThat(one.get(0)).as("%s of %s, seed %d", type, sign * value, seed).isEqualTo(sign * expected);
      one.copyFrom(sign * expected);
      assertThat(one.get(0)).isEqualTo(sign * expected);
    }
    one.set(Double.NaN, 0);
    assertThat(one.get(0)).isNaN();
    one.set(-largest * 2, 0);
    if (type == DType.FP8_E4M3) {
      assertThat(one.get(0)).isNaN();
      one.set(464, 0);
      assertThat(one.get(0)).isEqualTo(448);
      one.set(Math.nextUp(464.0), 0);
      assertThat(one.get(0)).isNaN();
    } else {
      assertThat(one.get(0)).isEqualTo(Double.NEGATIVE_INFINITY);
    }
    one.set(-0.0, 0);
    assertThat(1 / one.get(0)).isEqualTo(Double.NEGATIVE_INFINITY);
    one.set(Double.MIN_VALUE, 0);
    assertThat(one.get(0)).isZero();
  }

  @Test
  void powersOfTwoAndIntegersAreKeptOrRefused() {
    Tensor scale = device.tensor(DType.E8M0, 4).copyFrom(0x1p-127, 1, 0x1p127, Double.NaN);
    assertThat(scale.toDoubles()).containsExactly(0x1p-127, 1, 0x1p127, Double.NaN);
    for (double wrong : new double[] {3, 0, -1, 0x1p-128, 0x1p128, Double.POSITIVE_INFINITY}) {
      assertThatIllegalArgumentException().isThrownBy(() -> scale.fill(wrong))
          .withMessageContainingAll("value is " + wrong, "power of two");
    }
    Tensor number = device.tensor(DType.INT32, 2).copyFrom(Integer.MIN_VALUE, (double) Integer.MAX_VALUE);
    assertThat(number.toDoubles()).containsExactly(Integer.MIN_VALUE, Integer.MAX_VALUE);
    for (double wrong : new double[] {0.5, 0x1p31, Double.NaN}) {
      assertThatIllegalArgumentException().isThrownBy(() -> number.copyFrom(7, wrong))
          .withMessageContainingAll("value is " + wrong, "32-bit integer");
      assertThat(number.toDoubles()).containsExactly(Integer.MIN_VALUE, Integer.MAX_VALUE);
    }
  }

  @Test
  void wrapsWithoutACopy() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2, 3, 4, 5, 6);
      try (Tensor tensor = Tensor.wrap(device, DType.FP32, memory, 2, 3)) {
        assertThat(tensor.segment().address()).isEqualTo(memory.address());
        tensor.set(9, 1, 0);
        assertThat(memory.getAtIndex(ValueLayout.JAVA_FLOAT, 3)).isEqualTo(9);
        assertThat(tensor.toFloats()).containsExactly(1, 2, 3, 9, 5, 6);
      }
      assertThat(memory.getAtIndex(ValueLayout.JAVA_FLOAT, 5)).isEqualTo(6);
      Tensor strided = Tensor.wrap(device, DType.FP32, memory, new long[] {2, 2}, new long[] {1, 3});
      assertThat(strided.toFloats()).containsExactly(1, 9, 2, 5);
      assertThat(strided.isCompact()).isFalse();
      assertThat(strided.copyFrom(10, 20, 30, 40).get(1, 1)).isEqualTo(40);
      assertThat(memory.getAtIndex(ValueLayout.JAVA_FLOAT, 4)).isEqualTo(40);
    }
  }

  @Test
  void refusesMemoryThatDoesNotFit() {
    MemorySegment heap = MemorySegment.ofArray(new float[6]);
    assertThatIllegalArgumentException().isThrownBy(() -> Tensor.wrap(device, DType.FP32, heap, 2, 3))
        .withMessageContainingAll("data is", "Java heap", "expected native memory");
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocate(64, 64);
      assertThatIllegalArgumentException().isThrownBy(() -> Tensor.wrap(device, DType.FP32, memory, 17))
          .withMessageContainingAll("data has 64 bytes", "expected at least 68", "[17]");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> Tensor.wrap(device, DType.FP32, memory, new long[] {3, 4}, new long[] {7, 1}))
          .withMessageContainingAll("data has 64 bytes", "expected at least 72", "[7, 1]");
      assertThatIllegalArgumentException().isThrownBy(() -> Tensor.wrap(device, DType.FP32, memory.asSlice(2), 3))
          .withMessageContainingAll("data is at address", "multiple of 4");
      assertThatIllegalArgumentException().isThrownBy(() -> Tensor.wrap(device, DType.FP32, memory, 2, -1))
          .withMessageContainingAll("shape is [2, -1]", "expected");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> Tensor.wrap(device, DType.FP32, memory, Long.MAX_VALUE, Long.MAX_VALUE))
          .withMessageContainingAll("shape is", "expected fewer");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> Tensor.wrap(device, DType.FP32, memory, 1, 1, 1, 1, 1, 1, 1, 1, 1))
          .withMessageContainingAll("shape is", "at most 8");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> Tensor.wrap(device, DType.FP32, memory, new long[] {2, 2}, new long[] {2}))
          .withMessageContainingAll("strides is [2]", "expected 2");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> Tensor.wrap(device, DType.FP32, memory, new long[] {2, 2}, new long[] {-2, 1}))
          .withMessageContainingAll("strides is [-2, 1]", "none below 0");
      assertThatIllegalArgumentException().isThrownBy(() -> Tensor.wrap(null, DType.FP32, memory, 1))
          .withMessageContaining("device is null");
      assertThatIllegalArgumentException().isThrownBy(() -> Tensor.wrap(device, null, memory, 1))
          .withMessageContaining("type is null");
      assertThatIllegalArgumentException().isThrownBy(() -> Tensor.wrap(device, DType.FP32, null, 1))
          .withMessageContaining("data is null");
      assertThatIllegalArgumentException().isThrownBy(() -> Tensor.wrap(device, DType.FP32, memory, (long[]) null))
          .withMessageContaining("shape is null");
    }
  }

  @Test
  void readOnlyMemoryIsRead() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocate(16).asReadOnly();
      Tensor tensor = Tensor.wrap(device, DType.FP32, memory, 4);
      assertThat(tensor.isWritable()).isFalse();
      assertThat(tensor.get(3)).isZero();
      assertThatIllegalArgumentException().isThrownBy(() -> tensor.fill(1)).withMessageContaining("read-only");
      Tensor broadcast = Tensor.wrap(device, DType.FP32, arena.allocate(16), new long[] {3, 4}, new long[] {0, 1});
      assertThat(broadcast.isWritable()).isFalse();
    }
  }

  @Test
  void viewsShareMemory() {
    Tensor tensor = device.tensor(DType.BF16, 4, 3).copyFrom(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    Tensor rows = tensor.slice(0, 1, 3);
    assertThat(rows.toDoubles()).containsExactly(3, 4, 5, 6, 7, 8);
    Tensor column = tensor.slice(1, 2, 3);
    assertThat(column.toDoubles()).containsExactly(2, 5, 8, 11);
    assertThat(column.isCompact()).isFalse();
    column.fill(-1);
    assertThat(tensor.get(3, 2)).isEqualTo(-1);
    assertThat(rows.reshape(3, 2).get(1, 0)).isEqualTo(-1);
    assertThat(tensor.slice(0, 4, 4).elements()).isZero();
  }

  @Test
  void refusesViewsThatDoNotFit() {
    Tensor tensor = device.tensor(DType.FP32, 4, 3);
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.slice(2, 0, 1))
        .withMessageContainingAll("dimension is 2", "0 to 1");
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.slice(0, -1, 1))
        .withMessageContainingAll("from is -1", "0 to 4");
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.slice(0, 2, 5))
        .withMessageContainingAll("to is 5", "2 to 4");
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.reshape(5, 2))
        .withMessageContainingAll("shape is [5, 2]", "expected 12 elements");
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.slice(1, 0, 2).reshape(8))
        .withMessageContainingAll("not compact", "expected");
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.get(0, 3))
        .withMessageContainingAll("index is [0, 3]", "[4, 3]");
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.set(1, 0))
        .withMessageContainingAll("index is [0]", "expected 2 numbers");
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.copyFrom(1f, 2f))
        .withMessageContainingAll("values has 2 elements", "expected 12");
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.copyFrom(1.0, 2.0))
        .withMessageContainingAll("values has 2 elements", "expected 12");
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.copyFrom(device.tensor(DType.FP32, 3, 4)))
        .withMessageContainingAll("source is [3, 4]", "expected shape [4, 3]");
    assertThatIllegalArgumentException().isThrownBy(() -> tensor.dim(2)).withMessageContaining("index is 2");
  }

  @Test
  void copiesBetweenTypes() {
    Tensor from = device.tensor(DType.FP32, 2, 2).copyFrom(1f, 1.00390625f, 3e38f, -0.1f);
    Tensor to = device.tensor(DType.BF16, 2, 2).copyFrom(from);
    assertThat(to.toDoubles()).containsExactly(1, 1, 0x1.c4p127, -0x1.9ap-4);
    Tensor same = device.tensor(DType.FP32, 2, 2).copyFrom(from);
    assertThat(same.toFloats()).isEqualTo(from.toFloats());
    try (Device other = Device.cpu(CpuOptions.DEFAULT.withThreads(1))) {
      assertThat(other.tensor(DType.FP32, 2, 2).copyFrom(from).toFloats()).isEqualTo(from.toFloats());
    }
  }

  @Test
  void closedTensorsAreRefused() {
    Tensor tensor = device.tensor(DType.FP32, 2);
    MemorySegment segment = tensor.segment();
    Tensor view = tensor.slice(0, 0, 1);
    tensor.close();
    tensor.close();
    assertThat(tensor.isClosed()).isTrue();
    assertThat(view.isClosed()).isTrue();
    for (Runnable use : new Runnable[] {tensor::segment, () -> tensor.fill(0), tensor::toFloats, tensor::toDoubles,
        () -> tensor.get(0), () -> tensor.set(1, 0), () -> tensor.copyFrom(1f, 2f), tensor::toDLPack, view::segment,
        () -> tensor.slice(0, 0, 1), () -> tensor.reshape(2, 1)}) {
      assertThatIllegalStateException().isThrownBy(use::run).withMessageContaining("closed");
    }
    assertThatIllegalStateException().isThrownBy(() -> segment.get(ValueLayout.JAVA_FLOAT, 0));
  }

  @Test
  void closingAViewLeavesTheTensor() {
    Tensor tensor = device.tensor(DType.FP32, 2).fill(3);
    Tensor view = tensor.slice(0, 0, 1);
    view.close();
    assertThat(view.isClosed()).isTrue();
    assertThat(tensor.get(0)).isEqualTo(3);
  }

  @Test
  void emptyTensorsHaveAPlace() {
    Tensor tensor = device.tensor(DType.FP32, 0, 4, 8);
    assertThat(tensor.elements()).isZero();
    assertThat(tensor.toFloats()).isEmpty();
    assertThat(tensor.segment().byteSize()).isZero();
    assertThat(tensor.fill(1)).isSameAs(tensor);
  }
}
