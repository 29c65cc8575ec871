// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/**
 * A function of NCCL failed. {@link #code()} is its {@code ncclResult_t}, {@link #status()} the name of that,
 * such as {@code ncclRemoteError}.
 */
public final class NcclException extends MhcException {
  private static final long serialVersionUID = 1L;

  NcclException(int code, String name, String text, String function, @Nullable String device, @Nullable String hint) {
    super(name + ": " + function + ": " + text, code, name, function, device, hint, null);
  }
}
