// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * Bytes of tensor arguments that a device's last operation loaded and stored, counted at each load and store. Only a
 * device of {@link CpuTier#COUNTING} counts.
 *
 * @param rowBytesRead of tensors {@code [T, n, C]} and {@code [T, C]}: the traffic ledger
 * @param rowBytesWritten likewise
 * @param coefficientBytesRead of the small tensors that have a row for each token
 * @param coefficientBytesWritten likewise
 * @param parameterBytesRead of tensors without tokens, with every re-reading
 * @param parameterBytesWritten likewise
 * @param scratchBytes workspace of one thread, parameter gradients aside; it stays in the second-level cache
 */
public record Traffic(long rowBytesRead, long rowBytesWritten, long coefficientBytesRead, long coefficientBytesWritten,
    long parameterBytesRead, long parameterBytesWritten, long scratchBytes) {}
