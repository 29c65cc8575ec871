// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import java.io.PrintWriter;
import java.util.Locale;

/** The line that says how far things are: over and over in a terminal, now and then in a file. */
final class ProgressLine {
  private static final int BAR = 24;
  private static final long OFTEN = 200_000_000L; // nanoseconds from one to the next
  private static final long SELDOM = 15_000_000_000L;

  private final PrintWriter out;
  private final boolean isTerminal;
  private final int total;
  private final int done;
  private final long start = System.nanoTime();
  private long last;

  /** total: steps of all runs; done: those that were taken before. */
  ProgressLine(PrintWriter out, boolean isTerminal, int total, int done) {
    this.out = out;
    this.isTerminal = isTerminal;
    this.total = total;
    this.done = done;
  }

  /** Says so many steps, and some words; in any case when they are the last ones. */
  void show(int steps, String words, boolean isLast) {
    long now = System.nanoTime();
    if (now - last < (isTerminal ? OFTEN : SELDOM) && !isLast) {
      return;
    }
    last = now;
    int filled = (int) ((long) BAR * steps / total);
    double left = (now - start) * 1e-9 / Math.max(1, steps - done) * (total - steps);
    out.printf(Locale.ROOT, "%s[%s%s] %3d %%  %s  %d:%02d left%s", isTerminal ? "\r" : "    ", "#".repeat(filled),
        "-".repeat(BAR - filled), 100L * steps / total, words, (long) left / 60, (long) left % 60,
        isTerminal ? "\u001b[K" : System.lineSeparator());
    if (isTerminal && isLast) {
      out.println();
    }
    out.flush();
  }

  /** Leaves the line, for other words. */
  void end() {
    if (isTerminal) {
      out.println();
    }
  }
}
