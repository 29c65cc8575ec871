// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

/**
 * What a call has to move and to compute.
 *
 * @param rowsRead bytes of rows, tensors {@code [T, n, C]} and {@code [T, C]}: the traffic ledger
 * @param rowsWritten likewise
 * @param coefficientsRead bytes of what is no rows: small tensors that have a row for each token, and matrices of products
 * @param coefficientsWritten likewise
 * @param multiplyAdds fp32
 */
public record Cost(double rowsRead, double rowsWritten, double coefficientsRead, double coefficientsWritten,
    double multiplyAdds) {
  /** Of products, whose matrices are in no ledger. */
  public static Cost matrices(double read, double written, double multiplyAdds) {
    return new Cost(0, 0, read, written, multiplyAdds);
  }

  /** All bytes. */
  public double bytes() {
    return rowsRead + rowsWritten + coefficientsRead + coefficientsWritten;
  }

  /** Whether it only reads, but for less than a hundredth. */
  public boolean onlyReads() {
    return rowsWritten + coefficientsWritten < 0.01 * bytes();
  }
}
