// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import dev.mhc.Device;
import dev.mhc.bench.Devices;
import dev.mhc.bench.Limits;
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

/** What the machine can do at most: every run of the suite has these, and every result is put beside them. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 2, time = 200, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 3, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public class LimitBenchmark {
  /** As an operation's. */
  @Param("0")
  public int threads;

  private Limits limits;

  /** Makes the buffers. */
  @Setup
  public void setUp() {
    try (Device device = Devices.open("cpu", threads)) {
      limits = new Limits(device.threads());
    }
  }

  /** Ends it. */
  @TearDown
  public void tearDown() {
    limits.close();
  }

  /** memcpy. */
  @Benchmark
  public long copy() {
    return limits.copy();
  }

  /** A copy past the caches. */
  @Benchmark
  public long stream() {
    return limits.stream();
  }

  /** Reads. */
  @Benchmark
  public long read() {
    return limits.read();
  }

  /** fp32 multiply-adds. */
  @Benchmark
  public long multiplyAdds() {
    return limits.multiplyAdds();
  }
}
