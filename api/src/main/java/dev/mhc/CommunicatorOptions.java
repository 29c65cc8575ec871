// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.time.Duration;

/**
 * How a communicator behaves.
 *
 * @param timeout how long an operation waits for other ranks before it fails, more than 0
 */
public record CommunicatorOptions(Duration timeout) {
  /** Ten minutes. */
  public static final CommunicatorOptions DEFAULT = new CommunicatorOptions(Duration.ofMinutes(10));

  /** Checks the values. */
  public CommunicatorOptions {
    if (!Check.given("timeout", timeout, "a Duration").isPositive()) {
      throw new IllegalArgumentException("timeout is " + timeout + "; expected more than 0");
    }
  }

  /** These options with another timeout. */
  public CommunicatorOptions withTimeout(Duration timeout) {
    return new CommunicatorOptions(timeout);
  }
}
