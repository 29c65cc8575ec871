// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.CommunicatorException.Reason;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/** Between threads of a process: whoever comes second copies from the sender's memory to the receiver's. */
final class LocalTransport implements Transport {
  /** Ranks are threads: more would be none, and each pair of them has a place in a table. */
  static final int MOST_RANKS = 4096;

  private static final Map<UniqueId, Group> FORMING = new HashMap<>();

  private final Group group;
  private final int rank;

  private LocalTransport(Group group, int rank) {
    this.group = group;
    this.rank = rank;
  }

  /** Waits until all ranks are there. */
  static LocalTransport join(UniqueId id, int ranks, int rank, CommunicatorOptions options) throws Failure {
    Group group;
    synchronized (FORMING) {
      group = FORMING.computeIfAbsent(id, ignored -> new Group(ranks));
      group.enter(rank, ranks);
      if (group.isComplete()) {
        FORMING.remove(id);
        FORMING.notifyAll();
      }
      long end = System.nanoTime() + options.timeout().toNanos();
      while (!group.isComplete()) {
        long left = end - System.nanoTime();
        if (left <= 0) {
          int present = group.present();
          leave(group, id, rank);
          throw new Failure(Reason.TIMEOUT, 0, "only " + present + " of " + ranks + " ranks came within "
              + options.timeout());
        }
        try {
          TimeUnit.NANOSECONDS.timedWait(FORMING, left);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          leave(group, id, rank);
          throw new Failure(Reason.ABORTED, 0, "the thread of rank " + rank + " was interrupted");
        }
      }
    }
    return new LocalTransport(group, rank);
  }

  /** Gives up waiting; where nobody is left, the name is free again. */
  private static void leave(Group group, UniqueId id, int rank) {
    group.here.clear(rank);
    if (group.here.isEmpty()) {
      FORMING.remove(id, group);
    }
  }

  /** The transports of all ranks at once. */
  static LocalTransport[] all(int ranks) {
    var group = new Group(ranks);
    var transports = new LocalTransport[ranks];
    for (int rank = 0; rank < ranks; rank++) {
      transports[rank] = new LocalTransport(group, rank);
    }
    return transports;
  }

  @Override
  public int rank() {
    return rank;
  }

  @Override
  public int ranks() {
    return group.ranks;
  }

  @Override
  public Pending send(MemorySegment data, int peer) {
    return group.channel(rank, peer).send(data);
  }

  @Override
  public Pending receive(MemorySegment data, int peer) {
    return group.channel(peer, rank).receive(data);
  }

  @Override
  public @Nullable String ended(int peer) {
    return group.ended.get(peer);
  }

  @Override
  public @Nullable String aborted() {
    return group.aborted;
  }

  @Override
  public boolean keepsMemory() {
    return false;
  }

  @Override
  public void abort(String why) {
    group.aborted = why;
  }

  @Override
  public void close(boolean failed) {
    group.ended.compareAndSet(rank, null, "rank " + rank + " has closed its communicator");
    for (int peer = 0; peer < group.ranks; peer++) { // what is left over would lead to memory that can go away
      group.clear(rank, peer);
      group.clear(peer, rank);
    }
  }

  /** What the ranks share. */
  private static final class Group {
    final int ranks;
    final AtomicReferenceArray<@Nullable String> ended;
    volatile @Nullable String aborted;
    private final AtomicReferenceArray<@Nullable Channel> channels; // made when first used
    private final BitSet here = new BitSet();

    Group(int ranks) {
      this.ranks = ranks;
      ended = new AtomicReferenceArray<>(ranks);
      channels = new AtomicReferenceArray<>(ranks * ranks);
    }

    Channel channel(int from, int to) {
      Channel channel = channels.get(from * ranks + to);
      if (channel == null) {
        var made = new Channel();
        Channel first = channels.compareAndExchange(from * ranks + to, null, made);
        channel = first == null ? made : first;
      }
      return channel;
    }

    void clear(int from, int to) {
      Channel channel = channels.get(from * ranks + to);
      if (channel != null) {
        channel.clear();
      }
    }

    void enter(int rank, int expected) {
      if (expected != ranks) {
        throw new IllegalArgumentException("ranks is " + expected + "; expected " + ranks
            + ", as the first rank with this id had it");
      }
      if (here.get(rank)) {
        throw new IllegalArgumentException("rank is " + rank + "; expected one that is not there yet");
      }
      here.set(rank);
    }

    int present() {
      return here.cardinality();
    }

    boolean isComplete() {
      return present() == ranks;
    }
  }

  /** From one rank to another. */
  private static final class Channel {
    private final Queue<Message> sends = new ArrayDeque<>();
    private final Queue<Message> receives = new ArrayDeque<>();

    synchronized Message send(MemorySegment data) {
      var message = new Message(data);
      sends.add(message);
      match();
      return message;
    }

    synchronized Message receive(MemorySegment data) {
      var message = new Message(data);
      receives.add(message);
      match();
      return message;
    }

    synchronized void clear() {
      sends.clear();
      receives.clear();
    }

    private void match() {
      while (!sends.isEmpty() && !receives.isEmpty()) {
        Message sent = sends.remove();
        Message received = receives.remove();
        if (sent.data.byteSize() == received.data.byteSize()) {
          received.data.copyFrom(sent.data);
        } else {
          received.mismatch = sent.data.byteSize() + " bytes came where " + received.data.byteSize() + " were expected";
          sent.mismatch = sent.data.byteSize() + " bytes went where " + received.data.byteSize() + " were expected";
        }
        sent.done = true;
        received.done = true;
      }
    }
  }

  private static final class Message implements Pending {
    final MemorySegment data;
    @Nullable String mismatch;
    volatile boolean done;

    Message(MemorySegment data) {
      this.data = data;
    }

    @Override
    public boolean isDone() throws Failure {
      if (done && mismatch != null) {
        throw new Failure(Reason.MISMATCH, 0, mismatch);
      }
      return done;
    }
  }
}
