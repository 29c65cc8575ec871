// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import java.io.IOException;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.PaddingLayout;
import java.lang.foreign.SequenceLayout;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * What the generated classes say of the C header, asked of the classes themselves.
 *
 * @param structs layout of each struct
 * @param functions descriptor of each function that the loaded library has
 * @param unresolved functions that it has not
 * @param constants value of each enumerator and macro
 */
record Generated(
        Map<String, GroupLayout> structs,
        Map<String, FunctionDescriptor> functions,
        Set<String> unresolved,
        Map<String, Long> constants) {

    private static final String DESCRIPTOR = "$descriptor";

    /** Reads a header's classes. A function's descriptor is there only with its symbol. */
    static Generated read(Header header) throws IOException {
        Map<String, GroupLayout> structs = new TreeMap<>();
        Map<String, FunctionDescriptor> functions = new TreeMap<>();
        Set<String> unresolved = new TreeSet<>();
        Map<String, Long> constants = new TreeMap<>();
        try (var files = Files.newDirectoryStream(header.folder(), "*.java")) {
            for (Path file : files) {
                String name = file.getFileName().toString().replace(".java", "");
                if (!name.equals(header.main.getSimpleName())) {
                    structs.put(name, (GroupLayout) call(method(header, name, "layout")));
                }
            }
        }
        for (Method method : header.main.getMethods()) {
            String name = method.getName();
            if (name.endsWith(DESCRIPTOR)) {
                String function = name.substring(0, name.length() - DESCRIPTOR.length());
                try {
                    functions.put(function, (FunctionDescriptor) call(method));
                } catch (UnsatisfiedLinkError e) {
                    unresolved.add(function);
                }
            }
        }
        for (Method method : header.main.getDeclaredMethods()) {
            String name = method.getName();
            if (Modifier.isPublic(method.getModifiers()) && method.getParameterCount() == 0 && !name.contains("$")
                    && !functions.containsKey(name) && !unresolved.contains(name)) {
                constants.put(name, ((Number) call(method)).longValue());
            }
        }
        return new Generated(structs, functions, unresolved, constants);
    }

    /** Whether there is this constant, or the struct of {@code struct.field}. */
    boolean has(String name) {
        return constants.containsKey(name) || structs.containsKey(name.split("\\.")[0]);
    }

    /** All of this but for constants, and fields {@code struct.field}, whose bytes then count for the array after them. */
    Generated without(Set<String> names) {
        Map<String, GroupLayout> kept = new TreeMap<>();
        structs.forEach((struct, layout) -> kept.put(struct, without(struct, layout, names)));
        Map<String, Long> rest = new TreeMap<>(constants);
        rest.keySet().removeAll(names);
        return new Generated(kept, functions, unresolved, rest);
    }

    private static GroupLayout without(String struct, GroupLayout layout, Set<String> names) {
        List<MemoryLayout> members = new ArrayList<>();
        long gone = 0;
        for (MemoryLayout member : layout.memberLayouts()) {
            if (names.contains(struct + "." + member.name().orElse(""))) {
                gone += member.byteSize();
            } else if (gone > 0 && member instanceof SequenceLayout array && array.elementLayout().byteSize() == 1) {
                members.add(MemoryLayout.sequenceLayout(array.elementCount() + gone, array.elementLayout()).withName(
                        array.name().orElseThrow()));
                gone = 0;
            } else {
                members.add(member);
            }
        }
        return MemoryLayout.structLayout(members.toArray(MemoryLayout[]::new));
    }

    /** A type in the words that {@link HeaderProbe} makes the compiler use. */
    static String kind(MemoryLayout layout) {
        return switch (layout) {
            case AddressLayout ignored -> "pointer";
            case ValueLayout.OfFloat ignored -> "f32";
            case ValueLayout.OfDouble ignored -> "f64";
            case ValueLayout value -> "i" + 8 * value.byteSize();
            case SequenceLayout array -> kind(array.elementLayout()) + "[" + array.elementCount() + "]";
            case GroupLayout group -> "struct" + group.byteSize();
            case PaddingLayout padding -> throw new IllegalArgumentException("padding has no kind: " + padding);
        };
    }

    /** {@code i32(pointer,i64)}: what it returns, what it takes. */
    static String kind(FunctionDescriptor function) {
        return function.returnLayout().map(Generated::kind).orElse("void")
                + function.argumentLayouts().stream().map(Generated::kind).collect(Collectors.joining(",", "(", ")"));
    }

    private static Method method(Header header, String type, String name) {
        try {
            Class<?> owner = Class.forName(header.main.getPackageName() + "." + type);
            return Arrays.stream(owner.getMethods())
                    .filter(method -> method.getName().equals(name) && method.getParameterCount() == 0)
                    .findFirst()
                    .orElseThrow();
        } catch (ClassNotFoundException e) {
            throw new AssertionError(type + ".java is there, its class is not", e);
        }
    }

    private static Object call(Method method) {
        try {
            return method.invoke(null);
        } catch (IllegalAccessException e) {
            throw new AssertionError("cannot call " + method, e);
        } catch (InvocationTargetException e) {
            for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                if (cause instanceof UnsatisfiedLinkError error) {
                    throw error;
                }
            }
            throw new AssertionError(method + " failed", e);
        }
    }
}
