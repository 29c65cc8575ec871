// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;

/** What a test needs of the machine: where it is not there the test is left out, unless MHC_REQUIRE names it, as CI does. */
final class Need {
    private static final List<String> REQUIRED = List.of(System.getenv().getOrDefault("MHC_REQUIRE", "").split(","));

    private Need() {}

    /** kind: nvidia, mpi or executor. */
    static void of(String kind, boolean there, String why) {
        if (REQUIRED.contains(kind)) {
            assertThat(there).as("MHC_REQUIRE has %s: %s", kind, why).isTrue();
        }
        assumeTrue(there, why);
    }
}
