// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

/** A NaN or an infinity has come up: when, and in which tensor first. */
final class NotFiniteException extends RuntimeException {
  private static final long serialVersionUID = 1;

  NotFiniteException(int step, String tensor) {
    super("step " + step + ": " + tensor + " holds a NaN or an infinity");
  }
}
