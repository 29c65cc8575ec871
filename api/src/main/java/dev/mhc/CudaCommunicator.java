// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.CommunicatorException.Reason;
import dev.mhc.bindings.generated.nccl.ncclUniqueId;
import dev.mhc.bindings.generated.nccl.nccl_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/**
 * NCCL. Collectives run on a stream of the communicator's own, which waits for the caller's current stream and which that then
 * waits for. {@link NcclWatch} looks after what is under way: an error that NCCL reports, or a rank that does not come in time,
 * ends the communicator, and with it what waits for it.
 */
final class CudaCommunicator extends DeviceCommunicator {
  /** Those of this process, by name: NCCL does not tell a rank that another has given up. */
  private static final ConcurrentMap<UniqueId, Set<CudaCommunicator>> LOCAL = new ConcurrentHashMap<>();

  private static final int FIRST_WITH_FP8 = 22400; // of NCCL
  private static final int FIRST_GPU_WITH_FP8 = 90; // compute capability

  private final CudaDevice gpu;
  private final UniqueId id;
  private final MemorySegment handle;
  private final int rank;
  private final int ranks;
  private final CudaStream stream;
  private final Deque<UnderWay> underWay = new ArrayDeque<>(); // guarded by itself
  private @Nullable Tensor mark; // what a barrier combines
  private volatile @Nullable MhcException failure;
  private volatile boolean closed;
  private boolean released;

  /** Collectives that are begun together. What they wait for on the GPU is recorded once NCCL has taken them. */
  private record UnderWay(String name, CudaEvent done, long begun) {
    boolean isDone() {
      return done.isRecorded() && done.isDone();
    }
  }

  /** One collective, not yet begun. Its tensors' memory stays until it is. */
  record Part(CudaCommunicator communicator, String name, Start start, Tensor... tensors) {
    void release() {
      for (Tensor tensor : tensors) {
        tensor.storage().exportDone();
      }
    }
  }

  interface Start {
    int call(MemorySegment communicator, MemorySegment stream);
  }

  CudaCommunicator(CudaDevice gpu, UniqueId id, MemorySegment handle, int rank, int ranks, CommunicatorOptions options) {
    super(gpu, options);
    this.gpu = gpu;
    this.id = id;
    this.handle = handle;
    this.rank = rank;
    this.ranks = ranks;
    stream = gpu.newStream(Stream.Priority.HIGH);
    gpu.add(this);
    for (CudaCommunicator other : meet()) {
      gpu.admit(other.gpu);
      other.gpu.admit(gpu);
    }
    NcclWatch.add(this);
  }

  // ------------------------------------------------------------------------------------------------ making

