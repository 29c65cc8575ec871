// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;

/** Exchanges tensors with a library written in C; run by {@link DLPackTest} in a JVM that allows it. */
final class DLPackPeer {
  private static final FunctionDescriptor CONSUME = FunctionDescriptor.of(ValueLayout.JAVA_DOUBLE, ValueLayout.ADDRESS);

  private DLPackPeer() {}

  @SuppressWarnings("restricted")
  public static void main(String... arguments) throws Throwable {
    SymbolLookup peer = SymbolLookup.libraryLookup(Path.of(arguments[0]), Arena.global());
    Linker linker = Linker.nativeLinker();
    MethodHandle consume = linker.downcallHandle(peer.find("consume").orElseThrow(), CONSUME);
    MethodHandle consumeVersioned = linker.downcallHandle(peer.find("consume_versioned").orElseThrow(), CONSUME);
    MethodHandle produce = linker.downcallHandle(peer.find("produce").orElseThrow(), FunctionDescriptor.of(ValueLayout.ADDRESS));
    MethodHandle deletions = linker.downcallHandle(peer.find("deletions").orElseThrow(),
        FunctionDescriptor.of(ValueLayout.JAVA_INT));
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1))) {
      for (int i = 0; i < 1000; i++) {
        Tensor tensor = device.tensor(DType.FP32, 2, 3).copyFrom(1, 2, 3, 4, 5, i);
        MemorySegment managed = tensor.slice(1, 1, 3).toDLPack();
        MemorySegment versioned = tensor.toDLPackVersioned();
        tensor.close();
        expect(15 + i, (double) consumeVersioned.invokeExact(versioned));
        expect(10 + i, (double) consume.invokeExact(managed));
        expect(0, device.liveBytes());
        try (Tensor imported = Tensor.fromDLPack(device, (MemorySegment) produce.invokeExact())) {
          expect(1 + 2 + 3 + 4 + 5, java.util.Arrays.stream(imported.toDoubles()).sum());
          expect(i, (int) deletions.invokeExact());
        }
        expect(i + 1, (int) deletions.invokeExact());
      }
    }
    System.out.println("exchanged");
  }

  private static void expect(double expected, double given) {
    if (given != expected) {
      throw new AssertionError(given + "; expected " + expected);
    }
  }
}
