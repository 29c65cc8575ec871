// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.CommunicatorException.Reason;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Collectives made of messages: every rank combines its part in the order of the ranks, so that all get the same bits. */
final class CpuCommunicator extends DeviceCommunicator {
  private static final int SPINS = 200;
  private static final long NAP = TimeUnit.MICROSECONDS.toNanos(50);
  private static final long LOOK = TimeUnit.MILLISECONDS.toNanos(20); // between looks at whether the others live
  private static final long GRACE = TimeUnit.MILLISECONDS.toNanos(300); // for what a rank sent before it ended

  private static final Collection<CpuCommunicator> ABANDONED = new ConcurrentLinkedQueue<>();

  private final Transport transport;
  private MemorySegment scratch = MemorySegment.NULL;
  private volatile @Nullable CommunicatorException failure;
  private volatile boolean closed;

  CpuCommunicator(Device device, Transport transport, CommunicatorOptions options) {
    super(device, options);
    this.transport = transport;
    device.add(this);
  }

  // ------------------------------------------------------------------------------------------------ tasks

  private interface Body {
    void run() throws Transport.Failure;
  }

  /** An operation whose arguments are right. Its tensors' memory stays until it is released. */
  static final class Task {
    final String name;
    private final Body body;
    private final @Nullable Point point;
    private final Tensor[] tensors;
    private boolean released;

    Task(String name, Body body, @Nullable Point point, Tensor... tensors) {
      this.name = name;
      this.body = body;
      this.point = point;
      this.tensors = tensors;
    }

    /** The transport may still write: the memory stays until the process ends. */
    void abandon() {
      released = true;
    }

    void release() {
      if (!released) {
        released = true;
        for (Tensor tensor : tensors) {
          tensor.storage().exportDone();
        }
      }
    }
  }

  /** A send or a receive. */
  private record Point(boolean sends, MemorySegment data, int peer) {}

  private void submit(Task task) {
    if (!CommunicatorGroup.take(this, task)) {
      runAll(List.of(task));
    }
  }

  /** Runs tasks in order; sends and receives that follow each other, together. */
  void runAll(List<Task> tasks) {
    try {
      for (int i = 0; i < tasks.size(); ) {
        requireUsable();
        Task task = tasks.get(i);
        int end = i + 1;
        while (task.point != null && end < tasks.size() && tasks.get(end).point != null) {
          end++;
        }
        OperationEvent event = OperationEvent.start();
        runOne(task, tasks.subList(i, end));
        OperationEvent.finish(event, task.name, device, ranks());
        i = end;
      }
    } finally {
      tasks.forEach(Task::release);
    }
  }

  private void runOne(Task task, List<Task> together) {
    try {
      if (task.point == null) {
        task.body.run();
        return;
      }
      var messages = new Messages();
      for (Task each : together) {
        Point point = each.point;
        if (point != null && point.sends) {
          messages.send(point.data, point.peer);
        } else if (point != null) {
          messages.receive(point.data, point.peer);
        }
      }
      messages.await();
    } catch (Transport.Failure e) {
      if (transport.keepsMemory()) {
        together.forEach(Task::abandon);
        ABANDONED.add(this); // with its scratch memory
      }
      throw fail(new CommunicatorException(e, "rank " + rank() + ", " + task.name + ": ", device.name()));
    } catch (RuntimeException | Error e) { // what is under way leads to memory that may go away now
      abort();
      throw e;
    }
  }

  private CommunicatorException fail(CommunicatorException e) {
    synchronized (this) {
      if (failure == null) {
        failure = e;
        transport.close(true);
      }
    }
    return e;
  }

  @Override
  void requireUsable() {
    if (closed) {
      throw new IllegalStateException("the communicator is closed");
    }
    CommunicatorException earlier = failure;
    if (earlier != null) {
      throw new CommunicatorException(earlier);
    }
    String aborted = transport.aborted();
    if (aborted != null) {
      throw fail(new CommunicatorException(Reason.ABORTED, "rank " + rank() + ": " + aborted, 0, device.name()));
    }
  }

  // ------------------------------------------------------------------------------------------------ messages

  /** Messages that are under way together. */
  private final class Messages {
    private final List<Transport.Pending> pending = new ArrayList<>();
    private final List<Integer> peers = new ArrayList<>();

    void send(MemorySegment data, int peer) throws Transport.Failure {
      if (data.byteSize() > 0) {
        pending.add(transport.send(data, peer));
        peers.add(peer);
      }
    }