  static UniqueId uniqueId(CudaDevice device) {
    Nccl.load();
    return device.call(() -> {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment id = ncclUniqueId.allocate(arena);
        Nccl.check(nccl_h.ncclGetUniqueId(id), "ncclGetUniqueId", device.name());
        return UniqueId.of(id.toArray(ValueLayout.JAVA_BYTE));
      }
    });
  }

  /** The handle of a rank; waits for the others unless it is in a group, whose end then does. */
  private static MemorySegment join(CudaDevice device, UniqueId id, int ranks, int rank, MemorySegment result) {
    Cuda.check(dev.mhc.bindings.generated.cudart.cudart_h.cudaSetDevice(device.index()), "cudaSetDevice", device.name());
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = ncclUniqueId.allocate(arena);
      name.copyFrom(MemorySegment.ofArray(id.bytes()));
      Nccl.check(nccl_h.ncclCommInitRank(result, ranks, name, rank), "ncclCommInitRank", device.name());
    }
    return result;
  }

  static CudaCommunicator init(CudaDevice device, UniqueId id, int ranks, int rank, CommunicatorOptions options) {
    Nccl.load();
    if (id.isOfCpu()) {
      throw new IllegalArgumentException("id is " + id + ", for ranks on CPUs; expected one from Communicator.uniqueId(device)");
    }
    MemorySegment result = Arena.ofAuto().allocate(ValueLayout.ADDRESS);
    var joining = new NcclWatch.Joining(() -> join(device, id, ranks, rank, result),
        () -> nccl_h.ncclCommAbort(result.get(ValueLayout.ADDRESS, 0)));
    if (!joining.await(options.timeout())) {
      throw new CommunicatorException(Reason.TIMEOUT, "rank " + rank + ": waited " + options.timeout()
          + " for " + ranks + " ranks to join", 0, device.name());
    }
    return new CudaCommunicator(device, id, result.get(ValueLayout.ADDRESS, 0), rank, ranks, options);
  }

  static List<CudaCommunicator> initGpus(List<CudaDevice> devices, CommunicatorOptions options) {
    if (new LinkedHashSet<>(devices).size() < devices.size()) {
      throw new IllegalArgumentException("devices is " + devices + ", one of them twice; expected a Device of its own for each"
          + " rank: ranks that share a GPU call Device.cuda for it once each");
    }
    UniqueId id = uniqueId(devices.get(0));
    MemorySegment handles = Arena.ofAuto().allocate(ValueLayout.ADDRESS, devices.size());
    group(() -> {
      for (int rank = 0; rank < devices.size(); rank++) {
        join(devices.get(rank), id, devices.size(), rank, handles.asSlice(8L * rank, 8));
      }
    }, devices.get(0).name());
    var communicators = new ArrayList<CudaCommunicator>();
    for (int rank = 0; rank < devices.size(); rank++) {
      communicators.add(new CudaCommunicator(devices.get(rank), id, handles.getAtIndex(ValueLayout.ADDRESS, rank), rank,
          devices.size(), options));
    }
    return List.copyOf(communicators);
  }

  private static void group(Runnable calls, String device) {
    Nccl.check(Nccl.groupStart(), "ncclGroupStart", device);
    int code;
    try {
      calls.run();
    } catch (RuntimeException | Error e) {
      Nccl.spoilGroup();
      throw e;
    } finally {
      code = Nccl.groupEnd();
    }
    Nccl.check(code, "ncclGroupEnd", device);
  }

  // ------------------------------------------------------------------------------------------------ collectives

  private void submit(String name, Start start, Tensor... tensors) {
    for (Tensor tensor : tensors) {
      tensor.storage().export();
    }
    var part = new Part(this, name, start, tensors);
    if (!CommunicatorGroup.take(part)) {
      launch(List.of(part));
    }
  }

  /** Begins collectives, those of a stream side by side. NCCL waits for other ranks when they first meet, under the watch. */
  static void launch(List<Part> parts) {
    var begun = new LinkedHashMap<CudaCommunicator, @Nullable UnderWay>();
    parts.forEach(part -> begun.put(part.communicator, null));
    try {
      for (CudaCommunicator each : begun.keySet()) {
        each.requireUsable();
        each.gpu.call(() -> {
          each.gpu.requireNotCapturing("a collective cannot be begun");
          each.stream.follow(each.gpu.currentStream());
          return null;
        });
      }
      begun.replaceAll((each, none) -> each.register(
          parts.stream().filter(part -> part.communicator == each).map(Part::name).distinct().toList().toString()));
      group(() -> parts.forEach(CudaCommunicator::begin), parts.get(0).communicator.gpu.name());
      begun.forEach(CudaCommunicator::begun);
    } catch (NcclException e) {
      begun.forEach(CudaCommunicator::forget);
      begun.keySet().forEach(each -> each.fail(e));
      MhcException first = parts.get(0).communicator.failure; // it may be the watch that ended the call
      throw first == null ? e : first;
    } catch (RuntimeException | Error e) {
      begun.forEach(CudaCommunicator::forget);
      throw e;
    } finally {
      parts.forEach(Part::release);
    }
  }

  private UnderWay register(String name) {
    return gpu.call(() -> {
      var made = new UnderWay(name, new CudaEvent(gpu, false), System.nanoTime());
      synchronized (underWay) {
        underWay.add(made);
      }
      return made;
    });
  }

  private void begun(@Nullable UnderWay made) {
    gpu.call(() -> {
      if (made != null) {
        stream.record(made.done);
      }
      gpu.currentStream().follow(stream);
      return null;
    });
  }

  private void forget(@Nullable UnderWay made) {
    if (made != null) {
      synchronized (underWay) {
        underWay.remove(made);
      }
      made.done.close();
    }
  }

  /** Of elements that are combined. */
  private static int type(DType type) {
    return switch (type) {
      case FP32 -> nccl_h.ncclFloat32();
      case BF16 -> nccl_h.ncclBfloat16();
      case FP16 -> nccl_h.ncclFloat16();
      case FP8_E4M3 -> nccl_h.ncclFloat8e4m3();
      case INT32 -> nccl_h.ncclInt32();
      case E8M0 -> nccl_h.ncclUint8();
    };
  }

  /** Of elements that are moved as they are: every NCCL moves bytes. */
  private static int movedType(DType type) {
    return type == DType.FP8_E4M3 ? nccl_h.ncclUint8() : type(type);
  }

  /** FP8 is not combined everywhere. Where NCCL itself refuses, the communicator has ended. */
  private void requireSums(Tensor src, String function) {
    if (src.dtype() != DType.FP8_E4M3) {
      return;
    }
    int version = Nccl.version();
    boolean old = version < FIRST_WITH_FP8;
    if (old || gpu.computeCapability() < FIRST_GPU_WITH_FP8) {
      throw new NcclException(nccl_h.ncclInvalidArgument(), "ncclInvalidArgument", old ? "NCCL " + Nccl.text(version)
          + " does not combine FP8, which came with 2.24" : "NCCL combines FP8 from compute capability 9.0, and this GPU's is "
          + gpu.computeCapability() / 10 + "." + gpu.computeCapability() % 10, function, gpu.name(),
          old ? "install a newer NCCL, or combine BF16 or FP16" : "combine BF16 or FP16");
    }
  }

  private static int op(ReduceOp op) {
    return switch (op) {
      case SUM -> nccl_h.ncclSum();
      case AVERAGE -> nccl_h.ncclAvg();
      case MIN -> nccl_h.ncclMin();
      case MAX -> nccl_h.ncclMax();
    };
  }

  @Override
  void startAllReduce(Tensor src, Tensor dst, ReduceOp op) {
    requireSums(src, "ncclAllReduce");
    submit("all-reduce", (comm, on) -> nccl_h.ncclAllReduce(src.memory(), dst.memory(), src.elements(), type(src.dtype()), op(op),
        comm, on), src, dst);
  }

  @Override
  void startAllGather(Tensor src, Tensor dst) {
    submit("all-gather", (comm, on) -> nccl_h.ncclAllGather(src.memory(), dst.memory(), src.elements(), movedType(src.dtype()),
        comm, on), src, dst);
  }

  @Override
  void startReduceScatter(Tensor src, Tensor dst, ReduceOp op) {
    requireSums(src, "ncclReduceScatter");
    submit("reduce-scatter", (comm, on) -> nccl_h.ncclReduceScatter(src.memory(), dst.memory(), dst.elements(),
        type(src.dtype()), op(op), comm, on), src, dst);
  }

  @Override
  void startBroadcast(Tensor tensor, int root) {
    submit("broadcast", (comm, on) -> nccl_h.ncclBroadcast(tensor.memory(), tensor.memory(), tensor.elements(),
        movedType(tensor.dtype()), root, comm, on), tensor);
  }

  @Override
  void startSend(Tensor tensor, int peer) {
    submit("send", (comm, on) -> nccl_h.ncclSend(tensor.memory(), tensor.elements(), movedType(tensor.dtype()), peer, comm, on),
        tensor);
  }

  @Override
  void startReceive(Tensor tensor, int peer) {
    submit("receive", (comm, on) -> nccl_h.ncclRecv(tensor.memory(), tensor.elements(), movedType(tensor.dtype()), peer, comm,
        on), tensor);
  }

  @Override
  void barrier() {
    requireUsable();
    Tensor marked = mark;
    if (marked == null) {
      marked = Tensor.allocate(gpu, DType.INT32, new long[] {1}, false);
      mark = marked;
    }
    startAllReduce(marked, marked, ReduceOp.MAX);
    if (!CommunicatorGroup.isOpen()) {
      stream.synchronize();
      requireUsable();
    }
  }

  // ------------------------------------------------------------------------------------------------ state

  /** Looks after what is under way; whether to look again. Called by one thread. */
  boolean watch() {
    if (closed || gpu.isClosed()) {
      return false;
    }
    if (failure != null) { // another thread's doing
      endFailed();
      return false;
    }
    try {
      String late = gpu.call(this::look);
      if (late != null) {
        fail(new CommunicatorException(Reason.TIMEOUT, "rank " + rank + ", " + late + ": waited " + options.timeout()
            + " for the other ranks", 0, gpu.name()));
      }
    } catch (MhcException e) {
      fail(e);
    } catch (IllegalStateException e) {
      return false; // the device was closed meanwhile
    }
    return failure == null;
  }

  /** What is late, or null. Throws what NCCL reports. */
  private @Nullable String look() {
    if (released) {
      return null;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_INT);
      Nccl.check(nccl_h.ncclCommGetAsyncError(handle, result), "ncclCommGetAsyncError", gpu.name());
      int code = result.get(ValueLayout.JAVA_INT, 0);
      if (code != nccl_h.ncclInProgress()) {
        Nccl.check(code, "a collective of rank " + rank, gpu.name());
      }
    }
    synchronized (underWay) {
      while (!underWay.isEmpty()) {
        UnderWay oldest = underWay.peek();
        if (!oldest.isDone()) {
          return System.nanoTime() - oldest.begun > options.timeout().toNanos() ? oldest.name : null;
        }
        oldest.done.close();
        underWay.remove();
      }
    }
    return null;
  }

  /** Ends the communicator for a reason, once: what waits for it on the GPU goes on. The others of this process are told first. */
  private void fail(MhcException cause) {
    MhcException e = cause instanceof NcclException nccl && nccl.code() == nccl_h.ncclRemoteError()
        ? new CommunicatorException(Reason.RANK_ENDED, "rank " + rank + ": " + nccl.getMessage(), nccl.code(), gpu.name(), nccl)
        : cause;
    if (!mark(e)) {
      if (failure != null) { // the watch may be shut out by who waits for what this ends
        endFailed();
      }
      return;
    }
    boolean aborted = e instanceof CommunicatorException known && known.reason() == Reason.ABORTED;
    String words = (aborted ? "" : "rank " + rank + " has failed: ") + e.getMessage().lines().findFirst().orElse("");
    for (CudaCommunicator other : leave()) {
      other.mark(new CommunicatorException(aborted ? Reason.ABORTED : Reason.RANK_ENDED, "rank " + other.rank + ": " + words, 0,
          other.gpu.name())); // the watch does the rest
    }
    endFailed();
  }

  private synchronized boolean mark(MhcException e) {
    if (failure != null || closed) {
      return false;
    }
    failure = e;
    return true;
  }

  private void endFailed() {
    try (var _ = gpu.held()) {
      release();
    }
  }

  /** The others of this process so far, of which this is one from now on. */
  private Set<CudaCommunicator> meet() {
    Set<CudaCommunicator> all = LOCAL.computeIfAbsent(id, any -> ConcurrentHashMap.newKeySet());
    all.add(this);
    return all;
  }

  /** The others of this process, of which this is one no longer. */
  private Set<CudaCommunicator> leave() {
    Set<CudaCommunicator> others = LOCAL.computeIfPresent(id, (any, all) -> {
      all.remove(this);
      return all.isEmpty() ? null : all;
    });
    return others == null ? Set.of() : Set.copyOf(others);
  }

  /** A communicator that has failed is aborted, so that nothing of it is waited for. */
  private void release() {
    if (!released) {
      released = true;
      int code = failure == null ? nccl_h.ncclCommDestroy(handle) : nccl_h.ncclCommAbort(handle);
      if (code != nccl_h.ncclSuccess()) {
        Native.LOG.log(System.Logger.Level.WARNING, "{0}", Nccl.failure(code, "ncclCommDestroy", gpu.name()).getMessage());
      }
    }
  }

  @Override
  void requireUsable() {
    if (closed || gpu.isClosed()) {
      throw new IllegalStateException("the communicator is closed");
    }
    MhcException earlier = failure;
    if (earlier instanceof CommunicatorException first) {
      throw new CommunicatorException(first);
    }
    if (earlier != null) {
      throw earlier;
    }
  }

  @Override
  int rank() {
    return rank;
  }

  @Override
  int ranks() {
    return ranks;
  }

  @Override
  void abort() {
    if (!closed) {
      fail(new CommunicatorException(Reason.ABORTED, "rank " + rank + " has aborted", 0, gpu.name()));
    }
  }

  @Override
  Optional<MhcException> asyncError() {
    if (!closed) {
      watch();
    }
    return Optional.ofNullable(failure);
  }

  @Override
  boolean isClosed() {
    return closed || gpu.isClosed();
  }

  /** Waits for what is under way, unless the communicator has failed. */
  @Override
  public void close() {
    if (closed || gpu.isClosed()) {
      return;
    }
    drain();
    try (var _ = gpu.held()) {
      if (closed) {
        return;
      }
      closed = true;
      leave();
      gpu.remove(this);
      release();
      synchronized (underWay) {
        underWay.forEach(each -> each.done.close());
        underWay.clear();
      }
      if (mark != null) {
        mark.close();
      }
      stream.close();
    }
  }

  /** Waits for what is under way; without blocking, since a device that is being closed is locked, and the watch shut out. */
  private void drain() {
    try {
      while (watch() && !stream.isDone()) {
        Thread.sleep(1);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      fail(new CommunicatorException(Reason.ABORTED, "the thread was interrupted", 0, gpu.name()));
    } catch (CudaException e) {
      fail(e);
    }
  }

  /** In a group: calls NCCL. */
  private void begin(Start start, String name) {
    gpu.call(() -> {
      requireUsable();
      Nccl.check(start.call(handle, stream.handle()), name, gpu.name());
      return null;
    });
  }

  static void begin(Part part) {
    part.communicator.begin(part.start, part.name);
  }
}
