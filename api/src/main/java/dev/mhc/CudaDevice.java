// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.NativeMemory;
import dev.mhc.bindings.generated.cudart.cudaMemAccessDesc;
import dev.mhc.bindings.generated.cudart.cudaMemLocation;
import dev.mhc.bindings.generated.cudart.cudaMemPoolProps;
import dev.mhc.bindings.generated.cudart.cudart_h;
import dev.mhc.bindings.generated.mhc_context_options;
import dev.mhc.bindings.generated.mhc_h;
import java.lang.System.Logger.Level;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.IntSupplier;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A GPU: a stream to begin with, a memory pool, and what the GPU is. Tensors are in its memory; operations are put on the
 * current {@link Stream} and done later than the call returns. An error of an earlier operation may come up in a later call;
 * after one that breaks the process's use of the GPU every call fails with it, and closing still works.
 *
 * <p>Closing a tensor waits for nothing, and nothing waits for it: its memory is used again after what is on the device's
 * streams then.
 */
public final class CudaDevice extends Device {
  /** How libmhc_cuda names an error: {@code cudaErrorX (7): text}. */
  private static final Pattern ERROR = Pattern.compile("cudaError\\w+ \\((\\d+)\\)");

  /** Freed memory that the pool keeps for the next tensor: all. */
  private static final long KEEP_ALL = -1;

  private static final int BUS_ID_BYTES = 32;

  /**
   * A GPU's memory, in bytes.
   *
   * @param free that nobody uses
   * @param total that there is
   * @param tensors that tensors of this device use
   */
  public record MemoryInfo(long free, long total, long tensors) {}

  private final CudaStream first;
  private final CudaStream frees; // frees alone, so that what they come after holds up nobody
  private final MemorySegment pool;
  private final List<MemorySegment> captured = new ArrayList<>(); // contexts of streams that are gone and that graphs use
  private final Stream firstStream;
  private final Set<Integer> admitted = new HashSet<>(); // GPUs that have been let into the pool, or cannot be
  private final int multiprocessors;
  private final int computeCapability;
  private final long l2Bytes;
  private final int sharedBytes;
  private final String pciBusId;
  private @Nullable CublasLt cublas;
  private @Nullable CublasHandle cublasHandle;
  private boolean lacksCublas;
  private @Nullable Capture capture;
  private boolean broken;

  private CudaDevice(MemorySegment context, MemorySegment stream, MemorySegment freeing, MemorySegment pool) {
    super(context);
    this.pool = pool;
    first = new CudaStream(this, stream, context, false);
    firstStream = new Stream(first, Stream.Priority.NORMAL);
    frees = new CudaStream(this, freeing, context, false);
    multiprocessors = attribute(index(), cudart_h.cudaDevAttrMultiProcessorCount());
    computeCapability = 10 * attribute(index(), cudart_h.cudaDevAttrComputeCapabilityMajor())
        + attribute(index(), cudart_h.cudaDevAttrComputeCapabilityMinor());
    l2Bytes = attribute(index(), cudart_h.cudaDevAttrL2CacheSize());
    sharedBytes = attribute(index(), cudart_h.cudaDevAttrMaxSharedMemoryPerBlockOptin());
    pciBusId = busId(index());
  }

  static CudaDevice create(int index) {
    MemorySegment context = newContext(index);
    MemorySegment pool = MemorySegment.NULL;
    var streams = new ArrayList<MemorySegment>();
    try {
      String device = "cuda:" + index;
      Cuda.check(cudart_h.cudaSetDevice(index), "cudaSetDevice", device);
      requirePools(index, device);
      pool = newPool(index, device);
      streams.add(newHandle(Stream.Priority.NORMAL, device));
      streams.add(newHandle(Stream.Priority.NORMAL, device));
      return new CudaDevice(context, streams.get(0), streams.get(1), pool);
    } catch (RuntimeException | Error e) {
      streams.forEach(cudart_h::cudaStreamDestroy);
      if (pool.address() != 0) {
        cudart_h.cudaMemPoolDestroy(pool);
      }
      mhc_h.mhc_context_destroy(context);
      throw e;
    }
  }

