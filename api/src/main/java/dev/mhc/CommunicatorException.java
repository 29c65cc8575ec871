// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * Ranks cannot go on together: one has ended, takes too long, has given up, or does something else. The communicator can
 * no longer be used. {@link #status()} is the name of a {@link Reason}.
 */
public final class CommunicatorException extends MhcException {
  private static final long serialVersionUID = 1L;

  /** What went wrong. */
  public enum Reason {
    /** A rank's process has ended, or a rank has closed its communicator. */
    RANK_ENDED("look at that rank's own output for why"),
    /** Other ranks did not do their part in time. */
    TIMEOUT("see to it that all ranks call the same operations in the same order, or allow more time with"
        + " CommunicatorOptions.withTimeout"),
    /** {@link Communicator#abort()} was called, here or by another rank. */
    ABORTED("look at the output of the rank that aborted for why"),
    /** Ranks called different operations, or with different counts. */
    MISMATCH("see to it that all ranks call the same operations in the same order, with the same counts and types"),
    /** MPI failed; {@link #code()} is its error code. */
    MPI("the message is MPI's");

    final String hint;

    Reason(String hint) {
      this.hint = hint;
    }
  }

  private final Reason reason;

  CommunicatorException(Reason reason, String message, int code, String device) {
    super(reason + ": " + message, code, reason.name(), null, device, reason.hint, null);
    this.reason = reason;
  }

  /** For each use after the first failure. */
  CommunicatorException(CommunicatorException first) {
    super(first.reason + ": the communicator failed before: " + first.getMessage().lines().findFirst().orElse(""),
        first.code(), first.status(), null, first.device(), first.reason.hint, first);
    reason = first.reason;
  }

  /** What went wrong. */
  public Reason reason() {
    return reason;
  }
}
