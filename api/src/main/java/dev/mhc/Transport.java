// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Moves bytes between ranks. Messages from one rank to another arrive in the order in which they were sent, and belong to
 * the receives in the order in which these were posted. Used by one thread at a time, but for {@link #abort}.
 */
interface Transport {
  /** A message under way. */
  interface Pending {
    /**
     * Whether it has arrived, or its memory may be used again.
     *
     * @throws Failure if it never will
     */
    boolean isDone() throws Failure;
  }

  /** Why ranks cannot go on together. */
  final class Failure extends Exception {
    private static final long serialVersionUID = 1L;

    final CommunicatorException.Reason reason;
    final int code;
    final @Nullable String function; // that failed

    Failure(CommunicatorException.Reason reason, int code, String message) {
      this(reason, code, null, message);
    }

    Failure(CommunicatorException.Reason reason, int code, @Nullable String function, String message) {
      super(function == null ? message : function + ": " + message, null, false, false);
      this.reason = reason;
      this.code = code;
      this.function = function;
    }
  }

  int rank();

  int ranks();

  Pending send(MemorySegment data, int peer) throws Failure;

  Pending receive(MemorySegment data, int peer) throws Failure;

  /** Why a rank will do nothing any more, or null if it may. What it did before may still be on its way. */
  @Nullable String ended(int rank);

  /** Whether some rank has aborted, and which; null if none. */
  @Nullable String aborted();

  /** Whether messages that failed may still be written to their memory. */
  boolean keepsMemory();

  /** Tells all ranks to give up; from any thread. */
  void abort(String why);

  /** Tells the others that this rank does nothing any more. */
  void close(boolean failed);
}
