// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.cublas.cublas_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Products of matrices that lie anywhere, in one call of cuBLAS, which reads the matrices' addresses from device memory. As
 * for cuBLASLt, all is column-major, B first. Guarded by the device's lock.
 */
final class CudaBatch {
  private static final long MOST = 65535; // products in a call: what a grid's last dimension holds
  private static final int ALIGNMENT = 16; // of a matrix's address: others may be misaligned for the kernel that is chosen
  private static final long WORKSPACE = 4L << 20;
  private static final long WORKSPACE_OF_HOPPER = 32L << 20; // as NVIDIA recommends both

  private final CudaDevice device;
  private final GemmConfig config;
  private final int compute;
  private final Turns turns = new Turns();
  private final MemorySegment factors = Arena.ofAuto().allocate(ValueLayout.JAVA_FLOAT, 2);
  private @Nullable Storage workspace;
  private @Nullable Storage places; // the addresses of all B, of all A, of all D
  private long[] uploaded = {}; // what is in there
  private boolean captured; // a graph reads them, so that they stay as they are

  CudaBatch(CudaDevice device, GemmConfig config, int compute) {
    this.device = device;
    this.config = config;
    this.compute = compute;
  }

  /** Puts the products on the current stream. False, and nothing is done, where cuBLAS cannot, or is missing. */
  boolean run(List<Tensor> a, List<Tensor> b, List<Tensor> d) {
    LtMatrix aMatrix = LtMatrix.of(a.get(0));
    LtMatrix bMatrix = LtMatrix.of(b.get(0));
    LtMatrix dMatrix = LtMatrix.of(d.get(0));
    long count = a.size() * Math.max(1, config.batch());
    if (count > MOST) {
      return false;
    }
    long[] addresses = new long[3 * (int) count];
    if (!put(b, bMatrix, addresses, 0) || !put(a, aMatrix, addresses, 1) || !put(d, dMatrix, addresses, 2)) {
      return false;
    }
    boolean same = Arrays.equals(addresses, uploaded);
    if (!same && device.isCapturing() && !device.lacksCublas()) {
      throw new IllegalStateException("the lists are not those of the last run, and a graph is captured; expected that they are"
          + " run once before");
    }
    return device.call(() -> {
      CublasHandle cublas = device.cublasHandle();
      if (cublas == null) {
        return false;
      }
      Storage room = workspace();
      if (!same) {
        makePlace(addresses.length * (long) Long.BYTES);
      }
      CudaStream stream = device.currentStream();
      turns.take(stream);
      if (!same) {
        upload(addresses);
      }
      captured |= device.isCapturing();
      cublas.use(stream.handle(), room.data);
      multiply(cublas, aMatrix, bMatrix, dMatrix, addresses.length / 3);
      return true;
    });
  }

  /** The addresses of one operand. False if cuBLAS does not take them: rows are as far apart in all matrices of a call. */
  private boolean put(List<Tensor> tensors, LtMatrix first, long[] addresses, int operand) {
    int at = operand * (addresses.length / 3);
    for (Tensor tensor : tensors) {
      LtMatrix matrix = LtMatrix.of(tensor);
      if (matrix.stride() != first.stride()) {
        return false;
      }
      for (long i = 0; i < matrix.batch(); i++) {
        long address = tensor.memory().address() + i * matrix.batchStride() * matrix.type().bytes();
        if (address % ALIGNMENT != 0) {
          return false;
        }
        addresses[at++] = address;
      }
    }
    return true;
  }

  private Storage workspace() {
    Storage made = workspace;
    if (made == null) {
      made = Storage.allocate(device, device.computeCapability() >= 90 ? WORKSPACE_OF_HOPPER : WORKSPACE);
      workspace = made;
    }
    return made;
  }

  /** Room for other addresses. What a graph reads is let go, which leaves it to the graph. */
  private void makePlace(long bytes) {
    Storage before = places;
    if (before != null && !captured && before.data.byteSize() >= bytes) {
      return;
    }
    uploaded = new long[0];
    places = Storage.allocate(device, bytes);
    captured = false;
    if (before != null) {
      before.close();
    }
  }

  /** Memory of the host that is not page-locked is copied away before the call returns. */
  private void upload(long[] addresses) {
    uploaded = new long[0]; // until it is there
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment from = arena.allocateFrom(ValueLayout.JAVA_LONG, addresses);
      device.copy(from, places.data.asSlice(0, from.byteSize()));
    }
    uploaded = addresses;
  }

  private void multiply(CublasHandle cublas, LtMatrix a, LtMatrix b, LtMatrix d, int count) {
    factors.setAtIndex(ValueLayout.JAVA_FLOAT, 0, config.alpha());
    factors.setAtIndex(ValueLayout.JAVA_FLOAT, 1, config.beta());
    MemorySegment list = places.data;
    long bytes = count * (long) Long.BYTES;
    Cublas.check(cublas_h.cublasGemmBatchedEx_64(cublas.handle, LtPlan.operation(config.transposeB()),
        LtPlan.operation(config.transposeA()), config.n(), config.m(), config.k(), factors, list, CublasLt.type(b.type()),
        b.stride(), list.asSlice(bytes), CublasLt.type(a.type()), a.stride(), factors.asSlice(Float.BYTES),
        list.asSlice(2 * bytes), CublasLt.type(d.type()), d.stride(), count, compute, cublas_h.CUBLAS_GEMM_DEFAULT()),
        "cublasGemmBatchedEx", cublas.device);
  }

  void close() {
    uploaded = new long[0];
    for (Storage each : new Storage[] {workspace, places}) {
      if (each != null) {
        each.close();
      }
    }
  }
}
