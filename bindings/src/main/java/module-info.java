// SPDX-License-Identifier: Apache-2.0

/**
 * jextract's output for {@code mhc.h}, the CUDA runtime, cuBLASLt, cuBLAS, NCCL, Open MPI and OpenBLAS, and what finds
 * and loads these libraries.
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
    exports dev.mhc.bindings.generated.cublas to
            dev.mhc;
    exports dev.mhc.bindings.generated.cublaslt to
            dev.mhc;
    exports dev.mhc.bindings.generated.cudart to
            dev.mhc;
    exports dev.mhc.bindings.generated.mpi to
            dev.mhc;
    exports dev.mhc.bindings.generated.nccl to
            dev.mhc;
    exports dev.mhc.bindings.generated.openblas to
            dev.mhc;
}
