// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import java.io.IOException;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.PaddingLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;

/**
 * Asks the C compiler whether a header is what the bindings say it is. A program is written from the bindings, compiled
 * against the header and run; it prints the compiler's view of every size, offset, type, constant and signature. What
 * does not even compile, a field that is gone or one that the bindings lack, is reported in the compiler's words.
 *
 * <p>The program is C++, whose templates can take a signature apart; for what the header holds, layouts and calling
 * conventions are those of C.
 */
final class HeaderProbe {

    private static final Pattern FUNCTION = Pattern.compile("MHC_API[^;(]*?\\b(mhc_\\w+)\\s*\\(");
    private static final Pattern ENUMERATOR = Pattern.compile("\\b(MHC_\\w+)\\s*=\\s*-?\\d");
    private static final Pattern STRUCT = Pattern.compile("typedef\\s+struct\\s+(mhc_\\w+)\\s*\\{");

    private static final String PRELUDE =
            """
            #define OMPI_SKIP_MPICXX
            #include <%s>
            #include <cstddef>
            #include <cstdio>
            #include <string>
            #include <type_traits>

            template <class T> std::string kind() {
              if constexpr (std::is_void_v<T>) return "void";
              else if constexpr (std::is_array_v<T>)
                return kind<std::remove_extent_t<T>>() + "[" + std::to_string(std::extent_v<T>) + "]";
              else if constexpr (std::is_pointer_v<T>) return "pointer";
              else if constexpr (std::is_floating_point_v<T>) return "f" + std::to_string(8 * sizeof(T));
              else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) return "i" + std::to_string(8 * sizeof(T));
              else if constexpr (std::is_class_v<T>) return "struct" + std::to_string(sizeof(T));
              else return T::not_a_type_of_the_header;
            }
            template <class R, class... A> std::string signature(R (*)(A...)) {
              std::string list;
              ((list += (list.empty() ? "" : ",") + kind<A>()), ...);
              return kind<R>() + "(" + list + ")";
            }
            static void say(const char* what, const std::string& value) { std::printf("%%s=%%s\\n", what, value.c_str()); }
            static void say(const char* what, long long value) { say(what, std::to_string(value)); }
            int main() {
            """;

    private final Header header;
    private final List<Path> include;
    private final Path work;

    /**
     * @param header what to ask about
     * @param include the folders that a compiler finds it by; the first holds it
     * @param work an empty folder to compile in
     */
    HeaderProbe(Header header, List<Path> include, Path work) {
        this.header = header;
        this.include = include;
        this.work = work;
    }

    /** Returns what differs, one line each, naming struct and field, constant or function; nothing if nothing does. */
    List<String> differences(Generated generated) throws IOException, InterruptedException {
        List<String> differences = new ArrayList<>(missing(generated));
        differences.addAll(fieldCounts(generated));
        Map<String, String> expected = new LinkedHashMap<>();
        StringBuilder program = new StringBuilder(PRELUDE.formatted(header.include));
        generated.structs().forEach((name, layout) -> struct(name, layout, expected, program));
        generated.constants().forEach((name, value) -> {
            expected.put(name, Long.toString(value));
            program.append("  say(\"%1$s\", static_cast<long long>(%1$s));%n".formatted(name));
        });
        generated.functions().forEach((name, function) -> {
            expected.put(name, Generated.kind(function));
            program.append("  say(\"%1$s\", signature(static_cast<decltype(&%1$s)>(nullptr)));%n".formatted(name));
        });
        program.append("}\n");

        Path binary = work.resolve("probe");
        List<String> errors = compile("probe.cpp", program, "-o", binary.toString());
        if (!errors.isEmpty()) {
            differences.addAll(errors);
            return differences;
        }
        Map<String, String> actual = new LinkedHashMap<>();
        run(List.of(binary.toString())).text().lines().map(line -> line.split("=", 2)).forEach(pair -> actual.put(pair[0], pair[1]));
        expected.forEach((what, value) -> {
            if (!value.equals(actual.get(what))) {
                differences.add("%s: the header has %s, the bindings %s".formatted(what, actual.get(what), value));
            }
        });
        return differences;
    }

