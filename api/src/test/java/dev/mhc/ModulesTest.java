// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.bindings.NativeLibrary;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class ModulesTest {
  /** That the library's code makes no restricted call itself is checked by the compiler's lint, an error in this build. */
  @Test
  void theLibraryNeedsNoNativeAccess() {
    assertThat(Device.class.getModule().getName()).isEqualTo("dev.mhc");
    assertThat(Device.class.getModule().isNativeAccessEnabled()).isFalse();
    assertThat(NativeLibrary.class.getModule().isNativeAccessEnabled()).isTrue();
  }

  @Test
  void bindingsAreForTheLibraryAlone() {
    var bindings = NativeLibrary.class.getModule().getDescriptor();
    assertThat(bindings.exports()).allSatisfy(e -> assertThat(e.targets()).containsExactly("dev.mhc"));
    Set<String> exported = Device.class.getModule().getDescriptor().exports().stream().map(e -> e.source())
        .collect(Collectors.toSet());
    assertThat(exported).containsExactly("dev.mhc");
  }
}
