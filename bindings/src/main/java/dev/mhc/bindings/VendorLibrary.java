// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Libraries that are not ours, found on the machine when they are first used. Their generated bindings resolve each
 * function at its first call, so a program that uses none of them pays for none.
 *
 * <p>Where they are looked for is in {@link LibrarySearch}. NVIDIA's are taken in the versions of CUDA 13 or 12, all of
 * the same one.
 */
public enum VendorLibrary {
  /** The CUDA runtime. */
  CUDART("libcudart.so", null),
  /** cuBLASLt. */
  CUBLASLT("libcublasLt.so", CUDART),
  /** cuBLAS. */
  CUBLAS("libcublas.so", CUBLASLT),
  /** NCCL. */
  NCCL("libnccl.so", CUDART),
  /** Open MPI. */
  MPI("libmpi.so", null),
  /** OpenBLAS. */
  OPENBLAS("libopenblas.so", null);

  /** System property: folders that hold NVIDIA's libraries, or the files. */
  public static final String NVIDIA_PROPERTY = "mhc.nvidia.path";

  /** Environment variable that means the same as {@link #NVIDIA_PROPERTY}. */
  public static final String NVIDIA_VARIABLE = "MHC_NVIDIA_PATH";

  /**
   * A library that is loaded.
   *
   * @param path the file
   * @param source which of the places had it
   * @param attempts every place looked at on the way, this one last
   */
  public record Loaded(Path path, String source, List<NativeLibrary.Attempt> attempts) {}

  private static final List<String> CUDA_MAJORS = List.of("13", "12"); // preferred first
  private static final Pattern MAJOR = Pattern.compile("\\.so\\.(\\d+)");

  private final String stem;
  private final VendorLibrary needed;
  private volatile Loaded loaded;

  VendorLibrary(String stem, VendorLibrary needed) {
    this.stem = stem;
    this.needed = needed;
  }

  /**
   * Loads the library, and what it needs before it, unless that was done. After a failure the next call tries again.
   *
   * @throws LoadFailure if no place has a library that can be loaded
   */
  public synchronized Loaded load() {
    if (loaded == null) {
      if (needed != null) {
        needed.load();
      }
      loaded = new LibrarySearch(spec(), System::getProperty, System::getenv).run();
    }
    return loaded;
  }

  /** Whether {@link #load} has loaded it. */
  public boolean isLoaded() {
    return loaded != null;
  }

  /** The address of a variable of a library that is loaded. */
  public static MemorySegment symbol(String name) {
    return SymbolLookup.loaderLookup().find(name)
        .orElseThrow(() -> new UnsatisfiedLinkError("unresolved symbol: " + name));
  }

  /** Its usual name. */
  @Override
  public String toString() {
    return switch (this) {
      case CUDART -> "CUDA runtime";
      case CUBLASLT -> "cuBLASLt";
      case CUBLAS -> "cuBLAS";
      case NCCL -> "NCCL";
      case MPI -> "Open MPI";
      case OPENBLAS -> "OpenBLAS";
    };
  }

  /** What {@link #load} looks for. */
  LibrarySpec spec() {
    return switch (this) {
      case CUDART -> nvidia("the CUDA runtime", CUDA_MAJORS, wheels("nvidia-cuda-runtime", CUDA_MAJORS));
      case CUBLASLT -> nvidia("cuBLASLt", List.of(cudaMajor()), wheels("nvidia-cublas", List.of(cudaMajor())));
      case CUBLAS -> nvidia("cuBLAS", List.of(cudaMajor()), wheels("nvidia-cublas", List.of(cudaMajor())));
      case NCCL -> nvidia("NCCL", List.of("2"), "pip install nvidia-nccl-cu" + cudaMajor());
      case MPI -> new LibrarySpec("Open MPI", List.of(stem + ".40"), "mhc.mpi.path", "MHC_MPI_PATH",
          List.of("$MPI_HOME", "$OPAL_PREFIX"), List.of("lib", "lib64"), List.of(),
          "install Open MPI 4 or 5 (Debian and Ubuntu: apt-get install openmpi-bin; Fedora: dnf install openmpi), or name"
              + " its lib folder with -Dmhc.mpi.path");
      case OPENBLAS -> new LibrarySpec("OpenBLAS", List.of(stem + ".0"), "mhc.openblas.path", "MHC_OPENBLAS_PATH",
          List.of(), List.of("lib", "lib64"), bundle("libquadmath.so.0", "libgfortran.so.5", stem + ".0"),
          "add the dependency org.bytedeco:openblas with the classifier " + bytedecoPlatform() + ", or install OpenBLAS"
              + " (Debian and Ubuntu: apt-get install libopenblas0-pthread), or name it with -Dmhc.openblas.path");
    };
  }

  /** What pip installs for each version of CUDA; 12's packages have the number in their names. */
  static String wheels(String name, List<String> majors) {
    return majors.stream().map(major -> "pip install " + name + (major.equals("12") ? "-cu12" : "")
        + (majors.size() > 1 ? " for CUDA " + major : "")).collect(Collectors.joining(", "));
  }

  private LibrarySpec nvidia(String name, List<String> versions, String wheel) {
    List<String> wheels = List.of("nvidia/cu13", "nvidia/cuda_runtime", "nvidia/cublas", "nvidia/nccl");
    var folders = new java.util.ArrayList<>(List.of("$CUDA_HOME", "$CUDA_PATH", "/usr/local/cuda", "/usr/local/cuda-*",
        "/opt/cuda"));
    for (String packages : List.of("$VIRTUAL_ENV/lib/python3*/site-packages", "$CONDA_PREFIX/lib/python3*/site-packages",
        "$HOME/.local/lib/python3*/site-packages", "/usr/local/lib/python3*/dist-packages",
        "/usr/lib/python3/dist-packages")) {
      wheels.forEach(each -> folders.add(packages + "/" + each));
    }
    return new LibrarySpec(name, versions.stream().map(version -> stem + "." + version).toList(), NVIDIA_PROPERTY,
        NVIDIA_VARIABLE, folders, List.of("lib64", "lib", "targets/" + toolkitTarget() + "/lib", "cu13/lib",
            "cuda_runtime/lib", "cublas/lib", "nccl/lib"), List.of(),
        "install it (" + wheel + "; or NVIDIA's packages), and name the folder that holds it with -D"
            + NVIDIA_PROPERTY + " or " + NVIDIA_VARIABLE);
  }

  /** NVIDIA's libraries share handles, so all are of the version of the runtime. */
  private static String cudaMajor() {
    return major(CUDART.load().path());
  }

  /** 13 of libcudart.so.13 and of libcudart.so.13.0.96; 13 where the name has no number. */
  static String major(Path file) {
    Matcher version = MAJOR.matcher(file.getFileName().toString());
    return version.find() ? version.group(1) : CUDA_MAJORS.get(0);
  }

  private static List<String> bundle(String... names) {
    return java.util.Arrays.stream(names).map(name -> "org/bytedeco/openblas/" + bytedecoPlatform() + "/" + name).toList();
  }

  private static String bytedecoPlatform() {
    return NativeLibrary.platform().replace("aarch64", "arm64");
  }

  private static String toolkitTarget() {
    return NativeLibrary.platform().endsWith("aarch64") ? "sbsa-linux" : "x86_64-linux";
  }
}
