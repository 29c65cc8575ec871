// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.NativeMemory;
import dev.mhc.bindings.generated.mhc_device;
import dev.mhc.bindings.generated.mhc_dtype;
import dev.mhc.bindings.generated.mhc_tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.concurrent.ConcurrentHashMap;

/** Tensors from and to other libraries, by the structs of dlpack.h. {@code mhc_tensor} is their {@code DLTensor}. */
final class DLPack {
  /** Where the fields of a managed tensor are. */
  record Form(long tensor, long deleter, long flags, long bytes) {
    boolean isVersioned() {
      return flags >= 0;
    }
  }

  private static final long TENSOR_BYTES = mhc_tensor.layout().byteSize();

  /** DLManagedTensor: the tensor, the producer's context, the deleter. */
  static final Form UNVERSIONED = new Form(0, TENSOR_BYTES + 8, -1, TENSOR_BYTES + 16);

  /** DLManagedTensorVersioned: two 32-bit version numbers, the producer's context, the deleter, flags, the tensor. */
  static final Form VERSIONED = new Form(32, 16, 24, 32 + TENSOR_BYTES);

  private static final int MAJOR = 1;
  private static final long READ_ONLY = 1;
  private static final int CUDA_HOST = 3; // page-locked, and the host's all the same

  /** What is exported and not yet given back, by the address of its struct. */
  private static final ConcurrentHashMap<Long, Export> EXPORTS = new ConcurrentHashMap<>();

  private record Export(Storage storage, MemorySegment struct) {}

  private DLPack() {}

  static Tensor importTensor(Device device, MemorySegment managed, Form form) {
    Check.given("device", device, "a Device");
    long address = Check.given("managed", managed, "a pointer to a managed tensor").address();
    if (address == 0 || !managed.isNative()) {
      throw new IllegalArgumentException("managed is " + managed + "; expected a pointer to a managed tensor");
    }
    MemorySegment struct = NativeMemory.at(address, form.bytes);
    boolean readOnly = false;
    if (form.isVersioned()) {
      int major = struct.get(ValueLayout.JAVA_INT, 0);
      if (major != MAJOR) {
        throw new IllegalArgumentException("managed has DLPack version " + major + "." + struct.get(ValueLayout.JAVA_INT, 4)
            + "; expected " + MAJOR + ".x");
      }
      readOnly = (struct.get(ValueLayout.JAVA_LONG, form.flags) & READ_ONLY) != 0;
    }
    MemorySegment tensor = struct.asSlice(form.tensor, TENSOR_BYTES);
    checkDevice(device, mhc_tensor.device(tensor));
    DType type = type(mhc_tensor.dtype(tensor));
    int rank = mhc_tensor.ndim(tensor);
    if (rank < 0 || rank > Tensor.MAX_RANK) {
      throw new IllegalArgumentException("managed has " + rank + " dimensions; expected at most " + Tensor.MAX_RANK);
    }
    long[] shape = longs(mhc_tensor.shape(tensor), rank);
    MemorySegment stridesGiven = mhc_tensor.strides(tensor);
    long[] strides = stridesGiven.address() == 0 ? Tensor.compactStrides(shape) : longs(stridesGiven, rank);
    for (int i = 0; i < rank; i++) {
      if (shape[i] < 0 || (strides[i] < 0 && shape[i] > 1)) {
        throw new IllegalArgumentException("managed has shape " + Arrays.toString(shape) + " and strides "
            + Arrays.toString(strides) + "; expected none below 0");
      }
    }
    MemorySegment data = NativeMemory.at(
        mhc_tensor.data(tensor).address() + mhc_tensor.byte_offset(tensor), Tensor.span(type, shape, strides));
    MemorySegment deleter = struct.get(ValueLayout.ADDRESS, form.deleter);
    return Tensor.imported(device, type, readOnly ? data.asReadOnly() : data, shape, strides, () -> {
      if (deleter.address() != 0) {
        NativeMemory.call(deleter, struct);
      }
    });
  }

  static MemorySegment exportTensor(Tensor source, Form form) {
    MemorySegment data = source.segment();
    if (!source.isWritable() && !form.isVersioned()) {
      throw new IllegalArgumentException("tensor " + source + " is read-only; expected one that can be written:"
          + " DLManagedTensor cannot say so, toDLPackVersioned can");
    }
    int rank = source.rank();
    MemorySegment struct = Arena.ofAuto().allocate(form.bytes + 16L * rank, 16);
    if (form.isVersioned()) {
      struct.set(ValueLayout.JAVA_INT, 0, MAJOR);
      struct.set(ValueLayout.JAVA_INT, 4, 0);
      struct.set(ValueLayout.JAVA_LONG, form.flags, source.isWritable() ? 0 : READ_ONLY);
    }
    struct.set(ValueLayout.ADDRESS, form.deleter, Deleter.FUNCTION);
    MemorySegment tensor = struct.asSlice(form.tensor, TENSOR_BYTES);
    tensor.copyFrom(source.descriptor().asSlice(0, TENSOR_BYTES));
    mhc_tensor.data(tensor, MemorySegment.ofAddress(data.address()));
    // Shape and strides are the export's own: the tensor may be gone before it.
    MemorySegment dims = struct.asSlice(form.bytes, 16L * rank);
    dims.copyFrom(source.descriptor().asSlice(TENSOR_BYTES, 16L * rank));
    mhc_tensor.shape(tensor, dims);
    mhc_tensor.strides(tensor, dims.asSlice(8L * rank));
    Storage storage = source.storage();
    storage.export();
    EXPORTS.put(struct.address(), new Export(storage, struct));
    return struct;
  }

  /** The deleter of every export: gives back the one whose struct it is called with; a second time it does nothing. */
  private static void delete(long address) {
    Export export = EXPORTS.remove(address);
    if (export != null) {
      export.storage.exportDone();
    }
  }

  private static void checkDevice(Device device, MemorySegment given) {
    int type = mhc_device.device_type(given);
    int index = mhc_device.device_id(given);
    boolean here = type == device.type().code && index == device.index();
    if (!here && !(device.type() == DeviceType.CPU && type == CUDA_HOST)) {
      throw new IllegalArgumentException("managed is on DLPack device (" + type + ", " + index + "); expected ("
          + device.type().code + ", " + device.index() + "), which is " + device);
    }
  }

  private static DType type(MemorySegment given) {
    int code = mhc_dtype.code(given) & 0xff;
    int bits = mhc_dtype.bits(given) & 0xff;
    int lanes = mhc_dtype.lanes(given) & 0xffff;
    for (DType type : DType.values()) {
      if (type.code == code && type.bits == bits && lanes == 1) {
        return type;
      }
    }
    throw new IllegalArgumentException("managed has DLPack type (code " + code + ", " + bits + " bits, " + lanes
        + " lanes); expected one of " + Arrays.toString(DType.values()));
  }

  private static long[] longs(MemorySegment pointer, int count) {
    return NativeMemory.at(pointer.address(), 8L * count).toArray(ValueLayout.JAVA_LONG);
  }

  /** Made when something is exported for the first time. */
  private static final class Deleter {
    static final MemorySegment FUNCTION = NativeMemory.function(DLPack::delete);
  }
}
