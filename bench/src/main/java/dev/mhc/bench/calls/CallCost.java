// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.calls;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import com.sun.management.ThreadMXBean;
import dev.mhc.CpuOptions;
import dev.mhc.CpuTier;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Gemm;
import dev.mhc.GemmConfig;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.Tensor;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.bench.BoundaryCheck;
import dev.mhc.bench.Check;
import dev.mhc.bench.Measure;
import dev.mhc.bench.Rounds;
import dev.mhc.bench.Rows;
import dev.mhc.bench.report.Comparison;
import dev.mhc.bindings.generated.mhc_h;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.SplittableRandom;
import java.util.function.LongConsumer;

/**
 * What a call costs, in turns and on the same memory: a native function that does next to nothing, and the boundary,
 * called from C, through JNI, through FFM and, for the boundary, through the Java API, and in the ways of every {@link Caller}.
 * With the bytes a call allocates.
 */
public final class CallCost {
  /** The kind of these comparisons. */
  public static final String KIND = "calls";

  private static final long WIDTH = 2048;
  private static final long PRODUCT_WIDTH = 1024;
  private static final double NANOS_AT_A_TIME = 5e6;
  private static final long WARM_UP_NANOS = 500_000_000;

  private CallCost() {}

  /** A function without arguments that returns a number. */
  public static Comparison noArguments(double seconds) {
    CpuTier.available(); // has libmhc loaded, which the bindings by themselves do not
    MemorySegment function = mhc_h.mhc_abi_version$address();
    var calls = new LinkedHashMap<String, LongConsumer>();
    calls.put("C", NoArguments::fromC);
    calls.put("FFM", NoArguments::byFfm);
    calls.put("FFM, critical", NoArguments::byCriticalFfm);
    calls.put("JNI", count -> NoArguments.byJni(function.address(), count));
    ServiceLoader.load(Caller.class).forEach(caller -> calls.put(caller.name(), caller.noArguments()));
    return measure("mhc_abi_version()", Map.of(), calls, seconds);
  }

