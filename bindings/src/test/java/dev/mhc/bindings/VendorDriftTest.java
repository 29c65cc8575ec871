// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The committed bindings of other libraries are what the C compiler makes of their headers, where these are. */
class VendorDriftTest {

    @TempDir
    private Path work;

    @ParameterizedTest
    @EnumSource(names = "MHC", mode = EnumSource.Mode.EXCLUDE)
    void bindingsMatchTheHeader(Header header) throws Exception {
        List<Path> include = include(header);
        load(header);
        Generated generated = Generated.read(header);

        assertThat(new HeaderProbe(header, include, work).differences(generated)).isEmpty();
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

    private static void load(Header header) {
        if (header.ordinal() >= Header.CUDART.ordinal() && header.ordinal() <= Header.NCCL.ordinal()) {
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
        Path toolkit = Path.of(folder, "cu13", "include");
        Path own = header == Header.NCCL ? Path.of(folder, "nccl", "include") : toolkit;
        assertThat(own.resolve(header.include)).exists();
        return List.of(own, toolkit, toolkit.resolve("cccl"));
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
