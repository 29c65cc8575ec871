// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig.Preset;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * A boundary of four streams in bf16: in one pass, in more operations, and backward. Rows rotate over buffers of 256 MiB.
 * Results are compared with a plain rendering in double precision before anything is timed.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 2, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class BoundaryBenchmark {
  private static final long ROTATED_BYTES = 256L << 20;

  /** T. */
  @Param("2048")
  public int tokens;

  /** C. */
  @Param("2048")
  public int width;

  private Device device;
  private BoundaryCase boundary;

  /** Makes the case and checks it. */
  @Setup
  public void setUp() {
    device = Device.best();
    boundary = new BoundaryCase(device, Preset.PAPER.config(4), DType.BF16, tokens, width, ROTATED_BYTES);
    BoundaryCheck.forward(boundary);
    BoundaryCheck.backward(boundary);
  }

  /** Ends it. */
  @TearDown
  public void tearDown() {
    boundary.close();
    device.close();
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

  /** One pass; it follows a forward on the first rows, whose saved values serve for all. */
  @Benchmark
  public void backward() {
    boundary.boundaryBackward(boundary.rotate());
  }
}
