// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.mhc.bindings.VendorLibrary;
import dev.mhc.bindings.generated.cublaslt.cublaslt_h;
import dev.mhc.bindings.generated.cudart.cudart_h;
import dev.mhc.bindings.generated.nccl.ncclUniqueId;
import dev.mhc.bindings.generated.nccl.nccl_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** NVIDIA's own libraries through the bindings, as far as they go without a GPU; and what is said where they are not. */
class NvidiaTest {
  @TempDir
  private Path directory;

  /** In a JVM of its own: nothing is loaded there yet. */
  static final class FirstDevice {
    public static void main(String... arguments) {
      try {
        Device.cuda(0).close();
      } catch (MhcException e) {
        System.out.println(e);
      }
      try (Device cpu = Device.cpu()) {
        System.out.println("the CPU works: " + cpu.type());
      }
    }
  }

  @Test
  void withoutTheRuntime() throws Exception {
    var result = child("-Dmhc.nvidia.path=/nowhere");
    assertThat(result.output()).contains(
        "NativeLibraryException: the native library the CUDA runtime could not be loaded. Tried:",
        "system property mhc.nvidia.path: /nowhere: no such file",
        "Hint: correct system property mhc.nvidia.path, or unset it", "the CPU works: CPU");
  }

  @Test
  void theDoctorNamesWhatIsMissing() throws Exception {
    for (String form : new String[] {"", "--json"}) {
      var result = new ChildJvm().options("--enable-native-access=ALL-UNNAMED", "-Dmhc.nvidia.path=/nowhere",
          "-Dmhc.openblas.path=/nowhere").runOnClassPath("dev.mhc.Doctor", form.isEmpty() ? new String[0] : new String[] {form});
      assertThat(result.output()).contains("CUDA runtime: not found; to have it, correct system property mhc.nvidia.path",
          "NCCL: not found", "OpenBLAS: not found; to have it, correct system property mhc.openblas.path",
          "none: the CUDA runtime is not there");
      assertThat(result.exitCode()).as("nothing is wrong with that").isZero();
    }
  }

  /** A runtime of CUDA 12 beside a cuBLASLt of 13, and an old driver: stand-ins, for what is not to be had here. */
  @Test
  void anOlderRuntimeAndDriver() throws Exception {
    ChildJvm.compile(directory.resolve("libcudart.so.12"), """
        int cudaRuntimeGetVersion(int* v) { *v = 12080; return 0; }
        int cudaDriverGetVersion(int* v) { *v = 11040; return 0; }
        int cudaGetDeviceCount(int* n) { return 35; }
        const char* cudaGetErrorName(int e) { return e == 35 ? "cudaErrorInsufficientDriver" : "?"; }
        const char* cudaGetErrorString(int e) { return "driver too old"; }
        """);
    ChildJvm.compile(directory.resolve("libcublasLt.so.13"), "int nothing;");
    var device = child("-Dmhc.nvidia.path=" + directory);
    assertThat(device.output()).contains(
        "CudaException: cudaErrorInsufficientDriver: cudaGetDeviceCount: driver too old",
        "Hint: the driver is for CUDA 11.4; install one for CUDA 12.8 or later, or an older CUDA runtime");
    var doctor = new ChildJvm().options("--enable-native-access=ALL-UNNAMED", "-Dmhc.nvidia.path=" + directory)
        .runOnClassPath("dev.mhc.Doctor");
    assertThat(doctor.output()).contains("CUDA runtime: " + directory.resolve("libcudart.so.12"),
        "cuBLASLt: not found"); // 13 is not for a runtime of 12
  }

  @Test
  void wrongIndex() {
    assertThatIllegalArgumentException().isThrownBy(() -> Device.cuda(-1)).withMessage("index is -1; expected at least 0");
  }

  private static ChildJvm.Result child(String... options) throws Exception {
    return new ChildJvm().options("--enable-native-access=ALL-UNNAMED").options(options).classes(ChildJvm.testClasses())
        .runOnClassPath("dev.mhc.NvidiaTest$FirstDevice");
  }

  /** Those that pip installed. */
  @Nested
  class Libraries {
    private static final String FOLDER = System.getenv("MHC_NVIDIA");

    @BeforeAll
    static void load() {
      Need.of("nvidia", FOLDER != null, "MHC_NVIDIA names no folder with NVIDIA's libraries; scripts/generate-bindings --help says"
          + " how to get them");
      System.setProperty(VendorLibrary.NVIDIA_PROPERTY, FOLDER);
      Native.load(VendorLibrary.CUBLASLT);
      Native.load(VendorLibrary.CUBLAS);
      Native.load(VendorLibrary.NCCL);
    }

    private static void withoutDriver() {
      assumeFalse(Files.exists(Path.of("/proc/driver/nvidia")), "there is an NVIDIA driver");
    }

    @Test
    void versions() {
      assertThat(Cuda.runtimeVersion()).isBetween(12000, 13999);
      assertThat(Cuda.version(Cuda.runtimeVersion())).matches("1[23]\\.\\d");
      assertThat(Cublas.version()).isGreaterThan(120000);
      assertThat(Cublas.version() / 10000).as("the major version of both").isEqualTo(Cuda.runtimeVersion() / 1000);
      assertThat(CublasHandle.version()).as("of one package").isEqualTo(Cublas.versionText());
      assertThat(Nccl.version()).isGreaterThan(22000);
    }