    void receive(MemorySegment data, int peer) throws Transport.Failure {
      if (data.byteSize() > 0) {
        pending.add(transport.receive(data, peer));
        peers.add(peer);
      }
    }

    void await() throws Transport.Failure {
      long start = System.nanoTime();
      long looked = start;
      long missed = 0; // when a rank that is waited for was first seen to have ended
      for (int round = 0; !advance(); round++) {
        if (round < SPINS) {
          Thread.onSpinWait();
        } else {
          LockSupport.parkNanos(NAP);
        }
        long now = System.nanoTime();
        if (now - looked < LOOK) {
          continue;
        }
        looked = now;
        String ended = lookAround(now - start);
        if (ended == null) {
          missed = 0;
        } else if (missed == 0) {
          missed = now;
        } else if (now - missed > GRACE) {
          throw new Transport.Failure(Reason.RANK_ENDED, 0, ended);
        }
      }
    }

    private boolean advance() throws Transport.Failure {
      for (int i = pending.size() - 1; i >= 0; i--) {
        if (pending.get(i).isDone()) {
          pending.remove(i);
          peers.remove(i);
        }
      }
      return pending.isEmpty();
    }

    /** Why a rank that is waited for will not come, or null; throws if nobody is to wait any longer. */
    private @Nullable String lookAround(long waited) throws Transport.Failure {
      String aborted = transport.aborted();
      if (aborted != null) {
        throw new Transport.Failure(Reason.ABORTED, 0, aborted);
      }
      if (closed) {
        throw new Transport.Failure(Reason.ABORTED, 0, "this rank's communicator was closed meanwhile");
      }
      if (Thread.currentThread().isInterrupted()) {
        throw new Transport.Failure(Reason.ABORTED, 0, "the thread was interrupted");
      }
      String ended = null;
      for (int i = 0; i < peers.size() && ended == null; i++) {
        ended = transport.ended(peers.get(i));
      }
      if (ended == null && waited > options.timeout().toNanos()) {
        throw new Transport.Failure(Reason.TIMEOUT, 0, "waited " + options.timeout() + " for rank "
            + peers.stream().distinct().sorted().map(String::valueOf).collect(Collectors.joining(", ")));
      }
      return ended;
    }
  }

  // ------------------------------------------------------------------------------------------------ operations

  @Override
  void startAllReduce(Tensor src, Tensor dst, ReduceOp op) {
    DType type = src.dtype();
    long count = src.elements();
    MemorySegment from = src.segment();
    MemorySegment to = dst.segment();
    submit(task("all-reduce", () -> {
      reduceParts(type, op, from, part -> count * part / ranks(), to.asSlice(start(type, count)));
      gatherParts(to, part -> type.bytes() * (count * part / ranks()));
    }, src, dst));
  }

  private long start(DType type, long count) {
    return type.bytes() * (count * rank() / ranks());
  }

  @Override
  void startAllGather(Tensor src, Tensor dst) {
    long bytes = src.segment().byteSize();
    MemorySegment from = src.segment();
    MemorySegment own = dst.segment().asSlice(bytes * rank(), bytes);
    MemorySegment to = dst.segment();
    submit(task("all-gather", () -> {
      if (from.address() != own.address()) {
        own.copyFrom(from);
      }
      gatherParts(to, part -> bytes * part);
    }, src, dst));
  }

  @Override
  void startReduceScatter(Tensor src, Tensor dst, ReduceOp op) {
    DType type = src.dtype();
    long count = dst.elements();
    MemorySegment from = src.segment();
    MemorySegment to = dst.segment();
    submit(task("reduce-scatter", () -> reduceParts(type, op, from, part -> count * part, to), src, dst));
  }

  @Override
  void startBroadcast(Tensor tensor, int root) {
    MemorySegment data = tensor.segment();
    submit(task("broadcast", () -> {
      var messages = new Messages();
      if (root == rank()) {
        for (int peer = 0; peer < ranks(); peer++) {
          if (peer != root) {
            messages.send(data, peer);
          }
        }
      } else {
        messages.receive(data, root);
      }
      messages.await();
    }, tensor));
  }

  @Override
  void startSend(Tensor tensor, int peer) {
    submit(point("send", new Point(true, tensor.segment(), peer), tensor));
  }

  @Override
  void startReceive(Tensor tensor, int peer) {
    submit(point("receive", new Point(false, tensor.segment(), peer), tensor));
  }

  @Override
  void barrier() {
    requireUsable();
    submit(task("barrier", () -> {
      MemorySegment marks = room(ranks());
      gatherParts(marks, part -> part);
    }));
  }

