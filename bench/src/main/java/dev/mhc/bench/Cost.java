// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

/**
 * What a call has to move and to compute.
 *
 * @param rowsRead bytes of rows, tensors {@code [T, n, C]} and {@code [T, C]}: the traffic ledger
 * @param rowsWritten likewise
 * @param coefficientsRead bytes of small tensors that have a row for each token
 * @param coefficientsWritten likewise
 * @param multiplyAdds fp32
 */
public record Cost(double rowsRead, double rowsWritten, double coefficientsRead, double coefficientsWritten,
    double multiplyAdds) {
  /** All bytes. */
  public double bytes() {
    return rowsRead + rowsWritten + coefficientsRead + coefficientsWritten;
  }

  /** Whether it only reads, but for less than a hundredth. */
  public boolean onlyReads() {
    return rowsWritten + coefficientsWritten < 0.01 * bytes();
  }
}