    @Test
    void cudaErrors() {
      CudaException e = Cuda.failure(cudart_h.cudaErrorMemoryAllocation(), "cudaMallocAsync", "cuda:1");
      assertThat(e).hasMessageStartingWith("cudaErrorMemoryAllocation: cudaMallocAsync: out of memory\nHint: the GPU's memory");
      assertThat(e.code()).isEqualTo(2);
      assertThat(e.status()).isEqualTo("cudaErrorMemoryAllocation");
      assertThat(e.function()).isEqualTo("cudaMallocAsync");
      assertThat(e.device()).isEqualTo("cuda:1");
      Cuda.check(cudart_h.cudaSuccess(), "cudaSetDevice", null);
    }

    /** The runtime's own names: the numbers are those that the hints are for. */
    @ParameterizedTest
    @CsvSource({"3, cudaErrorInitializationError, Device.cpu()", "34, cudaErrorStubLibrary, libcuda.so.1",
        "46, cudaErrorDevicesUnavailable, nvidia-smi", "100, cudaErrorNoDevice, CUDA_VISIBLE_DEVICES",
        "209, cudaErrorNoKernelImageForDevice, CMAKE_CUDA_ARCHITECTURES", "214, cudaErrorECCUncorrectable, nvidia-smi",
        "700, cudaErrorIllegalAddress, compute-sanitizer", "701, cudaErrorLaunchOutOfResources, bug of mhc",
        "702, cudaErrorLaunchTimeout, display", "802, cudaErrorSystemNotReady, fabric manager",
        "803, cudaErrorSystemDriverMismatch, restart", "900, cudaErrorStreamCaptureUnsupported, once before",
        "901, cudaErrorStreamCaptureInvalidated, once before", "904, cudaErrorStreamCaptureUnjoined, await",
        "905, cudaErrorStreamCaptureIsolation, recorded within"})
    void cudaHints(int code, String name, String hint) {
      CudaException e = Cuda.failure(code, "f", null);
      assertThat(e.status()).isEqualTo(name);
      assertThat(e.hint()).contains(hint);
      boolean stays = code == 214 || code == 700 || code == 702;
      assertThat(Cuda.isSticky(code)).as("%s leaves the context broken", name).isEqualTo(stays);
    }

    @Test
    void cublasErrors() {
      CublasException e = Cublas.failure(cublaslt_h.CUBLAS_STATUS_NOT_SUPPORTED(), "cublasLtMatmulAlgoGetHeuristic", null);
      assertThat(e).hasMessageStartingWith("CUBLAS_STATUS_NOT_SUPPORTED: cublasLtMatmulAlgoGetHeuristic: ")
          .hasMessageContaining("Hint: this GPU");
      assertThat(Cublas.failure(cublaslt_h.CUBLAS_STATUS_EXECUTION_FAILED(), "cublasLtMatmul", null).hint()).contains("synchronize()");
    }

    /**
     * A product is described without a GPU: every attribute that is set is known to this version, in that size. Modes of scales
     * came with 12.8; what an older version says of them is what has products with tiles dequantise.
     */
    @Test
    void descriptionsOfProducts() {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment product = made(arena, result -> cublaslt_h.cublasLtMatmulDescCreate(result, cublaslt_h.CUBLAS_COMPUTE_32F(),
            cublaslt_h.CUDA_R_32F()));
        MemorySegment value = arena.allocate(ValueLayout.JAVA_LONG);
        for (int attribute : new int[] {cublaslt_h.CUBLASLT_MATMUL_DESC_TRANSA(), cublaslt_h.CUBLASLT_MATMUL_DESC_TRANSB(),
            cublaslt_h.CUBLASLT_MATMUL_DESC_EPILOGUE(), cublaslt_h.CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE()}) {
          assertThat(cublaslt_h.cublasLtMatmulDescSetAttribute(product, attribute, value, 4)).as("%d", attribute).isZero();
        }
        for (int attribute : new int[] {cublaslt_h.CUBLASLT_MATMUL_DESC_BIAS_POINTER(),
            cublaslt_h.CUBLASLT_MATMUL_DESC_A_SCALE_POINTER(), cublaslt_h.CUBLASLT_MATMUL_DESC_B_SCALE_POINTER()}) {
          assertThat(cublaslt_h.cublasLtMatmulDescSetAttribute(product, attribute, value, 8)).as("%d", attribute).isZero();
        }
        value.set(ValueLayout.JAVA_INT, 0, cublaslt_h.CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F());
        for (int attribute : new int[] {cublaslt_h.CUBLASLT_MATMUL_DESC_A_SCALE_MODE(),
            cublaslt_h.CUBLASLT_MATMUL_DESC_B_SCALE_MODE()}) {
          int code = cublaslt_h.cublasLtMatmulDescSetAttribute(product, attribute, value, 4);
          assertThat(code == 0).as("%d: %d", attribute, code).isEqualTo(Cublas.version() >= 120800);
          assertThat(code == 0 || Cublas.isUnsupported(Cublas.failure(code, "f", null))).isTrue();
        }
        assertThat(cublaslt_h.cublasLtMatmulDescDestroy(product)).isZero();
      }
    }

