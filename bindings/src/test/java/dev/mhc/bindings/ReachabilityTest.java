// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/**
 * GraalVM's native-image is told of every kind of native call that is made, by a file made from the descriptors
 * themselves. With {@code -Dmhc.write.metadata=true} this test writes the file.
 */
class ReachabilityTest {
    private static final Path FILE = Path.of(
            "src/main/resources/META-INF/native-image/dev.mhc/mhc-bindings/reachability-metadata.json");

    @Test
    void metadataIsThatOfTheDescriptors() throws IOException {
        System.load(System.getProperty("mhc.test.library"));
        var generated = Generated.read(Path.of("src/generated/java/dev/mhc/bindings/generated"));
        Set<String> downcalls = new TreeSet<>();
        generated.functions().values().forEach(function -> downcalls.add(entry(function)));
        downcalls.add(entry(FunctionDescriptor.of(ValueLayout.JAVA_INT))); // Handshake
        downcalls.add(entry(FunctionDescriptor.of(ValueLayout.ADDRESS)));
        downcalls.add(entry(NativeMemory.POINTER_CALL));
        String expected = """
                {
                  "foreign": {
                    "downcalls": [
                %s
                    ],
                    "upcalls": [
                %s
                    ]
                  },
                  "resources": [
                    { "glob": "META-INF/native/*/libmhc.so" }
                  ]
                }
                """.formatted(String.join(",\n", downcalls), entry(NativeMemory.POINTER_CALL));
        if (Boolean.getBoolean("mhc.write.metadata")) {
            Files.createDirectories(FILE.getParent());
            Files.writeString(FILE, expected);
        }
        assertThat(FILE).as("run this test with -Dmhc.write.metadata=true").hasContent(expected);
    }

    private static String entry(FunctionDescriptor function) {
        return "      { \"returnType\": \"" + function.returnLayout().map(ReachabilityTest::type).orElse("void")
                + "\", \"parameterTypes\": ["
                + function.argumentLayouts().stream().map(layout -> "\"" + type(layout) + "\"")
                        .collect(Collectors.joining(", "))
                + "] }";
    }

    private static String type(MemoryLayout layout) {
        return switch (layout) {
            case AddressLayout ignored -> "void*";
            case ValueLayout value -> "j" + value.carrier().getSimpleName();
            default -> throw new IllegalArgumentException("no function takes this by value: " + layout);
        };
    }
}