  /** Tells the others which process this is. */
  void introduce(MpiTransport mpi) {
    submit(task("introduction", () -> {
      MemorySegment own = mpi.introduction();
      long bytes = own.byteSize();
      MemorySegment all = room(bytes * ranks());
      all.asSlice(bytes * rank(), bytes).copyFrom(own);
      gatherParts(all, part -> bytes * part);
      for (int peer = 0; peer < ranks(); peer++) {
        mpi.introduce(peer, all.asSlice(bytes * peer, bytes));
      }
    }));
  }

  private interface Offset {
    long of(int part);
  }

  /** Each rank's part of data goes to all others; part r lies between offset r and offset r + 1, in bytes. */
  private void gatherParts(MemorySegment data, Offset offset) throws Transport.Failure {
    var messages = new Messages();
    MemorySegment own = slice(data, offset, rank());
    for (int peer = 0; peer < ranks(); peer++) {
      if (peer != rank()) {
        messages.receive(slice(data, offset, peer), peer);
      }
    }
    for (int peer = 0; peer < ranks(); peer++) {
      if (peer != rank()) {
        messages.send(own, peer);
      }
    }
    messages.await();
  }

  private static MemorySegment slice(MemorySegment data, Offset offset, int part) {
    return data.asSlice(offset.of(part), offset.of(part + 1) - offset.of(part));
  }

  /** Combines all ranks' parts for this rank; part r lies between offset r and offset r + 1, in elements. */
  private void reduceParts(DType type, ReduceOp op, MemorySegment src, Offset offset, MemorySegment result)
      throws Transport.Failure {
    Offset bytes = part -> type.bytes() * offset.of(part);
    MemorySegment own = slice(src, bytes, rank());
    long length = own.byteSize();
    MemorySegment room = room(length * (ranks() - 1));
    var parts = new MemorySegment[ranks()];
    var messages = new Messages();
    for (int peer = 0; peer < ranks(); peer++) {
      if (peer == rank()) {
        parts[peer] = own;
      } else {
        parts[peer] = room.asSlice(length * (peer < rank() ? peer : peer - 1), length);
        messages.receive(parts[peer], peer);
      }
    }
    for (int peer = 0; peer < ranks(); peer++) {
      if (peer != rank()) {
        messages.send(slice(src, bytes, peer), peer);
      }
    }
    messages.await();
    Reduction.run(type, op, parts, result, length / type.bytes());
  }

  /** Memory of this rank's own, kept for the next time. */
  private MemorySegment room(long bytes) {
    if (scratch.byteSize() < bytes) {
      scratch = Arena.ofAuto().allocate(bytes, 64);
    }
    return scratch.asSlice(0, bytes);
  }

  // ------------------------------------------------------------------------------------------------ tasks of operations

  private Task task(String name, Body body, Tensor... tensors) {
    hold(tensors);
    return new Task(name, body, null, tensors);
  }

  private Task point(String name, Point point, Tensor tensor) {
    hold(tensor);
    return new Task(name, () -> {}, point, tensor);
  }

  private static void hold(Tensor... tensors) {
    for (Tensor tensor : tensors) {
      tensor.storage().export();
    }
  }

  // ------------------------------------------------------------------------------------------------ state

  @Override
  int rank() {
    return transport.rank();
  }

  @Override
  int ranks() {
    return transport.ranks();
  }

  @Override
  void abort() {
    if (!closed && failure == null) {
      transport.abort("rank " + rank() + " has aborted");
    }
  }

  @Override
  Optional<MhcException> asyncError() {
    CommunicatorException earlier = failure;
    if (earlier != null) {
      return Optional.of(earlier);
    }
    if (closed) {
      return Optional.empty();
    }
    String aborted = transport.aborted();
    if (aborted != null) {
      return Optional.of(new CommunicatorException(Reason.ABORTED, aborted, 0, device.name()));
    }
    for (int peer = 0; peer < ranks(); peer++) {
      String ended = peer == rank() ? null : transport.ended(peer);
      if (ended != null) {
        return Optional.of(new CommunicatorException(Reason.RANK_ENDED, ended, 0, device.name()));
      }
    }
    return Optional.empty();
  }

  @Override
  boolean isClosed() {
    return closed;
  }

  @Override
  public void close() {
    synchronized (this) {
      if (closed) {
        return;
      }
      closed = true;
      if (failure == null) {
        transport.close(false);
      }
    }
    try (var _ = device.held()) {
      device.remove(this);
    }
  }
}
