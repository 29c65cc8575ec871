// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import java.util.List;

/** A native library could not be loaded: the message lists every place tried and what was wrong there. */
public final class LoadFailure extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final transient List<NativeLibrary.Attempt> attempts;
  private final String fix;

  LoadFailure(String library, List<NativeLibrary.Attempt> attempts, String fix, Throwable cause) {
    super(describe(library, attempts), cause);
    this.attempts = List.copyOf(attempts);
    this.fix = fix;
  }

  /** The places tried, in order. */
  public List<NativeLibrary.Attempt> attempts() {
    return attempts;
  }

  /** What to do about it. */
  public String fix() {
    return fix;
  }

  private static String describe(String library, List<NativeLibrary.Attempt> attempts) {
    var text = new StringBuilder("the native library " + library + " could not be loaded. Tried:");
    for (var attempt : attempts) {
      text.append("\n  ").append(attempt);
    }
    return text.toString();
  }
}
