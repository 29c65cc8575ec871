// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/**
 * A function of cuBLASLt or cuBLAS failed. {@link #code()} is its {@code cublasStatus_t}, {@link #status()} the name of that,
 * such as {@code CUBLAS_STATUS_NOT_SUPPORTED}.
 */
public final class CublasException extends MhcException {
  private static final long serialVersionUID = 1L;

  CublasException(int code, String name, String text, String function, @Nullable String device, @Nullable String hint) {
    super(name + ": " + function + ": " + text, code, name, function, device, hint, null);
  }
}