    /** Of constants, and of fields {@code struct.field}, those that the header does not have. */
    Set<String> unknown(Collection<String> names) throws IOException, InterruptedException {
        Set<String> unknown = new TreeSet<>();
        for (String name : names) {
            String program = "#include <%s>\nauto it = %s;\n".formatted(header.include,
                    name.contains(".") ? "&" + name.replace(".", "::") : name);
            if (!compile("unknown.cpp", program, "-fsyntax-only").isEmpty()) {
                unknown.add(name);
            }
        }
        return unknown;
    }

    /** What the header declares and the bindings lack; the compiler cannot be asked for that. */
    private List<String> missing(Generated generated) throws IOException {
        if (header != Header.MHC) {
            return List.of(); // of other headers, what is used is bound
        }
        String text = Files.readString(include.get(0).resolve(header.include)).replaceAll("(?s)/\\*.*?\\*/", " ");
        var declared = new TreeSet<String>();
        for (Pattern pattern : List.of(FUNCTION, ENUMERATOR, STRUCT)) {
            pattern.matcher(text).results().map(match -> match.group(1)).forEach(declared::add);
        }
        declared.removeAll(generated.structs().keySet());
        declared.removeAll(generated.functions().keySet());
        declared.removeAll(generated.unresolved());
        declared.removeAll(generated.constants().keySet());
        return declared.stream().map(name -> name + ": the header has it, the bindings do not").toList();
    }

    /** One initialiser for each field the bindings know: the compiler objects to one too few as to one too many. */
    private List<String> fieldCounts(Generated generated) throws IOException, InterruptedException {
        StringBuilder program = new StringBuilder("#include <" + header.include + ">\n");
        generated.structs().forEach((name, layout) -> {
            long count = layout.memberLayouts().stream().filter(member -> !(member instanceof PaddingLayout)).count();
            program.append("%1$s all_of_%1$s = {%2$s{}};%n".formatted(name, "{}, ".repeat((int) count - 1)));
        });
        return compile("fields.cpp", program, "-fsyntax-only", "-Wextra", "-Werror=missing-field-initializers");
    }

    /** Returns the compiler's errors, without the places: the name in each says more than a line of a file that is gone. */
    private List<String> compile(String file, CharSequence program, String... options)
            throws IOException, InterruptedException {
        Path source = Files.writeString(work.resolve(file), program);
        List<String> command = new ArrayList<>(List.of(compiler(), "-std=c++17", source.toString()));
        include.forEach(folder -> command.add("-I" + folder));
        command.addAll(List.of(options));
        Output output = run(command);
        if (output.status() == 0) {
            return List.of();
        }
        List<String> errors = output.text().lines().filter(line -> line.contains("error: ")).distinct()
                .map(line -> line.substring(line.indexOf("error: ") + 7)).toList();
        if (errors.isEmpty()) {
            throw new IOException(String.join(" ", command) + ": " + output.text());
        }
        return errors;
    }

    private static String compiler() {
        return System.getenv().getOrDefault("CXX", "c++");
    }

    private static void struct(String name, GroupLayout layout, Map<String, String> expected, StringBuilder program) {
        expected.put("sizeof " + name, Long.toString(layout.byteSize()));
        expected.put("alignof " + name, Long.toString(layout.byteAlignment()));
        program.append("  say(\"sizeof %1$s\", sizeof(%1$s)); say(\"alignof %1$s\", alignof(%1$s));%n".formatted(name));
        fields(name, "", 0, layout, expected, program);
    }

    private static void fields(
            String struct, String prefix, long base, GroupLayout layout, Map<String, String> expected, StringBuilder program) {
        long offset = base;
        for (MemoryLayout member : layout.memberLayouts()) {
            if (!(member instanceof PaddingLayout)) {
                String field = prefix + member.name().orElseThrow();
                String what = struct + "." + field;
                expected.put("offsetof " + what, Long.toString(offset));
                program.append("  say(\"offsetof %s\", offsetof(%s, %s));%n".formatted(what, struct, field));
                if (member instanceof GroupLayout group) {
                    fields(struct, field + ".", offset, group, expected, program);
                } else {
                    expected.put(what, Generated.kind(member));
                    program.append("  say(\"%s\", kind<std::remove_reference_t<decltype((static_cast<%s*>(nullptr)->%s))>>());%n"
                            .formatted(what, struct, field));
                }
            }
            offset += member.byteSize();
        }
    }

    private record Output(int status, String text) {}

    private static Output run(List<String> command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Output(process.waitFor(), text);
    }
}
