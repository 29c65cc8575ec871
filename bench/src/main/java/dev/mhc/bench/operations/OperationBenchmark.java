// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import dev.mhc.CpuTier;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.Parameters;
import dev.mhc.Tensor;
import dev.mhc.Traffic;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Devices;
import dev.mhc.bench.Rows;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
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
 * What the benchmarks of all operations share: the parameters, rows that rotate over buffers larger than the caches, and
 * results that are checked before anything is timed. A benchmark makes its tensors, checks, and says what a call costs.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 2, time = 200, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(value = 3, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
public abstract class OperationBenchmark {
  private static final long ROTATED_BYTES = 256L << 20;
  private static final int MOST_SETS = 1 << 15;

  /** Where it runs. */
  @Param("cpu")
  public String device = "cpu";

  /** Threads of the CPU; 0: all. */
  @Param("0")
  public int threads;

  /** T. */
  @Param("2048")
  public int tokens = 2048;

  /** n. */
  @Param("4")
  public int streams = 4;

  /** C. */
  @Param("2560")
  public int width = 2560;

  /** Of the rows. */
  @Param("BF16")
  public DType dtype = DType.BF16;

  /** What it runs on. */
  protected Device on;

  /** The paper's conventions. */
  protected HyperConnectionConfig config;

  private final List<AutoCloseable> owned = new ArrayList<>();
  private final SplittableRandom random = new SplittableRandom(1);
  private long rotated = ROTATED_BYTES;
  private int sets;
  private int turn;
  private Traffic counted;

  /** Sets parameters by their names, as JMH does; those that are not given stay as they are. */
  public void set(Map<String, String> values) {
    device = values.getOrDefault("device", device);
    threads = Integer.parseInt(values.getOrDefault("threads", String.valueOf(threads)));
    tokens = Integer.parseInt(values.getOrDefault("tokens", String.valueOf(tokens)));
    streams = Integer.parseInt(values.getOrDefault("streams", String.valueOf(streams)));
    width = Integer.parseInt(values.getOrDefault("width", String.valueOf(width)));
    dtype = DType.valueOf(values.getOrDefault("dtype", dtype.name()));
  }

  /** Makes the tensors. */
  protected abstract void make();

  /** Compares results with a plain rendering in double precision. */
  protected abstract void check();

  /** What one call of a benchmark method of this class has to move and to compute. */
  public abstract Cost cost(String method);

  /** Has one set of rows alone, which will be found in the caches. */
  public final void inCaches() {
    rotated = 0;
  }

  /** Opens the device, makes the tensors and checks the results. */
  @Setup
  public void setUp() {
    setUp(Devices.open(device, threads));
  }

  /** As {@link #setUp()}, on a device that this then owns. */
  public final void setUp(Device opened) {
    on = opened;
    config = Preset.PAPER.config(streams);
    make();
    check();
    counted = null;
  }

  /** Ends it. */
  @TearDown
  public void tearDown() throws Exception {
    for (AutoCloseable each : owned.reversed()) {
      each.close();
    }
    on.close();
  }

  // ------------------------------------------------------------------------------------------------ for subclasses

  /** Has something closed at the end. */
  protected final <T extends AutoCloseable> T own(T resource) {
    owned.add(resource);
    return resource;
  }

  /** Makes as many sets of rows as are larger than the caches, of so many elements a token each. */
  protected final void rotate(double elementsPerToken, DType type) {
    double bytes = elementsPerToken * tokens * type.bytes();
    sets = (int) Math.max(1, Math.min(MOST_SETS, Math.ceil(rotated / bytes)));
  }

  /** Bytes that the sets have at least. */
  protected final long rotated() {
    return rotated;
  }

  /** The next set. */
  protected final int turn() {
    turn = turn + 1 < sets ? turn + 1 : 0;
    return turn;
  }

  /** Random normal values: for each set a tensor of this shape. */
  protected final Tensor[] inputs(DType type, long... shape) {
    return split(Rows.random(all(type, shape), random, 1), shape[0]);
  }

  /** For each set a tensor of this shape, to be written. */
  protected final Tensor[] outputs(DType type, long... shape) {
    return split(Check.poison(all(type, shape)), shape[0]);
  }

  /** A single random tensor that does not rotate. */
  protected final Tensor input(DType type, double deviation, long... shape) {
    return Rows.random(own(on.tensor(type, shape)), random, deviation);
  }

  /** A single tensor to be written that does not rotate. */
  protected final Tensor output(DType type, long... shape) {
    return Check.poison(own(on.tensor(type, shape)));
  }

  /** A layer's parameters, with gates wide open: coefficients that depend on x. */
  protected final Parameters parameters() {
    return parameters(1);
  }

  /** The same of another layer. */
  protected final Parameters parameters(long seed) {
    Parameters made = own(Parameters.initialize(on, config, width, seed));
    made.scale().fill(1);
    return made;
  }

  private Tensor all(DType type, long[] shape) {
    long[] dims = shape.clone();
    dims[0] *= sets;
    return own(on.tensor(type, dims));
  }

  private Tensor[] split(Tensor all, long rows) {
    var parts = new Tensor[sets];
    for (int i = 0; i < sets; i++) {
      parts[i] = all.slice(0, i * rows, (i + 1) * rows);
    }
    return parts;
  }

  /** A cost by rows, and multiply-adds for each channel of a token. */
  protected final Cost rows(double read, double written, double multiplyAdds) {
    double rows = (double) tokens * width;
    return new Cost(read * rows * dtype.bytes(), written * rows * dtype.bytes(), 0, 0, multiplyAdds * rows);
  }

  /** A cost by fp32 values for each token. */
  protected final Cost values(double read, double written, double multiplyAdds) {
    return new Cost(0, 0, 4 * read * tokens, 4 * written * tokens, multiplyAdds * tokens);
  }

  // ------------------------------------------------------------------------------------------------ counting

  /** To be called after each of the operations that a benchmark method consists of, if it is more than one. */
  protected final void ended() {
    if (on.tier() == CpuTier.COUNTING) {
      Traffic last = on.traffic();
      counted = counted == null ? last : new Traffic(counted.rowBytesRead() + last.rowBytesRead(),
          counted.rowBytesWritten() + last.rowBytesWritten(),
          counted.coefficientBytesRead() + last.coefficientBytesRead(),
          counted.coefficientBytesWritten() + last.coefficientBytesWritten(),
          counted.parameterBytesRead() + last.parameterBytesRead(),
          counted.parameterBytesWritten() + last.parameterBytesWritten(), last.scratchBytes());
    }
  }

  /** What a benchmark method moved, on a device that counts. */
  public final Traffic count(Runnable method) {
    counted = null;
    method.run();
    if (counted == null) {
      ended();
    }
    return counted;
  }
}
