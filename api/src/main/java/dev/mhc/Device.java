// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_context_info;
import dev.mhc.bindings.generated.mhc_h;
import dev.mhc.bindings.generated.mhc_traffic;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Where operations run: native threads, or a GPU, and workspace. Tensors and layers belong to one device; operands of an
 * operation all belong to the same one.
 *
 * <p>Thread-safe. On a CPU one operation runs at a time; further callers wait for it. On a GPU operations are put on a
 * {@link Stream} and done there in order, later than the call returns; reading a tensor's values waits for what comes before.
 * {@link #close()} waits too, and closes what was created on the device, the last first.
 *
 * {@snippet file="dev/mhc/examples/FirstLayer.java" region="device"}
 */
public abstract sealed class Device implements AutoCloseable permits CpuDevice, CudaDevice {
  /** What this thread has made for something that is not yet whole; null where it makes none. */
  private static final ThreadLocal<@Nullable List<Child>> MAKING = new ThreadLocal<>();

  /** Held while an operation's arguments are set and while it runs, and while anything of this device is closed. */
  final ReentrantLock lock = new ReentrantLock();

  private final Held held = lock::unlock;

  /** Where this device's operations go, other than to its first stream. */
  final CurrentStream current = new CurrentStream();

  /** How often anything of this device has been closed. Guarded by the lock. */
  long closings;

  private final Context context;
  private final LinkedHashSet<Child> children = new LinkedHashSet<>();
  private final AtomicReferenceArray<@Nullable Call> calls = new AtomicReferenceArray<>(Operation.values().length);
  private final MemorySegment sizeResult = Arena.ofAuto().allocate(ValueLayout.JAVA_LONG);
  private final DeviceType type;
  private final int index;
  private final int threads;
  private final CpuTier tier;
  private final String name;

  /** Ends the holding of the lock. */
  interface Held extends AutoCloseable {
    @Override
    void close();
  }

  /** Takes over a native context. */
  Device(MemorySegment handle) {
    context = new Context(handle);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment info = arena.allocate(mhc_context_info.layout());
      mhc_context_info.struct_size(info, info.byteSize());
      Native.check(mhc_h.mhc_context_get_info(handle, info), "mhc_context_get_info", null);
      MemorySegment device = mhc_context_info.device(info);
      type = DeviceType.of(dev.mhc.bindings.generated.mhc_device.device_type(device));
      index = dev.mhc.bindings.generated.mhc_device.device_id(device);
      threads = mhc_context_info.threads(info);
      tier = CpuTier.of(mhc_context_info.cpu_tier(info));
      name = mhc_context_info.name(info).getString(0);
    } catch (RuntimeException e) {
      context.destroy();
      throw e;
    }
    Context watched = context;
    Leaks.watch(this, "device " + name, () -> watched.closed);
  }

  /**
   * The best device there is: the first GPU if it can be used, else the CPU with all threads that the process may use. Why a
   * GPU cannot be used is logged.
   *
   * @throws NativeLibraryException if libmhc cannot be loaded
   */
  public static Device best() {
    if (count(DeviceType.CUDA) > 0) {
      try {
        return cuda(0);
      } catch (MhcException e) {
        Native.LOG.log(System.Logger.Level.INFO, "the GPU is not used: {0}", e.getMessage());
      }
    }
    return cpu();
  }

  /**
   * How many devices of a kind libmhc can use: 1 for the CPU; for CUDA 0 where there is no GPU, no driver, or no
   * libmhc_cuda. {@link #cuda} and the doctor say why.
   *
   * @throws NativeLibraryException if libmhc cannot be loaded
   */
  public static int count(DeviceType type) {
    Check.given("type", type, "a DeviceType");
    if (type == DeviceType.CUDA) {
      Native.offerCuda();
    }
    Native.library();
    return mhc_h.mhc_device_count(type.code);
  }

  /**
   * A CPU device with {@link CpuOptions#DEFAULT}.
   *
   * @throws NativeLibraryException if libmhc cannot be loaded
   */
  public static Device cpu() {
    return cpu(CpuOptions.DEFAULT);
  }

  /**
   * A CPU device.
   *
   * @param options threads and vector code
   * @throws NativeLibraryException if libmhc cannot be loaded
   * @throws MhcException if this CPU cannot run the tier asked for
   */
  public static Device cpu(CpuOptions options) {
    return CpuDevice.create(Check.given("options", options, "a CpuOptions"));
  }

  /**
   * A GPU. Each call makes a device with a stream, workspace and memory pool of its own.
   *
   * @param index which GPU, at least 0
   * @throws NativeLibraryException if the CUDA runtime or libmhc cannot be found
   * @throws CudaException if there is no driver, or no GPU
   * @throws IllegalArgumentException if there are fewer GPUs
   * @throws MhcException if libmhc has no CUDA backend, or none for this GPU
   */
  public static CudaDevice cuda(int index) {
    Check.range("index", index, 0, Long.MAX_VALUE);
    Check.range("index", index, 0, Cuda.deviceCount() - 1L);
    return CudaDevice.create(index);
  }

  /** What kind of device this is. */
  public final DeviceType type() {
    return type;
  }

  /** Which of the devices of its kind; 0 for the CPU. */
  public final int index() {
    return index;
  }

  /** The device in words. */
  public final String name() {
    return name;
  }

  /** Native threads that share an operation; 0 on a GPU. */
  public final int threads() {
    return threads;
  }

  /** The vector code that runs; {@link CpuTier#AUTO} on a GPU alone, which has none. */
  public final CpuTier tier() {
    return tier;
  }

  /**
   * Grows the workspace to at least this many bytes; it never shrinks. Operations do this by themselves when they meet
   * a larger shape than before, so this only moves the cost to a better moment. On a GPU each stream has its own; this is
   * about that of {@link #stream}.
   *
   * @param bytes at least 0
   * @throws MhcException if there is not so much memory
   */
  public final void reserve(long bytes) {
    Check.range("bytes", bytes, 0, Long.MAX_VALUE);
    try (var _ = held()) {
      long now = workspace();
      if (bytes > now) {
        requireNotCapturing("the workspace cannot grow");
        Native.check(mhc_h.mhc_context_reserve(handle(), bytes), "mhc_context_reserve", name);
      }
    }
  }

  /** Bytes of workspace at this moment; on a GPU, of the current stream. */
  public final long workspace() {
    try (var _ = held(); Arena arena = Arena.ofConfined()) {
      MemorySegment info = arena.allocate(mhc_context_info.layout());
      mhc_context_info.struct_size(info, info.byteSize());
      Native.check(mhc_h.mhc_context_get_info(handle(), info), "mhc_context_get_info", name);
      return mhc_context_info.workspace(info);
    }
  }

  /** Bytes of the tensors and layers that are open on this device, and of those exported that are still in use. */
  public final long liveBytes() {
    try (var _ = held()) {
      return children.stream().mapToLong(Child::ownedBytes).sum();
    }
  }

  /**
   * What the last operation moved; all zero unless the tier is {@link CpuTier#COUNTING}.
   */
  public final Traffic traffic() {
    try (var _ = held(); Arena arena = Arena.ofConfined()) {
      MemorySegment t = arena.allocate(mhc_traffic.layout());
      mhc_traffic.struct_size(t, t.byteSize());
      Native.check(mhc_h.mhc_context_get_traffic(handle(), t), "mhc_context_get_traffic", name);
      return new Traffic(mhc_traffic.row_bytes_read(t), mhc_traffic.row_bytes_written(t),
          mhc_traffic.coefficient_bytes_read(t), mhc_traffic.coefficient_bytes_written(t),
          mhc_traffic.parameter_bytes_read(t), mhc_traffic.parameter_bytes_written(t), mhc_traffic.scratch_bytes(t));
    }
  }

  /**
   * A new tensor of zeros in memory of its own, compact and row-major, aligned to 64 bytes.
   *
   * @param type of its elements
   * @param shape its dimensions, each at least 0
   */
  public final Tensor tensor(DType type, long... shape) {
    return Tensor.allocate(this, type, shape, true);
  }

  /** Whether {@link #close()} was called. */
  public final boolean isClosed() {
    return context.closed;
  }

  /** Closes everything that was created on this device, the last first, then the device. Does nothing when closed. */
  @Override
  public final void close() {
    try (var _ = held()) {
      if (context.closed) {
        return;
      }
      requireNotCapturing("a device cannot be closed");
      RuntimeException first = null;
      for (Child child : children.reversed().toArray(Child[]::new)) {
        try {
          child.close();
        } catch (RuntimeException e) {
          if (first == null) {
            first = e;
          }
        }
      }
      if (first != null) {
        throw first;
      }
      release();
      context.destroy();
    }
  }

  @Override
  public final String toString() {
    return name + (context.closed ? " (closed)" : "");
  }

  /** The native context. Call with the lock held. */
  MemorySegment handle() {
    if (context.closed) {
      throw new IllegalStateException("device " + name + " is closed");
    }
    return context.handle;
  }

  /** The exception for a status of this device's context that is not MHC_OK. Call with the lock held. */
  RuntimeException failure(int status, String function) {
    return Native.failure(status, function, name);
  }

  /** The stream that this thread's operations on this device go to: see {@link Stream#run}. */
  public final Stream stream() {
    return current.or(first());
  }

  /** The stream that it has to begin with. */
  abstract Stream first();

  /** Waits until everything that was begun on this device is done. On a CPU it always is. */
  public abstract void synchronize();

  /** Throws while what this thread puts on its stream is captured. */
  void requireNotCapturing(String what) {}

  /** Whether this thread captures what it puts on its streams. Call with the lock held. */
  boolean isCapturing() {
    return false;
  }

  /** Whether its memory is the host's. */
  abstract boolean isHost();

  /** The native address of the current stream; 0 on a CPU. Call with the lock held. */
  abstract long streamAddress();

  /** Memory that is zero, aligned to 64 bytes or more. */
  abstract Storage.Memory allocate(long bytes);

  /** Copies to the host, and waits for it. */
  abstract void download(MemorySegment from, MemorySegment to);

  /** Copies from the host, and waits until the host's memory may change. */
  abstract void upload(MemorySegment from, MemorySegment to);

  /** Gives back what is not a child. Call with the lock held, when all children are closed. */
  abstract void release();

  /** This device's argument block for an operation that no layer has prepared. */
  final Call call(Operation operation) {
    Call call = calls.get(operation.ordinal());
    if (call == null) {
      calls.compareAndSet(operation.ordinal(), null, new Call(this, operation));
      call = calls.get(operation.ordinal());
    }
    return call;
  }

  /** Grows the workspace to what an operation needs with these arguments. Call with the lock held. */
  final void reserveFor(Operation operation, MemorySegment arguments) {
    requireNotCapturing("an operation's workspace cannot grow (run it once before, or call Device.reserve)");
    Native.check(mhc_h.mhc_workspace_size(handle(), operation.number(), arguments, sizeResult), "mhc_workspace_size", name);
    long bytes = sizeResult.get(ValueLayout.JAVA_LONG, 0);
    Native.check(mhc_h.mhc_context_reserve(handle(), bytes), "mhc_context_reserve", name);
  }

  /** Makes something of several children; where that fails, those that it has made by then are closed. */
  static <T> T whole(Supplier<T> make) {
    List<Child> outer = MAKING.get();
    var made = new ArrayList<Child>();
    MAKING.set(made);
    try {
      T result = make.get();
      if (outer != null) {
        outer.addAll(made);
      }
      return result;
    } catch (RuntimeException | Error e) {
      made.reversed().forEach(Child::close);
      throw e;
    } finally {
      MAKING.set(outer);
    }
  }

  /** Takes the lock, for a try statement to give back. */
  final Held held() {
    lock.lock();
    return held;
  }

  final void add(Child child) {
    try (var _ = held()) {
      handle();
      children.add(child);
      List<Child> made = MAKING.get();
      if (made != null) {
        made.add(child);
      }
    }
  }

  /** Call with the lock held. */
  final void remove(Child child) {
    children.remove(child);
  }

  /** What is open on this device. Call with the lock held. */
  final List<Child> children() {
    return List.copyOf(children);
  }

  /** The native context and whether it is destroyed: all that the leak report has to know. */
  private static final class Context {
    final MemorySegment handle;
    volatile boolean closed;

    Context(MemorySegment handle) {
      this.handle = handle;
    }

    void destroy() {
      Native.check(mhc_h.mhc_context_destroy(handle), "mhc_context_destroy", null);
      closed = true;
    }
  }
}
