// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import dev.mhc.bindings.generated.cublas.cublas_h;
import dev.mhc.bindings.generated.cublaslt.cublaslt_h;
import dev.mhc.bindings.generated.cudart.cudart_h;
import dev.mhc.bindings.generated.mhc_h;
import dev.mhc.bindings.generated.mpi.mpi_h;
import dev.mhc.bindings.generated.nccl.nccl_h;
import dev.mhc.bindings.generated.openblas.openblas_h;
import java.nio.file.Path;

/** A C header that bindings are made from: the class that jextract made of it, and what a C program includes. */
enum Header {
    MHC(mhc_h.class, "mhc/mhc.h"),
    CUDART(cudart_h.class, "cuda_runtime_api.h"),
    CUBLASLT(cublaslt_h.class, "cublasLt.h"),
    CUBLAS(cublas_h.class, "cublas_v2.h"),
    NCCL(nccl_h.class, "nccl.h"),
    MPI(mpi_h.class, "mpi.h"),
    OPENBLAS(openblas_h.class, "cblas.h");

    private static final Path SOURCES = Path.of("src/generated/java");

    final Class<?> main;
    final String include;

    Header(Class<?> main, String include) {
        this.main = main;
        this.include = include;
    }

    /** Where the classes' sources lie. */
    Path folder() {
        return SOURCES.resolve(main.getPackageName().replace('.', '/'));
    }
}
