// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/**
 * A function of the CUDA runtime failed. {@link #code()} is its {@code cudaError_t}, {@link #status()} the name of that,
 * such as {@code cudaErrorInsufficientDriver}.
 */
public final class CudaException extends MhcException {
  private static final long serialVersionUID = 1L;

  CudaException(int code, String name, String text, String function, @Nullable String device, @Nullable String hint) {
    super(name + ": " + function + ": " + text, code, name, function, device, hint, null);
  }
}
