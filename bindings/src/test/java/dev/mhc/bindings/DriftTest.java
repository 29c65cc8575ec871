// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The committed bindings are those of the header as it is now. */
class DriftTest {

    private static final Path INCLUDE = Path.of(System.getProperty("mhc.include"));

    private static Generated generated;

    @TempDir
    private Path work;

    @BeforeAll
    static void readBindings() throws IOException {
        System.load(System.getProperty("mhc.test.library"));
        generated = Generated.read(Header.MHC);
    }

    @Test
    void bindingsMatchTheHeader() throws Exception {
        assertThat(new HeaderProbe(Header.MHC, List.of(INCLUDE), work).differences(generated))
                .as("run scripts/generate-bindings after a change of mhc.h (with --list first, if a symbol came or went)")
                .isEmpty();
    }

    @Test
    void theLibraryHasEveryFunction() {
        assertThat(generated.unresolved()).as("functions that libmhc does not export").isEmpty();
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(delimiter = '|', useHeadersInDisplayName = false, textBlock = """
            a field grows             | int32_t device_id;            | int64_t device_id;                   | mhc_device.device_id
            a field changes its kind  | float norm_eps;               | int32_t norm_eps;                    | mhc_boundary_args.norm_eps
            a field is renamed        | uint8_t code;                 | uint8_t type;                        | code
            a field comes, in padding | int32_t ndim;                 | uint16_t extra; uint16_t ndim;       | mhc_tensor.ndim
            a field comes at the end  | uint64_t byte_offset;         | uint64_t byte_offset; void* manager; | manager
            a field goes              | uint64_t scratch_bytes;       | /* gone */                           | scratch_bytes
            an array shrinks          | char name[128];               | char name[120];                      | mhc_context_info.name
            a constant changes        | MHC_OUT_OF_MEMORY = 4,        | MHC_OUT_OF_MEMORY = 14,              | MHC_OUT_OF_MEMORY
            a constant comes          | MHC_OUT_OF_MEMORY = 4,        | MHC_OUT_OF_MEMORY = 4, MHC_X = 9,    | MHC_X
            a parameter changes       | mhc_status_name(int32_t       | mhc_status_name(int64_t              | mhc_status_name
            a parameter comes         | mhc_cpu_tiers(void)           | mhc_cpu_tiers(int32_t all)           | mhc_cpu_tiers
            a return type changes     | int64_t mhc_live_bytes        | int32_t mhc_live_bytes               | mhc_live_bytes
            a function goes           | mhc_device_count(             | mhc_count_devices(                   | mhc_device_count
            """)
    void aChangeIsNamed(String change, String before, String after, String name) throws Exception {
        String header = Files.readString(INCLUDE.resolve("mhc/mhc.h"));
        assertThat(header).as("what this test changes").contains(before);
        Path changed = Files.createDirectories(work.resolve("include/mhc")).resolve("mhc.h");
        Files.writeString(changed, header.replace(before, after));

        assertThat(new HeaderProbe(Header.MHC, List.of(work.resolve("include")), work).differences(generated))
                .as(change)
                .anySatisfy(difference -> assertThat(difference).contains(name));
    }
}
