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
 * <p>When a rank ends, closes, aborts, calls something else or takes longer than the timeout, the others get a
 * {@link CommunicatorException}, and the communicator can no longer be used. What was being written is then undefined,
 * and memory that a tensor wraps and a process was to receive into has to stay until this process ends. A process of another host that ends is noticed by the timeout alone.
 *
 * <p>Tensors are compact, and of the communicator's device. One thread at a time uses a communicator, but for
 * {@link #abort}, {@link #asyncError} and {@link #close}, which any may call at any time.
 *
 * {@snippet file="dev/mhc/examples/Ranks.java" region="ranks"}
 */
public abstract sealed class Communicator implements AutoCloseable permits CpuCommunicator {
  final Device device;
  final CommunicatorOptions options;

  Communicator(Device device, CommunicatorOptions options) {
    this.device = device;
    this.options = options;
  }

  /** Names a new communicator, for {@link #init}. */
  public static UniqueId uniqueId() {
    return UniqueId.random();
  }

  /**
   * Joins ranks of this process; waits for all of them to join.
   *
   * @param device of this rank; several may share one
   * @param id from {@link #uniqueId}, the same for all
   * @param ranks how many there are, at least 1
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
    try {
      return new CpuCommunicator(device, LocalTransport.join(id, ranks, rank, options), options);
    } catch (Transport.Failure e) {
      throw new CommunicatorException(e.reason, e.getMessage(), e.code, device.name());
    }
  }

  /** As {@link #initAll(List, CommunicatorOptions)}, with {@link CommunicatorOptions#DEFAULT}. */
  public static List<Communicator> initAll(List<Device> devices) {
    return initAll(devices, CommunicatorOptions.DEFAULT);
  }

  /**
   * Makes the communicators of all ranks at once, for threads of this process.
   *
   * @param devices one for each rank; the same one may stand more than once
   * @param options how they behave
   * @return the communicators, in the order of the ranks
   */
  public static List<Communicator> initAll(List<Device> devices, CommunicatorOptions options) {
    Check.given("options", options, "CommunicatorOptions");
    Check.given("devices", devices, "a list of devices");
    Check.range("devices.size()", devices.size(), 1, Integer.MAX_VALUE);
    devices.forEach(device -> Check.given("devices[i]", device, "a Device"));
    LocalTransport[] transports = LocalTransport.all(devices.size());
    var communicators = new ArrayList<Communicator>();
    for (int rank = 0; rank < transports.length; rank++) {
      communicators.add(new CpuCommunicator(devices.get(rank), transports[rank], options));
    }
    return List.copyOf(communicators);
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
    if (!Mpi.isLaunched()) {
      return new CpuCommunicator(device, LocalTransport.all(1)[0], options);
    }
    try {
      MpiTransport transport = MpiTransport.world();
      var communicator = new CpuCommunicator(device, transport, options);
      communicator.introduce(transport);
      return communicator;
    } catch (Transport.Failure e) {
      throw new CommunicatorException(e.reason, e.getMessage(), e.code, device.name());
    }
  }

  /**
   * Runs sends, receives and other operations together: none has to wait for one that comes after it. They are done when
   * this returns. Operations of several communicators, all ranks of a process say, run side by side; those of one run in
   * order, but for sends and receives that follow each other, which wait for none of each other.
   *
   * @param operations calls them; an exception from it drops them all
   */
  public static void group(Runnable operations) {
    CommunicatorGroup.run(Check.given("operations", operations, "what to run"));
  }

  /** The device of this rank. */
  public final Device device() {
    return device;
  }

  /** This rank, from 0. */
  public abstract int rank();

  /** How many ranks there are. */
  public abstract int ranks();

  /**
   * Combines the ranks' tensors; all get the result.
   *
   * @param src of any type but {@link DType#E8M0}
   * @param dst of the type and the number of elements of src, written; src itself or in memory of its own
   * @param op how
   */
  public abstract void allReduce(Tensor src, Tensor dst, ReduceOp op);

  /**
   * Puts the ranks' tensors one behind the other; all get the result.
   *
   * @param src of any type
   * @param dst of the type of src, with {@link #ranks} times as many elements, written; in memory of its own, or src is its
   *     part of this rank
   */
  public abstract void allGather(Tensor src, Tensor dst);

  /**
   * Combines the ranks' tensors; each gets its part of the result.
   *
   * @param src of any type but {@link DType#E8M0}, with {@link #ranks} times as many elements as dst
   * @param dst of the type of src, written; in memory of its own, or src's part of this rank
   * @param op how
   */
  public abstract void reduceScatter(Tensor src, Tensor dst, ReduceOp op);

  /**
   * Gives the tensor of one rank to all.
   *
   * @param tensor of any type; read on the root, written on the others
   * @param root the rank that gives
   */
  public abstract void broadcast(Tensor tensor, int root);

  /**
   * Sends a tensor, and waits until it was received.
   *
   * @param tensor of any type
   * @param peer the rank that receives it; not this one
   */
  public abstract void send(Tensor tensor, int peer);

  /**
   * Receives a tensor.
   *
   * @param tensor of the type and the number of elements that were sent, written
   * @param peer the rank that sends it; not this one
   */
  public abstract void receive(Tensor tensor, int peer);

  /** Waits until all ranks have called this. */
  public abstract void barrier();

  /** Ends what is being waited for, on all ranks, with a {@link CommunicatorException}. From any thread. */
  public abstract void abort();

  /** Why this communicator can no longer be used, or nothing if it can. Does not wait. From any thread. */
  public abstract Optional<MhcException> asyncError();

  /** Whether {@link #close} was called. */
  public abstract boolean isClosed();

  /** Leaves: who still waits for this rank gets an exception. Does not wait; does nothing when closed. */
  @Override
  public abstract void close();
}