  private static MemorySegment newContext(int index) {
    Native.offerCuda();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment block = arena.allocate(mhc_context_options.layout());
      mhc_context_options.struct_size(block, block.byteSize());
      MemorySegment device = mhc_context_options.device(block);
      dev.mhc.bindings.generated.mhc_device.device_type(device, DeviceType.CUDA.code);
      dev.mhc.bindings.generated.mhc_device.device_id(device, index);
      MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
      Native.check(mhc_h.mhc_context_create(block, result), "mhc_context_create", "cuda:" + index);
      return result.get(ValueLayout.ADDRESS, 0);
    }
  }

  private static MemorySegment newPool(int index, String device) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment properties = arena.allocate(cudaMemPoolProps.layout());
      cudaMemPoolProps.allocType(properties, cudart_h.cudaMemAllocationTypePinned());
      at(cudaMemPoolProps.location(properties), index);
      MemorySegment pool = Cuda.pointer("cudaMemPoolCreate", device,
          result -> cudart_h.cudaMemPoolCreate(result, properties));
      MemorySegment threshold = arena.allocateFrom(ValueLayout.JAVA_LONG, KEEP_ALL);
      Cuda.check(cudart_h.cudaMemPoolSetAttribute(pool, cudart_h.cudaMemPoolAttrReleaseThreshold(), threshold),
          "cudaMemPoolSetAttribute", device);
      return pool;
    }
  }

  private static MemorySegment newHandle(Stream.Priority priority, String device) {
    int level = 0;
    if (priority == Stream.Priority.HIGH) {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment range = arena.allocate(ValueLayout.JAVA_INT, 2);
        Cuda.check(cudart_h.cudaDeviceGetStreamPriorityRange(range, range.asSlice(4)), "cudaDeviceGetStreamPriorityRange",
            device);
        level = range.get(ValueLayout.JAVA_INT, 4);
      }
    }
    int chosen = level;
    return Cuda.pointer("cudaStreamCreateWithPriority", device,
        result -> cudart_h.cudaStreamCreateWithPriority(result, cudart_h.cudaStreamNonBlocking(), chosen));
  }

  private static int attribute(int index, int which) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_INT);
      Cuda.check(cudart_h.cudaDeviceGetAttribute(result, which, index), "cudaDeviceGetAttribute", "cuda:" + index);
      return result.get(ValueLayout.JAVA_INT, 0);
    }
  }

  private static String busId(int index) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocate(BUS_ID_BYTES);
      Cuda.check(cudart_h.cudaDeviceGetPCIBusId(text, BUS_ID_BYTES, index), "cudaDeviceGetPCIBusId", "cuda:" + index);
      return text.getString(0);
    }
  }

  private static void requirePools(int index, String device) {
    if (attribute(index, cudart_h.cudaDevAttrMemoryPoolsSupported()) == 0) {
      throw new MhcException("MHC_UNSUPPORTED: " + device + " has no memory pools, which tensors come from",
          mhc_h.MHC_UNSUPPORTED(), "MHC_UNSUPPORTED", null, device, "some virtual GPUs and old drivers have none: give the"
          + " machine a whole GPU or a newer driver, or use Device.cpu()", null);
    }
  }

  // ------------------------------------------------------------------------------------------------ what it is

  /** Its streaming multiprocessors. */
  public int multiprocessors() {
    return multiprocessors;
  }

  /** Its compute capability, times ten: 90 for Hopper. */
  public int computeCapability() {
    return computeCapability;
  }

  /** Bytes of its second-level cache. */
  public long l2Bytes() {
    return l2Bytes;
  }

  /** Bytes of shared memory that a block of a kernel may ask for. */
  public int sharedBytesPerBlock() {
    return sharedBytes;
  }

  /** Where it is on the PCI bus, as nvidia-smi writes it: {@code 0000:18:00.0}. */
  public String pciBusId() {
    return pciBusId;
  }

  /** The newest CUDA that the driver supports, such as {@code 13.0}. */
  public String driverVersion() {
    return Cuda.version(Cuda.driverVersion());
  }

  /** The version of the CUDA runtime that was loaded, such as {@code 13.0}. */
  public String runtimeVersion() {
    return Cuda.version(Cuda.runtimeVersion());
  }

  /** Its memory at this moment. */
  public MemoryInfo memory() {
    return call(() -> {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment values = arena.allocate(ValueLayout.JAVA_LONG, 3);
        Cuda.check(cudart_h.cudaMemGetInfo(values, values.asSlice(8)), "cudaMemGetInfo", name());
        Cuda.check(cudart_h.cudaMemPoolGetAttribute(pool, cudart_h.cudaMemPoolAttrUsedMemCurrent(), values.asSlice(16)),
            "cudaMemPoolGetAttribute", name());
        return new MemoryInfo(values.getAtIndex(ValueLayout.JAVA_LONG, 0), values.getAtIndex(ValueLayout.JAVA_LONG, 1),
            values.getAtIndex(ValueLayout.JAVA_LONG, 2));
      }
    });
  }

  /** Gives memory that no tensor uses back to the GPU. Waits until all work of this device is done. */
  public void trim() {
    synchronize();
    call(() -> {
      Cuda.check(cudart_h.cudaMemPoolTrimTo(pool, 0), "cudaMemPoolTrimTo", name());
      return null;
    });
  }

  /**
   * A tensor of a CPU device, of zeros, in page-locked memory: this GPU copies to and from it without the CPU's help, so that
   * {@link Tensor#copyFromAsync} really does not wait.
   *
   * @param cpu whose tensor it is
   * @param type of its elements
   * @param shape its dimensions, each at least 0
   */
  public Tensor pinned(Device cpu, DType type, long... shape) {
    if (!Check.given("cpu", cpu, "a Device").isHost()) {
      throw new IllegalArgumentException("cpu is " + cpu + "; expected a CPU device");
    }
    return Tensor.allocate(cpu, type, shape, bytes -> {
      MemorySegment start = call(() -> Cuda.pointer("cudaHostAlloc", name(),
          result -> cudart_h.cudaHostAlloc(result, Math.max(1, bytes), cudart_h.cudaHostAllocPortable())));
      MemorySegment data = NativeMemory.at(start.address(), bytes);
      data.fill((byte) 0);
      return new Storage.Memory(data, () -> Cuda.check(cudart_h.cudaFreeHost(start), "cudaFreeHost", name()));
    });
  }

  // ------------------------------------------------------------------------------------------------ streams

  @Override
  Stream first() {
    return firstStream;
  }

  @Override
  public void synchronize() {
    for (Child child : call(() -> {
      requireNotCapturing("a device cannot be waited for");
      return children();
    })) {
      if (child instanceof CudaStream stream && !stream.isClosed()) {
        stream.synchronize();
      }
    }
    first.synchronize();
    frees.synchronize();
  }

  CudaStream newStream(Stream.Priority priority) {
    return call(() -> {
      MemorySegment context = newContext(index());
      try {
        return new CudaStream(this, newHandle(priority, name()), context, true);
      } catch (RuntimeException | Error e) {
        destroyContext(context);
        throw e;
      }
    });
  }

  /** Of this thread. Call with the lock held. */
  CudaStream currentStream() {
    super.handle(); // open
    return (CudaStream) stream().work;
  }

  /** Before something is put on the current stream that uses workspace of others. Call with the lock held. */
  void takeTurn(Turns turns) {
    call(() -> {
      turns.take(currentStream());
      return null;
    });
  }

  @Override
  void requireNotCapturing(String what) {
    if (capture != null) { // by this thread: it holds the lock all the time
      throw new IllegalStateException(what + " while a graph is captured");
    }
  }

  @Override
  boolean isCapturing() {
    return capture != null;
  }

  /** Call with the lock held, as the next. */
  Capture beginCapture(CudaStream stream) {
    Capture begun = new Capture(stream);
    capture = begun;
    return begun;
  }

  void endCapture(Capture ended) {
    capture = null;
    ended.end();
  }

  @Override
  MemorySegment handle() {
    return currentStream().context();
  }

  @Override
  long streamAddress() {
    return currentStream().handle().address();
  }

  // ------------------------------------------------------------------------------------------------ calls

  /** Runs native calls with the lock held and this device current. */
  <T extends @Nullable Object> T call(Supplier<T> calls) {
    lock.lock();
    try {
      super.handle(); // open
      enter();
      return calls.get();
    } catch (CudaException e) {
      broken |= Cuda.isSticky(e.code());
      throw e;
    } finally {
      lock.unlock();
    }
  }

  private void enter() {
    Cuda.check(cudart_h.cudaSetDevice(index()), "cudaSetDevice", name());
  }

  /** libmhc_cuda says in words what the GPU said; whether it stays, the runtime knows. */
  @Override
  RuntimeException failure(int status, String function) {
    if (status != mhc_h.MHC_DEVICE_ERROR()) {
      return super.failure(status, function);
    }
    Matcher said = ERROR.matcher(mhc_h.mhc_last_error().getString(0));
    int code = said.find() ? Integer.parseInt(said.group(1)) : cudart_h.cudaSuccess();
    int now = cudart_h.cudaStreamQuery(first.handle());
    if (Cuda.isSticky(now)) {
      broken = true;
      code = now;
    }
    return Native.failure(status, function, name(), CudaHint.of(code));
  }

  /** A call that blocks, without the lock: others may go on meanwhile. */
  void waitFor(IntSupplier wait, String function) {
    int code = wait.getAsInt();
    if (code != cudart_h.cudaSuccess()) {
      try (var _ = held()) {
        broken |= Cuda.isSticky(code);
      }
      throw Cuda.failure(code, function, name());
    }
  }

  /** A call that gives something back: where it fails, nobody can do anything about it. Call with the lock held. */
  void giveBack(String function, IntSupplier call) {
    if (broken) {
      return; // what is on the GPU goes with the process
    }
    cudart_h.cudaSetDevice(index());
    try {
      Cuda.check(call.getAsInt(), function, name());
    } catch (CudaException e) {
      broken |= Cuda.isSticky(e.code());
      Native.LOG.log(Level.WARNING, "{0}", e.getMessage());
    }
  }

  /** Whether nothing can be done with the GPU any more. */
  boolean isBroken() {
    return broken;
  }

  /** Of a stream that ends; with the device, if graphs use its workspace. */
  void giveBackContext(MemorySegment context, boolean isCaptured) {
    if (isCaptured) {
      captured.add(context);
    } else {
      destroyContext(context);
    }
  }

  private void destroyContext(MemorySegment context) {
    Native.check(mhc_h.mhc_context_destroy(context), "mhc_context_destroy", name());
  }

  /** cuBLASLt for this device, loaded when it is first asked for. Call with the lock held. */
  CublasLt cublas() {
    CublasLt made = cublas;
    if (made == null) {
      made = new CublasLt(name());
      cublas = made;
    }
    return made;
  }

  /** cuBLAS likewise; null where it is missing. Call with this device current. */
  @Nullable CublasHandle cublasHandle() {
    if (cublasHandle == null && !lacksCublas) {
      try {
        cublasHandle = new CublasHandle(name());
      } catch (NativeLibraryException e) {
        lacksCublas = true;
        Native.LOG.log(Level.INFO, "products of lists are computed one by one: {0}", e.getMessage());
      }
    }
    return cublasHandle;
  }

  /** Whether it has been looked for and is missing. */
  boolean lacksCublas() {
    return lacksCublas;
  }

  // ------------------------------------------------------------------------------------------------ memory

  @Override
  boolean isHost() {
    return false;
  }

  @Override
  Storage.Memory allocate(long bytes) {
    return call(() -> {
      requireNotCapturing("tensors cannot be made");
      if (bytes == 0) {
        return new Storage.Memory(MemorySegment.NULL, () -> {});
      }
      CudaStream stream = currentStream();
      MemorySegment start = Cuda.pointer("cudaMallocFromPoolAsync", name(),
          result -> cudart_h.cudaMallocFromPoolAsync(result, bytes, pool, stream.handle()));
      MemorySegment data = NativeMemory.at(start.address(), bytes);
      zero(data);
      return new Storage.Memory(data, () -> free(start));
    });
  }

  /**
   * Lets another GPU read and write this one's tensors without a copy through the host, where the two can; memory of a pool is
   * its own GPU's alone otherwise, for NCCL too, which reads and writes the tensors of ranks in one process directly.
   */
  void admit(CudaDevice peer) {
    call(() -> {
      if (peer.index() != index() && admitted.add(peer.index()) && canBeReached(peer.index())) {
        try (Arena arena = Arena.ofConfined()) {
          MemorySegment access = arena.allocate(cudaMemAccessDesc.layout());
          at(cudaMemAccessDesc.location(access), peer.index());
          cudaMemAccessDesc.flags(access, cudart_h.cudaMemAccessFlagsProtReadWrite());
          Cuda.check(cudart_h.cudaMemPoolSetAccess(pool, access, 1), "cudaMemPoolSetAccess", name());
        } catch (CudaException e) { // copies go the long way
          Native.LOG.log(Level.WARNING, "{0}", e.getMessage());
        }
      }
      return null;
    });
  }

  private boolean canBeReached(int peer) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_INT);
      Cuda.check(cudart_h.cudaDeviceCanAccessPeer(result, peer, index()), "cudaDeviceCanAccessPeer", name());
      return result.get(ValueLayout.JAVA_INT, 0) != 0;
    }
  }

  private static void at(MemorySegment location, int index) {
    cudaMemLocation.type(location, cudart_h.cudaMemLocationTypeDevice());
    cudaMemLocation.id(location, index);
  }

  /** In the current stream. */
  void zero(MemorySegment data) {
    call(() -> {
      Cuda.check(cudart_h.cudaMemsetAsync(data, 0, data.byteSize(), currentStream().handle()), "cudaMemsetAsync", name());
      return null;
    });
  }

  /** After all that is on the streams of this device now. Called with the lock held. */
  private void free(MemorySegment start) {
    giveBack("cudaFreeAsync", () -> {
      frees.follow(first);
      for (Child child : children()) {
        if (child instanceof CudaStream stream) {
          frees.follow(stream);
        }
      }
      return cudart_h.cudaFreeAsync(start, frees.handle());
    });
  }

  /** In the current stream. Call with the lock held. */
  void copy(MemorySegment from, MemorySegment to) {
    if (to.byteSize() > 0) {
      Cuda.check(cudart_h.cudaMemcpyAsync(to, from, to.byteSize(), cudart_h.cudaMemcpyDefault(), currentStream().handle()),
          "cudaMemcpyAsync", name());
    }
  }

  private void copyAndWait(MemorySegment from, MemorySegment to) {
    CudaStream stream = call(() -> {
      requireNotCapturing("values of a tensor cannot be read or written");
      copy(from, to);
      return currentStream();
    });
    stream.synchronize();
  }

  @Override
  void download(MemorySegment from, MemorySegment to) {
    copyAndWait(from, to);
  }

  @Override
  void upload(MemorySegment from, MemorySegment to) {
    copyAndWait(from, to);
  }

  @Override
  void release() {
    first.release();
    frees.release();
    captured.forEach(this::destroyContext);
    giveBack("cudaMemPoolDestroy", () -> cudart_h.cudaMemPoolDestroy(pool));
    if (cublasHandle != null) {
      cublasHandle.close();
    }
    if (cublas != null) {
      cublas.close();
    }
  }
}
