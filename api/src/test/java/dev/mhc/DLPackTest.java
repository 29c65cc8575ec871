// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DLPackTest {
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
  void goesRoundWithoutACopy() {
    Tensor tensor = device.tensor(DType.BF16, 3, 4).copyFrom(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    Tensor view = tensor.slice(1, 1, 3);
    Tensor back = Tensor.fromDLPack(device, view.toDLPack());
    assertThat(back.shape()).containsExactly(3, 2);
    assertThat(back.strides()).containsExactly(4, 1);
    assertThat(back.dtype()).isEqualTo(DType.BF16);
    assertThat(back.segment().address()).isEqualTo(tensor.segment().address() + 2);
    back.set(-5, 2, 1);
    assertThat(tensor.get(2, 2)).isEqualTo(-5);
    back.close();
    assertThatIllegalStateException().isThrownBy(back::segment);
    Tensor versioned = Tensor.fromDLPackVersioned(device, tensor.toDLPackVersioned());
    assertThat(versioned.toDoubles()).isEqualTo(tensor.toDoubles());
    versioned.close();
    versioned.close();
  }

  @Test
  void everyTypeHasItsCode() {
    for (DType type : DType.values()) {
      Tensor tensor = device.tensor(type, 2).fill(1);
      try (Tensor back = Tensor.fromDLPack(device, tensor.toDLPack())) {
        assertThat(back.dtype()).isEqualTo(type);
        assertThat(back.toDoubles()).containsExactly(1, 1);
      }
    }
  }

  /** The memory stays for the importer, whatever the exporter closes. */
  @Test
  void memoryStaysUntilTheDeleterRuns() {
    Tensor tensor = device.tensor(DType.FP32, 4).fill(2);
    MemorySegment first = tensor.toDLPack();
    MemorySegment second = tensor.toDLPackVersioned();
    tensor.close();
    assertThat(device.liveBytes()).isEqualTo(16);
    Tensor back = Tensor.fromDLPack(device, first);
    assertThat(back.toDoubles()).containsOnly(2);
    back.close();
    assertThat(device.liveBytes()).isEqualTo(16);
    Tensor.fromDLPackVersioned(device, second).close();
    assertThat(device.liveBytes()).isZero();
  }

  @Test
  void importersOutliveTheDevice() {
    Device short_ = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
    MemorySegment managed = short_.tensor(DType.FP32, 4).fill(2).toDLPack();
    short_.close();
    try (Tensor back = Tensor.fromDLPack(device, managed)) {
      assertThat(back.toDoubles()).containsOnly(2);
    }
  }

  @Test
  void readOnlyStaysReadOnly() {
    Tensor tensor = Tensor.wrap(device, DType.FP32, Arena.ofAuto().allocate(16).asReadOnly(), 4);
    assertThatIllegalArgumentException().isThrownBy(tensor::toDLPack).withMessageContaining("toDLPackVersioned");
    try (Tensor back = Tensor.fromDLPackVersioned(device, tensor.toDLPackVersioned())) {
      assertThat(back.isWritable()).isFalse();
      assertThatIllegalArgumentException().isThrownBy(() -> back.fill(1)).withMessageContaining("read-only");
    }
  }

  @Test
  void producersWithoutStridesAndDeleterAreCompact() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment managed = producer(arena, 1, 2, 32, 1);
      Tensor tensor = Tensor.fromDLPack(device, managed);
      assertThat(tensor.strides()).containsExactly(3, 1);
      assertThat(tensor.toDoubles()).containsExactly(1, 2, 3, 4, 5, 6);
      tensor.close();
    }
  }

  @Test
  void refusesWhatItCannotUse() {
    try (Arena arena = Arena.ofConfined()) {
      refuses(producer(arena, 2, 2, 32, 1), "managed is on DLPack device (2, 0)", "expected (1, 0)");
      refuses(producer(arena, 1, 2, 64, 1), "code 2, 64 bits", "expected one of");
      refuses(producer(arena, 1, 2, 32, 4), "4 lanes", "expected one of");
      refuses(MemorySegment.NULL, "managed is", "expected a pointer");
      refuses(null, "managed is null", "expected a pointer");
      MemorySegment rank = producer(arena, 1, 2, 32, 1);
      rank.set(ValueLayout.JAVA_INT, 16, 9);
      refuses(rank, "managed has 9 dimensions", "at most 8");
      MemorySegment negative = producer(arena, 1, 2, 32, 1);
      negative.set(ValueLayout.ADDRESS, 32, arena.allocateFrom(ValueLayout.JAVA_LONG, -3, 1));
      refuses(negative, "strides [-3, 1]", "none below 0");
      MemorySegment odd = producer(arena, 1, 2, 32, 1);
      odd.set(ValueLayout.JAVA_LONG, 40, 2);
      refuses(odd, "data is at address", "multiple of 4");
      MemorySegment version = arena.allocate(80, 8);
      version.set(ValueLayout.JAVA_INT, 0, 2);
      assertThatIllegalArgumentException().isThrownBy(() -> Tensor.fromDLPackVersioned(device, version))
          .withMessageContainingAll("DLPack version 2.0", "expected 1.x");
      MemorySegment good = producer(arena, 1, 2, 32, 1);
      assertThatIllegalArgumentException().isThrownBy(() -> Tensor.fromDLPack(null, good))
          .withMessageContaining("device is null");
    }
  }

  private void refuses(MemorySegment managed, String... words) {
    assertThatIllegalArgumentException().isThrownBy(() -> Tensor.fromDLPack(device, managed))
        .withMessageContainingAll(words);
  }

  /** A DLManagedTensor of [2, 3] float32 from a producer that sets no strides and needs no deleter. */
  private static MemorySegment producer(Arena arena, int deviceType, int code, int bits, int lanes) {
    MemorySegment managed = arena.allocate(64, 8);
    managed.set(ValueLayout.ADDRESS, 0, arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2, 3, 4, 5, 6));
    managed.set(ValueLayout.JAVA_INT, 8, deviceType);
    managed.set(ValueLayout.JAVA_INT, 16, 2);
    managed.set(ValueLayout.JAVA_BYTE, 20, (byte) code);
    managed.set(ValueLayout.JAVA_BYTE, 21, (byte) bits);
    managed.set(ValueLayout.JAVA_SHORT, 22, (short) lanes);
    managed.set(ValueLayout.ADDRESS, 24, arena.allocateFrom(ValueLayout.JAVA_LONG, 2, 3));
    return managed;
  }

  /** A consumer and a producer in C, by the declarations of dlpack.h. */
  @Test
  void exchangesWithC(@TempDir Path directory) throws Exception {
    Path library = directory.resolve("libpeer.so");
    ChildJvm.compile(library, """
        #include <stdint.h>
        #include <stdlib.h>
        typedef struct { int32_t device_type, device_id; } DLDevice;
        typedef struct { uint8_t code, bits; uint16_t lanes; } DLDataType;
        typedef struct { void* data; DLDevice device; int32_t ndim; DLDataType dtype; int64_t *shape, *strides;
                         uint64_t byte_offset; } DLTensor;
        typedef struct DLManagedTensor { DLTensor t; void* manager_ctx; void (*deleter)(struct DLManagedTensor*); }
          DLManagedTensor;
        typedef struct Versioned { uint32_t major, minor; void* manager_ctx; void (*deleter)(struct Versioned*);
                                   uint64_t flags; DLTensor t; } Versioned;
        static double sum(const DLTensor* t) {
          double total = 0;
          if (t->ndim != 2 || t->dtype.code != 2 || t->dtype.bits != 32 || t->dtype.lanes != 1) return -1;
          for (int64_t i = 0; i < t->shape[0]; ++i)
            for (int64_t j = 0; j < t->shape[1]; ++j)
              total += ((float*)((char*)t->data + t->byte_offset))[i * t->strides[0] + j * t->strides[1]];
          return total;
        }
        double consume(DLManagedTensor* m) { double s = sum(&m->t); m->deleter(m); return s; }
        double consume_versioned(Versioned* m) {
          double s = m->major == 1 ? sum(&m->t) : -2; m->deleter(m); return s; }
        static int deleted;
        int deletions(void) { return deleted; }
        static void drop(DLManagedTensor* m) { ++deleted; free(m->t.data); free(m->t.shape); free(m); }
        DLManagedTensor* produce(void) {
          DLManagedTensor* m = calloc(1, sizeof *m);
          m->t = (DLTensor){malloc(24), {1, 0}, 1, {2, 32, 1}, malloc(8), 0, 4};
          for (int i = 0; i < 6; ++i) ((float*)m->t.data)[i] = i;
          m->t.shape[0] = 5;
          m->deleter = drop;
          return m;
        }
        """);
    var result = new ChildJvm().options("--enable-native-access=ALL-UNNAMED", "-Xcheck:jni")
        .classes(ChildJvm.testClasses()).runOnClassPath("dev.mhc.DLPackPeer", library.toString());
    assertThat(result.output()).contains("exchanged");
    assertThat(result.exitCode()).as(result.output()).isZero();
  }
}
