// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/**
 * Ranks cannot go on together: one has ended, takes too long, has given up, or does something else. The communicator can
 * no longer be used, unless the method that throws says so. {@link #status()} is the name of a {@link Reason}.
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
    MPI("start all processes with one mpirun, or srun --mpi=pmix, of the Open MPI that is loaded; mpirun --mca btl_base_verbose"
        + " 30 says more");

    final String hint;

    Reason(String hint) {
      this.hint = hint;
    }
  }

  private final Reason reason;

  CommunicatorException(Reason reason, String message, int code, String device) {
    this(reason, message, code, device, null);
  }

  CommunicatorException(Reason reason, String message, int code, String device, @Nullable MhcException cause) {
    super(reason + ": " + message, code, reason.name(), cause == null ? null : cause.function(), device, reason.hint, cause);
    this.reason = reason;
  }

  /** For what the transport of a rank met; what: the rank and what it did. */
  CommunicatorException(Transport.Failure e, String what, String device) {
    super(e.reason + ": " + what + e.getMessage(), e.code, e.reason.name(), e.function, device, e.reason.hint, null);
    reason = e.reason;
  }

  /** For each use after the first failure. */
  CommunicatorException(CommunicatorException first) {
    super(first.reason + ": the communicator failed before: " + first.getMessage().lines().findFirst().orElse(""),
        first.code(), first.status(), first.function(), first.device(), first.reason.hint, first);
    reason = first.reason;
  }

  /** What went wrong. */
  public Reason reason() {
    return reason;
  }
}
