// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/**
 * A native call failed although its arguments were right. The root of every exception of this library that is neither
 * an {@link IllegalArgumentException} (an argument is wrong: its message names the argument, its value and what was
 * expected, and nothing was done) nor an {@link IllegalStateException} (the object is closed, or not ready).
 */
public class MhcException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final int code;
  private final String status;
  private final @Nullable String function;
  private final @Nullable String device;
  private final @Nullable String hint;

  /**
   * An exception.
   *
   * @param message what happened, in a sentence
   * @param code the status as a number
   * @param status the status by name, such as {@code MHC_OUT_OF_MEMORY}
   * @param function the native function that failed, if one did
   * @param device the device it ran on, if any
   * @param hint what to do about it, if something is known
   * @param cause what led to it, or null
   */
  public MhcException(String message, int code, String status, @Nullable String function, @Nullable String device,
      @Nullable String hint, @Nullable Throwable cause) {
    super(message + (hint == null ? "" : "\nHint: " + hint), cause);
    this.code = code;
    this.status = status;
    this.function = function;
    this.device = device;
    this.hint = hint;
  }

  /** The status as a number: {@code mhc_status} of {@code mhc.h} unless a subtype says otherwise. */
  public int code() {
    return code;
  }

  /** The status by name. */
  public String status() {
    return status;
  }

  /** The native function that failed, or null. */
  public @Nullable String function() {
    return function;
  }

  /** The device it ran on, in words, or null. */
  public @Nullable String device() {
    return device;
  }

  /** What to do about it, or null. */
  public @Nullable String hint() {
    return hint;
  }
}
