// SPDX-License-Identifier: Apache-2.0

/**
 * The bindings of libmhc: jextract's output for {@code mhc.h} and what finds and loads the library.
 *
 * <p>All restricted calls of mhc happen in this module, so {@code --enable-native-access=dev.mhc.bindings} suffices.
 * Nothing here is for users; {@code dev.mhc} is.
 */
@SuppressWarnings("module") // dev.mhc is compiled after this module.
module dev.mhc.bindings {
    exports dev.mhc.bindings to
            dev.mhc;
    exports dev.mhc.bindings.generated to
            dev.mhc;
}
