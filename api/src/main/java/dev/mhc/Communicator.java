// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Ranks that compute together. Each rank calls the same operations, in the same order, with the same counts and types; an
 * operation waits for the ranks that take part in it.
 *
 * <p>On CPU devices the ranks are threads of one process ({@link #init}, {@link #initAll}), or processes that
 * {@code mpirun} or {@code srun --mpi=pmix} started ({@link #world}), through Open MPI. Results do not depend on which.
 *
 * <p>On GPUs they are NCCL's. An operation is put on the device's current {@link Stream} like any other, and done later than
 * its call returns, but that a call in which ranks first meet waits for them; sums are in NCCL's order. What goes wrong
 * meanwhile, a timeout too, ends the communicator: it is in {@link #asyncError}, and thrown by the next use;
 * {@link #barrier} waits. FP8 is combined by NCCL 2.24 or later on GPUs of compute capability 9.0 or later; elsewhere an
 * {@link NcclException} says so, and nothing has begun. It is moved everywhere. Several ranks on one GPU need NCCL 2.30 or
 * later and {@code NCCL_MULTI_RANK_GPU_ENABLE=1} in the environment.
 *
 * <p>When a rank ends, closes, aborts, calls something else or takes longer than the timeout, the others get a
 * {@link CommunicatorException}, and the communicator can no longer be used. What was being written is then undefined,
 * and memory that a tensor wraps and a process was to receive into has to stay until this process ends. A process of
 * another host that ends is noticed by the timeout alone; so is, between GPUs, a rank of another process that closes,
 * aborts or calls something else, unless NCCL notices. What else NCCL reports, of this rank's own GPU say, is an
 * {@link NcclException}; it too ends the communicator.
 *
 * <p>A communicator belongs to its device, and ends with it. Tensors are compact, and of that device. One thread at a time
 * uses a communicator, but for {@link #abort}, {@link #asyncError} and {@link #close}, which any may call at any time.
 *
 * {@snippet file="dev/mhc/examples/Ranks.java" region="ranks"}
 */
public final class Communicator implements AutoCloseable {
  final DeviceCommunicator work;
  private final Device device;

  private Communicator(DeviceCommunicator work) {
    this.work = work;
    device = work.device;
    Leaks.watch(this, "communicator of " + work, work::isClosed);
  }

  /** Names a new communicator of ranks on CPUs, for {@link #init}. */
  public static UniqueId uniqueId() {
    return UniqueId.random();
  }

  /**
   * Names a new communicator, for {@link #init}: of ranks on devices of the kind of this one.
   *
   * @throws NativeLibraryException if it is a GPU and NCCL cannot be loaded
   */
  public static UniqueId uniqueId(Device device) {
    return switch (Check.given("device", device, "a Device")) {
      case CpuDevice cpu -> UniqueId.random();
      case CudaDevice cuda -> CudaCommunicator.uniqueId(cuda);
    };
  }

  /**
   * Joins ranks of this process, on GPUs of any process; waits for all of them to join.
   *
   * @param device of this rank; several ranks on CPUs may share one; ranks that share a GPU have a Device each
   * @param id from {@link #uniqueId(Device)}, the same for all
   * @param ranks how many there are, at least 1; on CPUs 4096 at most
   * @param rank this one, 0 to ranks - 1
   * @param options how it behaves
   * @throws CommunicatorException if not all come in time
   */
  public static Communicator init(Device device, UniqueId id, int ranks, int rank, CommunicatorOptions options) {
    Check.given("device", device, "a Device");
    Check.given("id", id, "a UniqueId");
    Check.range("ranks", ranks, 1, Integer.MAX_VALUE);
    Check.range("rank", rank, 0, ranks - 1L);
    Check.given("options", options, "CommunicatorOptions");
    requireOpen(device); // or the others would wait for a rank that fails
    if (device instanceof CudaDevice cuda) {
      return new Communicator(CudaCommunicator.init(cuda, id, ranks, rank, options));
    }
    Check.range("ranks", ranks, 1, LocalTransport.MOST_RANKS);
    try {
      return new Communicator(new CpuCommunicator(device, LocalTransport.join(id, ranks, rank, options), options));
    } catch (Transport.Failure e) {
      throw new CommunicatorException(e, "", device.name());
    }
  }

  /** As {@link #initAll(List, CommunicatorOptions)}, with {@link CommunicatorOptions#DEFAULT}. */
  public static List<Communicator> initAll(List<Device> devices) {
    return initAll(devices, CommunicatorOptions.DEFAULT);
  }

  /**
   * Makes the communicators of all ranks at once, for threads of this process.
   *
   * @param devices one for each rank, all CPUs or all GPUs; the same CPU may stand more than once; 4096 CPUs at most
   * @param options how they behave
   * @return the communicators, in the order of the ranks
   */
  public static List<Communicator> initAll(List<Device> devices, CommunicatorOptions options) {
    Check.given("options", options, "CommunicatorOptions");
    Check.given("devices", devices, "a list of devices");
    Check.range("devices.size()", devices.size(), 1, Integer.MAX_VALUE);
    for (int i = 0; i < devices.size(); i++) {
      requireOpen(Check.given("devices[" + i + "]", devices.get(i), "a Device"));
    }
    if (devices.stream().anyMatch(device -> device.type() != devices.get(0).type())) {
      throw new IllegalArgumentException("devices is " + devices + "; expected devices of one kind");
    }
    if (devices.get(0) instanceof CudaDevice) {
      return held(CudaCommunicator.initGpus(devices.stream().map(CudaDevice.class::cast).toList(), options));
    }
    Check.range("devices.size()", devices.size(), 1, LocalTransport.MOST_RANKS);
    LocalTransport[] transports = LocalTransport.all(devices.size());
    var communicators = new ArrayList<DeviceCommunicator>();
    for (int rank = 0; rank < transports.length; rank++) {
      communicators.add(new CpuCommunicator(devices.get(rank), transports[rank], options));
    }
    return held(communicators);
  }

  private static List<Communicator> held(List<? extends DeviceCommunicator> all) {
    return all.stream().map(Communicator::new).toList();
  }

  /**
   * All processes that {@code mpirun} or {@code srun --mpi=pmix} started; this process alone where none did.
   *
   * @param device of this rank
   * @param options how it behaves
   * @throws NativeLibraryException if this process was started by one of them, and Open MPI cannot be loaded
   * @throws CommunicatorException if not all come in time
   */
  public static Communicator world(Device device, CommunicatorOptions options) {
    Check.given("device", device, "a Device");
    Check.given("options", options, "CommunicatorOptions");
    requireOpen(device); // or the others would wait for a rank that fails
    if (device instanceof CudaDevice cuda) {
      return gpuWorld(cuda, options);
    }
    if (!Mpi.isLaunched()) {
      return new Communicator(new CpuCommunicator(device, LocalTransport.all(1)[0], options));
    }
    try {
      MpiTransport transport = MpiTransport.world();
      var communicator = new CpuCommunicator(device, transport, options);
      communicator.introduce(transport);
      return new Communicator(communicator);
    } catch (Transport.Failure e) {
      throw new CommunicatorException(e, "", device.name());
    }
  }

  private static void requireOpen(Device device) {
    try (var _ = device.held()) {
      device.handle();
    }
  }

  /** The processes' CPUs agree on the name that their GPUs meet under. */
  private static Communicator gpuWorld(CudaDevice device, CommunicatorOptions options) {
    try (Device cpu = Device.cpu(CpuOptions.DEFAULT.withThreads(1)); Communicator world = world(cpu, options);
        Tensor bytes = cpu.tensor(DType.INT32, UniqueId.BYTES / Integer.BYTES)) {
      if (world.rank() == 0) {
        bytes.memory().copyFrom(java.lang.foreign.MemorySegment.ofArray(CudaCommunicator.uniqueId(device).bytes()));
      }
      world.broadcast(bytes, 0);
      UniqueId id = UniqueId.of(bytes.memory().toArray(java.lang.foreign.ValueLayout.JAVA_BYTE));
      return new Communicator(CudaCommunicator.init(device, id, world.ranks(), world.rank(), options));
    }
  }

  /**
   * Runs sends, receives and other operations together: none has to wait for one that comes after it. On CPUs they are done
   * when this returns; on GPUs they are put on the current stream of each rank's device. Operations of several
   * communicators, all ranks of a process say, run side by side; those of one run in order, but for sends and receives
   * that follow each other, which wait for none of each other.
   *
   * @param operations calls them; an exception from it drops them all
   * @throws CommunicatorException if the ranks cannot go on together
   */
  public static void group(Runnable operations) {
    CommunicatorGroup.run(Check.given("operations", operations, "what to run"));
  }

  /** The device of this rank. */
  public Device device() {
    return device;
  }

  /** This rank, from 0. */
  public int rank() {
    return work.rank();
  }

  /** How many ranks there are. */
  public int ranks() {
    return work.ranks();
  }

  /**
   * Combines the ranks' tensors; all get the result.
   *
   * @param src of any type but {@link DType#E8M0}
   * @param dst of the type and the number of elements of src, written; src itself or in memory of its own
   * @param op how
   */
  public void allReduce(Tensor src, Tensor dst, ReduceOp op) {
    checkOp(src, op);
    check("src", src, 0, -1);
    check("dst", dst, Types.OUT, src.elements());
    checkSame(src, dst);
    if (src.memory().address() != dst.memory().address()) {
      Operand.separate("dst", dst, "src", src);
    }
    work.startAllReduce(src, dst, op);
  }

  /**
   * Puts the ranks' tensors one behind the other; all get the result.
   *
   * @param src of any type
   * @param dst of the type of src, with {@link #ranks} times as many elements, written; in memory of its own, or src is its
   *     part of this rank
   */
  public void allGather(Tensor src, Tensor dst) {
    check("src", src, 0, -1);
    check("dst", dst, Types.OUT, src.elements() * ranks());
    checkSame(src, dst);
    if (src.memory().address() != dst.memory().address() + rank() * src.memory().byteSize()) {
      Operand.separate("dst", dst, "src", src);
    }
    work.startAllGather(src, dst);
  }

  /**
   * Combines the ranks' tensors; each gets its part of the result.
   *
   * @param src of any type but {@link DType#E8M0}, with {@link #ranks} times as many elements as dst
   * @param dst of the type of src, written; in memory of its own, or src's part of this rank
   * @param op how
   */
  public void reduceScatter(Tensor src, Tensor dst, ReduceOp op) {
    checkOp(src, op);
    check("dst", dst, Types.OUT, -1);
    check("src", src, 0, dst.elements() * ranks());
    checkSame(src, dst);
    if (dst.memory().address() != src.memory().address() + rank() * dst.memory().byteSize()) {
      Operand.separate("dst", dst, "src", src);
    }
    work.startReduceScatter(src, dst, op);
  }

  /**
   * Gives the tensor of one rank to all.
   *
   * @param tensor of any type; read on the root, written on the others
   * @param root the rank that gives
   */
  public void broadcast(Tensor tensor, int root) {
    Check.range("root", root, 0, ranks() - 1L);
    check("tensor", tensor, root == rank() ? 0 : Types.OUT, -1);
    work.startBroadcast(tensor, root);
  }

  /**
   * Sends a tensor: on a CPU, waits until it was received; on a GPU, is put on the current stream, which then does.
   *
   * @param tensor of any type
   * @param peer the rank that receives it; not this one
   */
  public void send(Tensor tensor, int peer) {
    checkPeer(peer);
    check("tensor", tensor, 0, -1);
    work.startSend(tensor, peer);
  }

  /**
   * Receives a tensor.
   *
   * @param tensor of the type and the number of elements that were sent, written
   * @param peer the rank that sends it; not this one
   */
  public void receive(Tensor tensor, int peer) {
    checkPeer(peer);
    check("tensor", tensor, Types.OUT, -1);
    work.startReceive(tensor, peer);
  }

  /** Waits until all ranks have called this. */
  public void barrier() {
    work.barrier();
  }

  /** Ends what is being waited for, on all ranks, with a {@link CommunicatorException}. From any thread. */
  public void abort() {
    work.abort();
  }

  /** Why this communicator can no longer be used, or nothing if it can. Does not wait. From any thread. */
  public Optional<MhcException> asyncError() {
    return work.asyncError();
  }

  /** Whether {@link #close} was called. */
  public boolean isClosed() {
    return work.isClosed();
  }

  /**
   * Leaves. On CPUs this does not wait, and who still waits for this rank gets an exception. On GPUs it waits until what was
   * begun is done or has timed out; a rank that waits for more from this one gets an exception at its own timeout. Does
   * nothing when closed.
   */
  @Override
  public void close() {
    work.close();
  }

  @Override
  public String toString() {
    return work.toString();
  }

  // ------------------------------------------------------------------------------------------------ checks

  /** count: of elements, -1 for any. */
  private void check(String name, Tensor tensor, int flags, long count) {
    work.requireUsable();
    try (var _ = device.held()) {
      device.handle();
      Operand.accept(name, tensor, device, Types.ANY | flags, "");
    }
    if (!tensor.isCompact()) {
      throw new IllegalArgumentException(name + " is " + tensor + "; expected row-major elements without gaps");
    }
    if (count >= 0 && tensor.elements() != count) {
      throw new IllegalArgumentException(name + " is " + tensor + "; expected " + count + " elements, on rank " + rank()
          + " of " + ranks());
    }
  }

  private static void checkSame(Tensor src, Tensor dst) {
    if (src.dtype() != dst.dtype()) {
      throw new IllegalArgumentException("dst is " + dst + "; expected the type of src, " + src.dtype());
    }
  }

  private static void checkOp(Tensor src, ReduceOp op) {
    Check.given("src", src, "a tensor");
    Check.given("op", op, "a ReduceOp");
    if (src.dtype() == DType.E8M0) {
      throw new IllegalArgumentException("src is " + src + "; expected elements that can be combined");
    }
    if (op == ReduceOp.AVERAGE && src.dtype() == DType.INT32) {
      throw new IllegalArgumentException("op is AVERAGE; expected SUM, MIN or MAX, for " + src);
    }
  }

  private void checkPeer(int peer) {
    Check.range("peer", peer, 0, ranks() - 1L);
    if (peer == rank()) {
      throw new IllegalArgumentException("peer is " + peer + ", this rank itself; expected another");
    }
  }
}
