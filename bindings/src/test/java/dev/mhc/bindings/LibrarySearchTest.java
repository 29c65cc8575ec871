// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where libraries that are not ours are looked for, in which order, and what is said when they are nowhere. */
class LibrarySearchTest {
    private static final String NEW = "libmhcprobe.so.13";
    private static final String OLD = "libmhcprobe.so.12";

    @TempDir
    private Path directory;

    private final Map<String, String> properties = new HashMap<>();
    private final Map<String, String> environment = new HashMap<>();

    @Test
    void propertyBeforeVariableBeforeFolders() throws Exception {
        Path first = library("first", NEW);
        Path second = library("second", NEW);
        Path third = library("third/lib64", NEW);
        environment.put("PROBE_HOME", directory.resolve("third").toString());
        assertThat(search().path()).isEqualTo(third);
        environment.put("MHC_PROBE_PATH", directory.resolve("second").toString());
        assertThat(search().path()).isEqualTo(second);
        properties.put("mhc.probe.path", first.toString());
        VendorLibrary.Loaded loaded = search();
        assertThat(loaded.path()).isEqualTo(first);
        assertThat(loaded.source()).isEqualTo("system property mhc.probe.path");
    }

    @Test
    void theNewerVersionOfAFolderThenTheOlder() throws Exception {
        Path old = library("toolkit", OLD);
        environment.put("PROBE_HOME", directory.resolve("toolkit").toString());
        assertThat(search().path()).isEqualTo(old);
        Path newer = library("toolkit", NEW);
        assertThat(search().path()).isEqualTo(newer);
    }

    @Test
    void aFileThatDoesNotLoadIsPassedOver() throws Exception {
        Path old = library("toolkit", OLD);
        Path broken = Files.writeString(old.resolveSibling(NEW), "not a library, but long enough to be looked at as one: "
                + "it has more than a header's bytes");
        environment.put("PROBE_HOME", directory.resolve("toolkit").toString());
        VendorLibrary.Loaded loaded = search();
        assertThat(loaded.path()).isEqualTo(old);
        assertThat(loaded.attempts()).anySatisfy(attempt -> {
            assertThat(attempt.place()).isEqualTo(broken.toString());
            assertThat(attempt.outcome()).isEqualTo("invalid ELF header");
        });
    }

    @Test
    void anOrderIsAnOrder() throws Exception {
        library("third", NEW);
        environment.put("PROBE_HOME", directory.resolve("third").toString());
        Path nowhere = directory.resolve("nowhere");
        properties.put("mhc.probe.path", nowhere + ":" + Files.createDirectory(directory.resolve("empty")));
        LoadFailure failure = catchThrowableOfType(LoadFailure.class, this::search);
        assertThat(failure).hasMessageContainingAll("the native library the probe could not be loaded. Tried:",
                "system property mhc.probe.path: " + nowhere + ": no such file",
                directory.resolve("empty") + ": no " + NEW + " or " + OLD + " there, nor in its lib64");
        assertThat(failure.fix()).contains("correct system property mhc.probe.path");
    }

    @Test
    void nowhereNamesEveryPlaceAndTheFix() {
        LoadFailure failure = catchThrowableOfType(LoadFailure.class, this::search);
        assertThat(failure.getMessage().lines()).containsExactly(
                "the native library the probe could not be loaded. Tried:",
                "  system property mhc.probe.path: -: not set",
                "  environment variable MHC_PROBE_PATH: -: not set",
                "  folder: $PROBE_HOME: the variable is not set, or nothing matches",
                "  folder: " + directory + "/cuda-*: nothing matches",
                "  system loader: " + NEW + ": not found",
                "  system loader: " + OLD + ": not found");
        assertThat(failure.fix()).isEqualTo("install the probe");
    }

    @Test
    void theHighestOfSeveralFolders() throws Exception {
        library("cuda-12.9/lib64", OLD);
        Path newer = library("cuda-13.0/lib64", NEW);
        assertThat(search().path()).isEqualTo(newer);
    }

    @Test
    void theBundleIsUnpackedInOrder() throws Exception {
        assertThat(VendorLibrary.OPENBLAS.load().source()).isEqualTo("bundled");
    }

    @Test
    void cudaMajorOfAFile() {
        assertThat(VendorLibrary.major(Path.of("/x/libcudart.so.12"))).isEqualTo("12");
        assertThat(VendorLibrary.major(Path.of("/x/libcudart.so.13.0.96"))).isEqualTo("13");
        assertThat(VendorLibrary.major(Path.of("/x/libcudart.so"))).isEqualTo("13");
    }

    @Test
    void packagesOfEachCuda() {
        assertThat(VendorLibrary.CUDART.spec().fileNames()).containsExactly("libcudart.so.13", "libcudart.so.12");
        assertThat(VendorLibrary.CUDART.spec().fix()).startsWith("install it (pip install nvidia-cuda-runtime for CUDA 13,"
                + " pip install nvidia-cuda-runtime-cu12 for CUDA 12; or NVIDIA's packages)");
        assertThat(VendorLibrary.wheels("nvidia-cublas", List.of("13"))).isEqualTo("pip install nvidia-cublas");
        assertThat(VendorLibrary.wheels("nvidia-cublas", List.of("12"))).isEqualTo("pip install nvidia-cublas-cu12");
    }

    private VendorLibrary.Loaded search() {
        var spec = new LibrarySpec("the probe", List.of(NEW, OLD), "mhc.probe.path", "MHC_PROBE_PATH",
                List.of("$PROBE_HOME", directory + "/cuda-*"), List.of("lib64"), List.of(), "install the probe");
        return new LibrarySearch(spec, properties::get, environment::get).run();
    }

    private Path library(String folder, String name) throws IOException, InterruptedException {
        Path file = Files.createDirectories(directory.resolve(folder)).resolve(name);
        Path source = Files.writeString(directory.resolve("probe.c"), "int mhc_probe(void) { return 1; }");
        Process process = new ProcessBuilder("cc", "-shared", "-fPIC", "-z", "noexecstack", "-o", file.toString(), source.toString())
                .redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes());
        assertThat(process.waitFor()).as(output).isZero();
        return file;
    }
}
