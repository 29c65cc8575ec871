// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import dev.mhc.CpuTier;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.bench.BoundaryCheck;
import dev.mhc.bench.Cost;
import org.openjdk.jmh.annotations.Benchmark;

/** The boundary in one pass, and the same work in two passes, three operations, and the five of the paper's Table 2. */
public class BoundaryBenchmark extends OperationBenchmark {
  private BoundaryCase boundary;

  @Override
  protected void make() {
    boundary = own(new BoundaryCase(on, config, dtype, tokens, width, rotated()));
    if (on.tier() == CpuTier.COUNTING) {
      boundary.afterEach(operation -> ended());
    }
  }

  @Override
  protected void check() {
    BoundaryCheck.forward(boundary);
    BoundaryCheck.backward(boundary);
  }

  /** Multiply-adds for each channel: the product, the squares, post, pre. */
  static double forwardAdds(double n) {
    return (n * n + 2 * n) * n + n + n * (n + 1) + n;
  }

  /** x_next again, the product's two gradients, those of post and pre (n + 1 sums over C and n + 1 rows each), squares. */
  static double backwardAdds(double n) {
    return n * (n + 1) + 2 * (n * n + 2 * n) * n + 2 * n * (n + 1) + 2 * n + n;
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    double forward = forwardAdds(n);
    double backward = backwardAdds(n);
    return switch (method) {
      case "forward" -> rows(n + 1, n + 1, forward);
      case "forwardTwoPasses" -> rows(2 * n + 1, n + 1, forward);
      case "forwardThreeOperations" -> rows(3 * n + 1, n + 1, forward);
      case "forwardFiveOperations" -> rows(5 * n + 2, 3 * n + 1, forward);
      case "backward" -> rows(2 * n + 2, n + 1, backward);
      default -> rows(6 * n + 2, 3 * n + 1, backward);
    };
  }

  /** One pass. */
  @Benchmark
  public void forward() {
    boundary.boundary(boundary.rotate());
  }

  /** post, then coefficients and pre together. */
  @Benchmark
  public void forwardTwoPasses() {
    boundary.twoPasses(boundary.rotate());
  }

  /** post, coefficients, pre. */
  @Benchmark
  public void forwardThreeOperations() {
    boundary.threeKernels(boundary.rotate());
  }

  /** One operation for each row of the paper's Table 2. */
  @Benchmark
  public void forwardFiveOperations() {
    boundary.unfused(boundary.rotate());
  }

  /** One pass; the values that a forward saved on the first rows serve for all. */
  @Benchmark
  public void backward() {
    boundary.boundaryBackward(boundary.rotate());
  }

  /** The backwards of pre, coefficients and post. */
  @Benchmark
  public void backwardThreeOperations() {
    boundary.threeKernelsBackward(boundary.rotate());
  }
}
