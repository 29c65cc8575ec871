// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Other libraries' symbols are bound because something calls them: what nothing uses leaves the list. */
class SymbolsTest {
    private static final List<Path> SOURCES = List.of(Path.of("src/main/java"), Path.of("../api/src/main/java"));

    @ParameterizedTest
    @EnumSource(names = {"CUDART", "CUBLASLT", "CUBLAS", "NCCL", "MPI", "OPENBLAS"})
    void everyListedSymbolIsUsed(Header header) throws IOException {
        List<String> listed = Files.readAllLines(Path.of("includes", header.name().toLowerCase(Locale.ROOT) + ".txt")).stream()
                .filter(line -> line.startsWith("--")).map(line -> line.split(" ")[1]).toList();
        assertThat(listed).isNotEmpty();
        Set<String> words = new TreeSet<>();
        for (Path folder : SOURCES) {
            words.addAll(words(folder, ""));
        }
        words.addAll(words(header.folder(), "_h.java")); // structs within structs

        assertThat(listed).as("symbols of includes/%s.txt that nothing uses", header).allMatch(words::contains);
    }

    /** Of the Java files below a folder, but for those whose name ends so. */
    private static Set<String> words(Path folder, String except) throws IOException {
        try (var files = Files.walk(folder)) {
            var words = new TreeSet<String>();
            for (Path file : files.filter(each -> each.toString().endsWith(".java")).toList()) {
                String name = file.getFileName().toString();
                if (except.isEmpty() || !name.endsWith(except)) {
                    String own = except.isEmpty() ? "" : name.replace(".java", "");
                    words.addAll(Arrays.stream(Files.readString(file).split("\\W+")).filter(word -> !word.equals(own))
                            .collect(Collectors.toSet()));
                }
            }
            return words;
        }
    }
}