    /** What algorithms are asked for: known to this version, in that size. */
    @Test
    void preferences() {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment preference = made(arena, cublaslt_h::cublasLtMatmulPreferenceCreate);
        MemorySegment value = arena.allocateFrom(ValueLayout.JAVA_LONG, cublaslt_h.CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE());
        assertThat(cublaslt_h.cublasLtMatmulPreferenceSetAttribute(preference,
            cublaslt_h.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES(), value, 8)).isZero();
        for (int attribute : new int[] {cublaslt_h.CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK(),
            cublaslt_h.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES(), cublaslt_h.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES(),
            cublaslt_h.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES(), cublaslt_h.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES()}) {
          assertThat(cublaslt_h.cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, 4)).as("%d", attribute).isZero();
        }
        assertThat(cublaslt_h.cublasLtMatmulPreferenceDestroy(preference)).isZero();
      }
    }

    /** Of every type that products have. */
    @Test
    void layoutsOfMatrices() {
      for (DType type : new DType[] {DType.FP32, DType.BF16, DType.FP16, DType.FP8_E4M3}) {
        try (Arena arena = Arena.ofConfined()) {
          MemorySegment layout = made(arena,
              result -> cublaslt_h.cublasLtMatrixLayoutCreate(result, CublasLt.type(type), 16, 32, 48));
          MemorySegment value = arena.allocateFrom(ValueLayout.JAVA_LONG, 3);
          assertThat(cublaslt_h.cublasLtMatrixLayoutSetAttribute(layout, cublaslt_h.CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT(), value,
              4)).isZero();
          assertThat(cublaslt_h.cublasLtMatrixLayoutSetAttribute(layout, cublaslt_h.CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET(),
              value, 8)).isZero();
          assertThat(cublaslt_h.cublasLtMatrixLayoutDestroy(layout)).isZero();
        }
      }
    }

    private static MemorySegment made(Arena arena, Cuda.Getter getter) {
      MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
      Cublas.check(getter.call(result), "creation", null);
      return result.get(ValueLayout.ADDRESS, 0);
    }

    @Test
    void ncclErrors() {
      NcclException e = Nccl.failure(nccl_h.ncclInvalidArgument(), "ncclAllReduce", null);
      assertThat(e).hasMessageStartingWith("ncclInvalidArgument: ncclAllReduce: invalid argument");
      for (int code : new int[] {1, 2, 3, 4, 5, 6, 7, 8}) {
        assertThat(Nccl.failure(code, "f", null).status()).as("a name for %d", code).doesNotContain(" ");
      }
    }

    @Test
    void callsThatNeedADriver() {
      withoutDriver();
      assertThat(Cuda.driverVersion()).isZero();
      var none = catchThrowableOfType(CudaException.class, () -> Device.cuda(0));
      assertThat(none.status()).isIn("cudaErrorInsufficientDriver", "cudaErrorNoDevice");
      assertThat(none.function()).isEqualTo("cudaGetDeviceCount");
      assertThat(none.hint()).contains("Device.cpu()");
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment handle = arena.allocate(ValueLayout.ADDRESS);
        assertThat(catchThrowableOfType(CublasException.class,
            () -> Cublas.check(cublaslt_h.cublasLtCreate(handle), "cublasLtCreate", null)).status())
            .isEqualTo("CUBLAS_STATUS_NOT_INITIALIZED");
        var cublas = catchThrowableOfType(CublasException.class, () -> new CublasHandle("cuda:0"));
        assertThat(cublas.status()).isEqualTo("CUBLAS_STATUS_NOT_INITIALIZED");
        assertThat(cublas.function()).isEqualTo("cublasCreate");
        assertThat(cublas.device()).isEqualTo("cuda:0");
        assertThat(cublas.hint()).contains("Device.cuda(0)");
        MemorySegment id = ncclUniqueId.allocate(arena);
        var alone = catchThrowableOfType(NcclException.class,
            () -> Nccl.check(nccl_h.ncclCommInitRank(handle, 1, id, 0), "ncclCommInitRank", null));
        assertThat(alone.code()).isIn(nccl_h.ncclUnhandledCudaError(), nccl_h.ncclSystemError(), nccl_h.ncclInvalidArgument(),
            nccl_h.ncclInternalError());
      }
    }

    @Test
    void fromTheEnvironment() throws Exception {
      withoutDriver();
      var result = new ChildJvm().options("--enable-native-access=ALL-UNNAMED").environment("MHC_NVIDIA_PATH", FOLDER)
          .classes(ChildJvm.testClasses()).runOnClassPath("dev.mhc.NvidiaTest$FirstDevice");
      assertThat(result.output()).contains("CudaException: cudaError", "Hint: ", "Device.cpu()", "the CPU works: CPU");
    }
  }
}
