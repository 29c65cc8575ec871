// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The committed bindings of other libraries are what the C compiler makes of their headers, where these are. */
class VendorDriftTest {

    /** What headers of CUDA 12 may not have yet, which is compared where they do; and why that does no harm. */
    private static final Map<String, String> LATER = Map.of(
            "cudaMemPoolProps.usage", "not in 12.4; there, two of the reserved bytes, which are 0, as it is",
            "CUBLASLT_MATMUL_DESC_A_SCALE_MODE", "12.8; set by products with tiles alone, which dequantise if that is refused",
            "CUBLASLT_MATMUL_DESC_B_SCALE_MODE", "likewise",
            "CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F", "12.8; never passed on",
            "CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F", "12.9; as the attribute that it is a value of",
            "CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F", "likewise",
            "ncclFloat8e4m3", "2.24; not passed to an older NCCL",
            "ncclTimeout", "a result that an older NCCL does not give");

    @TempDir
    private Path work;

    @ParameterizedTest
    @EnumSource(names = "MHC", mode = EnumSource.Mode.EXCLUDE)
    void bindingsMatchTheHeader(Header header) throws Exception {
        List<Path> include = include(header);
        load(header);
        Generated generated = Generated.read(header);

        var probe = new HeaderProbe(header, include, work);
        Set<String> later = probe.unknown(LATER.keySet().stream().filter(generated::has).toList());
        if (isCuda12(header)) {
            generated = generated.without(later);
        } else {
            assertThat(later).as("what a header of today lacks").isEmpty();
        }
        assertThat(probe.differences(generated)).isEmpty();
        assertThat(generated.unresolved()).as("functions that the library does not export").isEmpty();
        assertThat(generated.functions()).as("functions compared").isNotEmpty();
    }

    @Test
    void aChangeIsNamed() throws Exception {
        Path original = include(Header.OPENBLAS).get(0).resolve("cblas.h");
        String text = Files.readString(original);
        String before = "void openblas_set_num_threads(int num_threads)";
        assertThat(text).contains(before);
        Files.writeString(original, text.replace(before, "void openblas_set_num_threads(long num_threads)")
                .replace("CblasTrans=112", "CblasTrans=111"));
        VendorLibrary.OPENBLAS.load();

        assertThat(new HeaderProbe(Header.OPENBLAS, List.of(work), work).differences(Generated.read(Header.OPENBLAS)))
                .containsExactlyInAnyOrder(
                        "CblasTrans: the header has 111, the bindings 112",
                        "openblas_set_num_threads: the header has void(i64), the bindings void(i32)");
    }

    /** NVIDIA's packages for CUDA 12 have a folder for each library, those for 13 one for most. */
    private static boolean isCuda12(Header header) {
        return isOfNvidia(header) && !Files.exists(Path.of(System.getenv("MHC_NVIDIA"), "cu13"));
    }

    private static boolean isOfNvidia(Header header) {
        return header == Header.CUDART || header == Header.CUBLASLT || header == Header.CUBLAS
                || header == Header.NCCL;
    }

    private static void load(Header header) {
        if (isOfNvidia(header)) {
            System.setProperty(VendorLibrary.NVIDIA_PROPERTY, System.getenv("MHC_NVIDIA"));
        }
        VendorLibrary.valueOf(header.name()).load();
    }

    private List<Path> include(Header header) throws IOException, InterruptedException {
        return switch (header) {
            case MPI -> List.of(mpi());
            case OPENBLAS -> List.of(openblas());
            default -> nvidia(header);
        };
    }

    private static List<Path> nvidia(Header header) {
        String folder = System.getenv("MHC_NVIDIA");
        Need.of("nvidia", folder != null, "MHC_NVIDIA names no folder with NVIDIA's headers; scripts/generate-bindings --help"
                + " says how to get them");
        List<Path> places = Stream.of("nccl", "cu13", "cu13/include/cccl", "cublas", "cuda_runtime", "cuda_nvcc", "cuda_cccl")
                .map(each -> Path.of(folder, each.contains("/") ? each : each + "/include")).filter(Files::isDirectory).toList();
        List<Path> own = places.stream().filter(each -> Files.exists(each.resolve(header.include))).toList();
        assertThat(own).as("folders below %s with %s", folder, header.include).isNotEmpty();
        return Stream.concat(own.stream(), places.stream()).distinct().toList();
    }

    private static Path mpi() throws InterruptedException {
        try {
            Process process = new ProcessBuilder("mpicc", "--showme:incdirs").start();
            String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            Need.of("mpi", process.waitFor() == 0, "mpicc is not Open MPI's");
            return Path.of(said.split(" ")[0]);
        } catch (IOException e) {
            Need.of("mpi", false, "there is no mpicc; install libopenmpi-dev to compare the bindings with mpi.h");
            throw new AssertionError(e);
        }
    }

    /** The headers are in the jar with the library. */
    private Path openblas() throws IOException {
        for (String name : List.of("cblas.h", "openblas_config.h")) {
            String platform = NativeLibrary.platform().replace("aarch64", "arm64");
            try (var stream = ClassLoader.getSystemResourceAsStream("org/bytedeco/openblas/" + platform + "/include/" + name)) {
                assertThat(stream).as(name).isNotNull();
                Files.write(work.resolve(name), stream.readAllBytes());
            }
        }
        return work;
    }
}
