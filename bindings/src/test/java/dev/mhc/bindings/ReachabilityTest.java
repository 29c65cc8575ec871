// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.bindings.generated.nccl.ncclUniqueId;
import java.io.IOException;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.SequenceLayout;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/**
 * GraalVM's native-image is told of every kind of native call that is made, by a file made from the descriptors
 * themselves. With {@code -Dmhc.write.metadata=true} this test writes the file.
 */
class ReachabilityTest {
    private static final Pattern DESCRIPTOR = Pattern.compile("FunctionDescriptor\\.(of|ofVoid)\\(([^;]*?)\\);", Pattern.DOTALL);
    private static final Path FILE = Path.of(
            "src/main/resources/META-INF/native-image/dev.mhc/mhc-bindings/reachability-metadata.json");

    @Test
    void metadataIsThatOfTheDescriptors() throws IOException {
        Set<String> downcalls = new TreeSet<>();
        for (Header header : Header.values()) {
            downcalls.addAll(downcalls(header));
        }
        assertThat(downcalls).hasSizeGreaterThan(10);
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
                    { "glob": "META-INF/native/*/libmhc*.so" },
                    { "glob": "org/bytedeco/openblas/*/lib*.so.*" }
                  ]
                }
                """.formatted(String.join(",\n", downcalls), entry(NativeMemory.POINTER_CALL));
        if (Boolean.getBoolean("mhc.write.metadata")) {
            Files.createDirectories(FILE.getParent());
            Files.writeString(FILE, expected);
        }
        assertThat(FILE).as("run this test with -Dmhc.write.metadata=true").hasContent(expected);
    }

    /** Read from the sources: the classes have a descriptor only where the library is loaded. */
    private static Set<String> downcalls(Header header) throws IOException {
        Set<String> entries = new TreeSet<>();
        String source = Files.readString(header.folder().resolve(header.main.getSimpleName() + ".java"));
        DESCRIPTOR.matcher(source).results().forEach(match -> {
            List<String> types = Arrays.stream(match.group(2).split(",")).map(String::strip)
                    .filter(layout -> !layout.isEmpty()).map(ReachabilityTest::type).toList();
            boolean returns = match.group(1).equals("of");
            entries.add(entry(returns ? types.get(0) : "void", types.subList(returns ? 1 : 0, types.size())));
        });
        return entries;
    }

    private static String entry(FunctionDescriptor function) {
        return entry(function.returnLayout().map(ReachabilityTest::type).orElse("void"),
                function.argumentLayouts().stream().map(ReachabilityTest::type).toList());
    }

    private static String entry(String result, List<String> parameters) {
        return "      { \"returnType\": \"" + result + "\", \"parameterTypes\": ["
                + parameters.stream().map(type -> "\"" + type + "\"").collect(Collectors.joining(", ")) + "] }";
    }

    /** A layout in jextract's words. */
    private static String type(String layout) {
        return switch (layout.substring(layout.indexOf('.') + 1)) {
            case "C_POINTER" -> "void*";
            case "C_CHAR" -> "jbyte";
            case "C_SHORT" -> "jshort";
            case "C_INT" -> "jint";
            case "C_LONG", "C_LONG_LONG" -> "jlong";
            case "C_FLOAT" -> "jfloat";
            case "C_DOUBLE" -> "jdouble";
            case "layout()" -> type(layout.equals("ncclUniqueId.layout()") ? ncclUniqueId.layout() : null);
            default -> throw new IllegalArgumentException("a layout of jextract's that this test does not know: " + layout);
        };
    }

    private static String type(MemoryLayout layout) {
        return switch (layout) {
            case AddressLayout ignored -> "void*";
            case ValueLayout value -> "j" + value.carrier().getSimpleName();
            case SequenceLayout array -> "sequence(" + array.elementCount() + ", " + type(array.elementLayout()) + ")";
            case StructLayout struct -> struct.memberLayouts().stream().map(ReachabilityTest::type)
                    .collect(Collectors.joining(", ", "struct(", ")"));
            default -> throw new IllegalArgumentException("no function takes this by value: " + layout);
        };
    }
}
