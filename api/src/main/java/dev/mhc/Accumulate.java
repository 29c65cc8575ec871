// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** Which gradients a backward adds to what their tensors hold, instead of writing them. */
public enum Accumulate {
  /** All are written. */
  NONE,
  /** Gradients of parameters are added. */
  PARAMETERS,
  /** Gradients of tensor inputs (dX, dF and their like) are added. */
  INPUTS,
  /** Both are added. */
  ALL;

  static int bits(Accumulate value) {
    return Check.given("accumulate", value, "an Accumulate").ordinal();
  }
}