  /** The boundary of n = 4 streams in bf16. */
  public static Comparison boundary(long tokens, int threads, double seconds) {
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(threads));
        var boundary = new BoundaryCase(device, Preset.PAPER.config(4), DType.BF16, tokens, WIDTH, 0)) {
      BoundaryCheck.forward(boundary);
      try (var raw = new RawBoundary(boundary, device.threads())) {
        var calls = new LinkedHashMap<String, LongConsumer>();
        calls.put("C", raw::fromC);
        calls.put("JNI", raw::byJni);
        ServiceLoader.load(Caller.class).forEach(caller -> calls.put(caller.name(), raw.by(caller)));
        calls.put("FFM", raw::byFfm);
        calls.put("mhc's Java API", count -> byApi(boundary, count));
        calls.forEach((name, call) -> requireSame(name, call, boundary.first()));
        var parameters = new LinkedHashMap<String, String>();
        parameters.put("tokens", String.valueOf(tokens));
        parameters.put("width", String.valueOf(WIDTH));
        parameters.put("threads", String.valueOf(device.threads()));
        return measure("boundary", parameters, calls, seconds);
      }
    }
  }

  /** The product of a {@code [tokens, 1024]} and a {@code [1024, 1024]} matrix of fp32, by OpenBLAS. */
  public static Comparison product(long tokens, int threads, double seconds) {
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(threads));
        Tensor a = Rows.random(device.tensor(DType.FP32, tokens, PRODUCT_WIDTH), new SplittableRandom(1), 1);
        Tensor b = Rows.random(device.tensor(DType.FP32, PRODUCT_WIDTH, PRODUCT_WIDTH), new SplittableRandom(2), 1);
        Tensor d = device.tensor(DType.FP32, tokens, PRODUCT_WIDTH);
        Gemm gemm = Gemm.create(device, GemmConfig.of(DType.FP32, tokens, PRODUCT_WIDTH, PRODUCT_WIDTH))) {
      gemm.run(a, b, d); // has OpenBLAS use as many threads as the device has
      float[] byApi = d.toFloats();
      var direct = new Sgemm(a, b, Check.poison(d));
      direct.run();
      if (!Arrays.equals(d.toFloats(), byApi)) {
        throw new IllegalStateException("a product through the Java API differs from OpenBLAS's");
      }
      var calls = new LinkedHashMap<String, LongConsumer>();
      calls.put("C", direct::fromC);
      calls.put("FFM", repeated(direct::run));
      calls.put("mhc's Java API", repeated(() -> gemm.run(a, b, d)));
      var parameters = new LinkedHashMap<String, String>();
      parameters.put("tokens", String.valueOf(tokens));
      parameters.put("width", String.valueOf(PRODUCT_WIDTH));
      parameters.put("dtype", DType.FP32.name());
      parameters.put("threads", String.valueOf(device.threads()));
      return measure("product by OpenBLAS", parameters, calls, seconds);
    }
  }

  private static LongConsumer repeated(Runnable call) {
    return count -> {
      for (long i = 0; i < count; i++) {
        call.run();
      }
    };
  }

  private static void byApi(BoundaryCase boundary, long count) {
    BoundaryCase.Set on = boundary.first();
    for (long i = 0; i < count; i++) {
      boundary.current().boundary(on.x(), on.f(), boundary.next(), on.xNext(), on.h());
    }
  }

  /** One call gives the bits that are in the set, which is poisoned before. */
  private static void requireSame(String name, LongConsumer call, BoundaryCase.Set on) {
    double[] xNext = on.xNext().toDoubles();
    double[] h = on.h().toDoubles();
    Check.poison(on.xNext());
    Check.poison(on.h());
    call.accept(1);
    if (!Arrays.equals(on.xNext().toDoubles(), xNext) || !Arrays.equals(on.h().toDoubles(), h)) {
      throw new IllegalStateException("a boundary called by " + name + " gives other results");
    }
  }

  private static Comparison measure(String title, Map<String, String> parameters, Map<String, LongConsumer> calls,
      double seconds) {
    LongConsumer fromC = calls.get("C");
    fromC.accept(1); // whatever the first call of a process does
    long one = 1;
    while (nanos(fromC, one) < NANOS_AT_A_TIME) {
      one *= 2;
    }
    long count = one;
    var rounds = new Rounds();
    calls.forEach((name, call) -> {
      long warm = 0;
      for (long done = 0; done < 20_000 && warm < WARM_UP_NANOS; done += count) { // compiled before anything counts
        warm += nanos(call, count);
      }
      rounds.add(name, () -> nanos(call, count));
    });
    var entries = new ArrayList<Comparison.Entry>();
    rounds.run(10, 501, seconds).forEach((name, spread) -> entries.add(new Comparison.Entry(name,
        spread.over(count).seconds(), name.equals("C") ? null : allocated(calls.get(name), count))));
    return new Comparison(KIND, title, parameters, List.copyOf(entries));
  }

  private static long nanos(LongConsumer call, long count) {
    long start = System.nanoTime();
    call.accept(count);
    return System.nanoTime() - start;
  }

  /** Bytes a call allocates, by the JVM's own counter: the least of some tries, for the compiler may still be at work. */
  public static double allocated(LongConsumer call, long count) {
    var threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    double least = Double.MAX_VALUE;
    for (int attempt = 0; attempt < 10 && least > 0; attempt++) {
      long before = threads.getCurrentThreadAllocatedBytes();
      call.accept(count);
      least = Math.min(least, (threads.getCurrentThreadAllocatedBytes() - before) / (double) count);
    }
    return least;
  }

  /** mhc_abi_version, in the ways there are without another library. */
  private static final class NoArguments {
    private static final MethodHandle REPEAT = Measure.function("mhc_repeat_no_arguments", ADDRESS, JAVA_LONG);
    private static final MethodHandle CRITICAL = critical();

    private NoArguments() {}

    @SuppressWarnings("restricted")
    private static MethodHandle critical() {
      return Linker.nativeLinker().downcallHandle(mhc_h.mhc_abi_version$address(), FunctionDescriptor.of(JAVA_INT),
          Linker.Option.critical(false));
    }

    static void fromC(long count) {
      try {
        require((int) (long) REPEAT.invokeExact(mhc_h.mhc_abi_version$address(), count));
      } catch (Throwable e) {
        throw new IllegalStateException("the loop in C failed", e);
      }
    }

    static void byFfm(long count) {
      for (long i = 0; i < count; i++) {
        require(mhc_h.mhc_abi_version());
      }
    }

    static void byCriticalFfm(long count) {
      try {
        for (long i = 0; i < count; i++) {
          require((int) CRITICAL.invokeExact());
        }
      } catch (Throwable e) {
        throw new IllegalStateException("the call failed", e);
      }
    }

    static void byJni(long function, long count) {
      for (long i = 0; i < count; i++) {
        require(Jni.noArguments(function));
      }
    }

    private static void require(int version) {
      if (version != mhc_h.MHC_ABI_VERSION()) {
        throw new IllegalStateException("version is " + version + "; expected " + mhc_h.MHC_ABI_VERSION());
      }
    }
  }
}
