// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Checks of arguments that are not an operation's tensors. Nothing is allocated unless a check fails. */
final class Check {
  private Check() {}

  static <T> T given(String name, @Nullable T value, String expected) {
    if (value == null) {
      throw new IllegalArgumentException(name + " is null; expected " + expected);
    }
    return value;
  }

  static void range(String name, long value, long low, long high) {
    if (value < low || value > high) {
      throw new IllegalArgumentException(name + " is " + value + "; expected "
          + (high == Long.MAX_VALUE ? "at least " + low : low + " to " + high));
    }
  }

  /** Of lists of tensors. */
  static void same(String name, int count, String otherName, int expected) {
    if (count != expected) {
      throw new IllegalArgumentException(name + " has " + count + " tensors; expected as many as " + otherName + " has, "
          + expected);
    }
  }

  /** No more elements than can be addressed; a dimension of 0 counts as 1, as strides have it. */
  static void size(String name, long... shape) {
    long bytes = Long.BYTES;
    for (long dim : shape) {
      long extent = Math.max(1, dim);
      if (bytes > Long.MAX_VALUE / extent) {
        throw new IllegalArgumentException(name + " is " + Arrays.toString(shape) + "; expected fewer elements");
      }
      bytes *= extent;
    }
  }

  static void finite(String name, float value) {
    if (!Float.isFinite(value)) {
      throw new IllegalArgumentException(name + " is " + value + "; expected a finite number");
    }
  }

  /** Finite and at least zero. */
  static void notNegative(String name, float value) {
    if (!(value >= 0) || value == Float.POSITIVE_INFINITY) {
      throw new IllegalArgumentException(name + " is " + value + "; expected a finite number, at least 0");
    }
  }

  /** Finite and above zero. */
  static void positive(String name, float value) {
    if (!(value > 0) || value == Float.POSITIVE_INFINITY) {
      throw new IllegalArgumentException(name + " is " + value + "; expected a finite number above 0");
    }
  }
}
