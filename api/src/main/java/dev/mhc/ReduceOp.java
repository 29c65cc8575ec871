// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * How a {@link Communicator} combines the ranks' elements: in the order of the ranks, in float32 (in integers for
 * {@link DType#INT32}), and rounded once to the elements' type. All ranks get the same bits. On GPUs NCCL chooses the order
 * and how it rounds.
 */
public enum ReduceOp {
  /** The sum. */
  SUM,
  /** The sum divided by the number of ranks; not of {@link DType#INT32}. */
  AVERAGE,
  /** The smallest; NaN if any is NaN. */
  MIN,
  /** The largest; NaN if any is NaN. */
  MAX
}
