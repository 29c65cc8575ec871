// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.time.Duration;

/**
 * How a communicator behaves.
 *
 * @param timeout how long an operation waits for other ranks before it fails, more than 0, at most a year
 */
public record CommunicatorOptions(Duration timeout) {
  private static final Duration LONGEST = Duration.ofDays(365);

  /** Ten minutes. */
  public static final CommunicatorOptions DEFAULT = new CommunicatorOptions(Duration.ofMinutes(10));

  /** Checks the values. */
  public CommunicatorOptions {
    if (!Check.given("timeout", timeout, "a Duration").isPositive()) {
      throw new IllegalArgumentException("timeout is " + timeout + "; expected more than 0");
    }
    if (timeout.compareTo(LONGEST) > 0) {
      throw new IllegalArgumentException("timeout is " + timeout + "; expected at most " + LONGEST);
    }
  }

  /** These options with another timeout. */
  public CommunicatorOptions withTimeout(Duration timeout) {
    return new CommunicatorOptions(timeout);
  }
}
