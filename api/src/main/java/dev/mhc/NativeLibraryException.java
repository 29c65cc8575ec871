// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.List;

/** A native library could not be found, was refused, or could not be loaded. */
public final class NativeLibraryException extends MhcException {
  private static final long serialVersionUID = 1L;
  private static final int LIBRARY_NOT_FOUND = 6; // as mhc.h has it: the bindings may be what is missing

  private final transient List<String> attempts;

  NativeLibraryException(String message, List<String> attempts, String hint, Throwable cause) {
    super(message, LIBRARY_NOT_FOUND, "MHC_LIBRARY_NOT_FOUND", null, null, hint, cause);
    this.attempts = List.copyOf(attempts);
  }

  /** Every place that was tried, in order, and what was wrong there. */
  public List<String> attempts() {
    return attempts;
  }
}
