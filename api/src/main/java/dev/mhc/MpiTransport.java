// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.CommunicatorException.Reason;
import dev.mhc.bindings.generated.mpi.mpi_h;
import dev.mhc.bindings.generated.mpi.ompi_status_public_t;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Between the processes of MPI_COMM_WORLD. MPI does not say when a process ends, so each tells the others its number, and
 * is looked for while it is waited for; one that gives up or closes says so in a message of its own.
 */
final class MpiTransport implements Transport {
  private static final int LARGEST = 1 << 30; // bytes in one message of MPI, which counts in int
  private static final int NOTE_BYTES = 64;
  private static final byte ABORTED = 1;
  private static final byte CLOSED = 2;

  private static int communicators;

  private final int rank;
  private final int ranks;
  private final int dataTag;
  private final int noteTag;
  private final @Nullable String[] ended;
  private final long[] processes; // 0: on another host
  private final Arena arena = Arena.ofAuto();
  private final MemorySegment inbox = arena.allocate(NOTE_BYTES);
  private final List<Message> notesSent = new ArrayList<>();
  private @Nullable Message note;
  private volatile @Nullable String aborted;

  private MpiTransport() {
    rank = Mpi.world(false);
    ranks = Mpi.world(true);
    int number = communicators++;
    dataTag = 2 * number + 1;
    noteTag = 2 * number + 2;
    ended = new String[ranks];
    processes = new long[ranks];
  }

  /** All processes that mpirun started; each has to make its communicators in the same order. */
  static MpiTransport world() throws Failure {
    Mpi.start();
    synchronized (Mpi.class) {
      var transport = new MpiTransport();
      transport.note = transport.receive(transport.inbox, mpi_h.MPI_ANY_SOURCE(), transport.noteTag);
      return transport;
    }
  }

  @Override
  public int rank() {
    return rank;
  }

  @Override
  public int ranks() {
    return ranks;
  }

  /** What the others have to know of this process to notice its end. */
  MemorySegment introduction() {
    MemorySegment text = arena.allocate(NOTE_BYTES);
    byte[] host = host().getBytes(StandardCharsets.UTF_8);
    text.set(ValueLayout.JAVA_LONG, 0, ProcessHandle.current().pid());
    MemorySegment.copy(host, 0, text, ValueLayout.JAVA_BYTE, 8, Math.min(host.length, NOTE_BYTES - 9));
    return text;
  }

  /** Takes in what another process said of itself. */
  void introduce(int peer, MemorySegment introduction) {
    boolean here = introduction.asSlice(8).mismatch(introduction().asSlice(8)) < 0;
    processes[peer] = here ? introduction.get(ValueLayout.JAVA_LONG, 0) : 0;
  }

  private static String host() {
    try {
      return Files.readString(Path.of("/proc/sys/kernel/hostname")).strip();
    } catch (IOException e) {
      return "?";
    }
  }

  @Override
  public Pending send(MemorySegment data, int peer) throws Failure {
    var parts = new ArrayList<Message>();
    synchronized (Mpi.class) {
      for (long at = 0; at == 0 || at < data.byteSize(); at += LARGEST) {
        parts.add(sendPart(data.asSlice(at, Math.min(LARGEST, data.byteSize() - at)), peer, dataTag));
      }
    }
    return parts.size() == 1 ? parts.get(0) : all(parts);
  }

  @Override
  public Pending receive(MemorySegment data, int peer) throws Failure {
    var parts = new ArrayList<Message>();
    synchronized (Mpi.class) {
      for (long at = 0; at == 0 || at < data.byteSize(); at += LARGEST) {
        parts.add(receive(data.asSlice(at, Math.min(LARGEST, data.byteSize() - at)), peer, dataTag));
      }
    }
    return parts.size() == 1 ? parts.get(0) : all(parts);
  }

  private static Pending all(List<Message> parts) {
    return () -> {
      boolean done = true;
      for (Message part : parts) {
        done &= part.isDone();
      }
      return done;
    };
  }

  private Message sendPart(MemorySegment data, int peer, int tag) throws Failure {
    var message = new Message(-1);
    Mpi.check(mpi_h.MPI_Isend(data, (int) data.byteSize(), Mpi.Handles.BYTE, peer, tag, Mpi.Handles.WORLD, message.request),
        "MPI_Isend");
    return message;
  }

  private Message receive(MemorySegment data, int peer, int tag) throws Failure {
    var message = new Message((int) data.byteSize());
    Mpi.check(mpi_h.MPI_Irecv(data, (int) data.byteSize(), Mpi.Handles.BYTE, peer, tag, Mpi.Handles.WORLD, message.request),
        "MPI_Irecv");
    return message;
  }

  @Override
  public @Nullable String ended(int peer) {
    readNotes();
    if (ended[peer] == null && processes[peer] != 0 && peer != rank
        && ProcessHandle.of(processes[peer]).filter(ProcessHandle::isAlive).isEmpty()) {
      ended[peer] = "process " + processes[peer] + " of rank " + peer + " has ended";
    }
    return ended[peer];
  }

  @Override
  public @Nullable String aborted() {
    readNotes();
    return aborted;
  }

  private void readNotes() {
    synchronized (Mpi.class) {
      try {
        while (note != null && note.isDone()) {
          int from = inbox.get(ValueLayout.JAVA_INT, 4);
          if (inbox.get(ValueLayout.JAVA_BYTE, 0) == ABORTED) {
            aborted = "rank " + from + " has aborted";
          } else {
            ended[from] = "rank " + from + " has closed its communicator";
          }
          note = receive(inbox, mpi_h.MPI_ANY_SOURCE(), noteTag);
        }
      } catch (Failure e) {
        aborted = e.getMessage();
        note = null;
      }
    }
  }

  private void tellAll(byte what) {
    synchronized (Mpi.class) {
      MemorySegment text = arena.allocate(NOTE_BYTES);
      text.set(ValueLayout.JAVA_BYTE, 0, what);
      text.set(ValueLayout.JAVA_INT, 4, rank);
      for (int peer = 0; peer < ranks; peer++) {
        if (peer != rank && ended[peer] == null) {
          try {
            Message sent = sendPart(text, peer, noteTag);
            sent.isDone(); // gets it under way
            notesSent.add(sent);
          } catch (Failure e) {
            Native.LOG.log(System.Logger.Level.DEBUG, "rank {0} cannot be told: {1}", peer, e.getMessage());
          }
        }
      }
    }
  }

  @Override
  public boolean keepsMemory() {
    return true;
  }

  @Override
  public void abort(String why) {
    aborted = why;
    Mpi.setBroken();
    tellAll(ABORTED);
  }

  @Override
  public void close(boolean failed) {
    if (failed) {
      Mpi.setBroken();
    }
    tellAll(CLOSED);
    synchronized (Mpi.class) {
      if (note != null) {
        mpi_h.MPI_Cancel(note.request);
        mpi_h.MPI_Request_free(note.request);
        note = null;
      }
    }
  }

  /** One message of MPI. */
  private static final class Message implements Pending {
    final MemorySegment request = Arena.ofAuto().allocate(ValueLayout.ADDRESS);
    private final MemorySegment flag = Arena.ofAuto().allocate(ValueLayout.JAVA_INT);
    private final MemorySegment status = ompi_status_public_t.allocate(Arena.ofAuto());
    private final int expected;
    private boolean done;

    /** expected: bytes to receive; -1: to send. */
    Message(int expected) {
      this.expected = expected;
    }

    @Override
    public boolean isDone() throws Failure {
      if (done) {
        return true;
      }
      synchronized (Mpi.class) {
        int code = mpi_h.MPI_Test(request, flag, status);
        if (code != mpi_h.MPI_SUCCESS()) {
          String text = Mpi.text(code);
          boolean tooLong = text.contains("MPI_ERR_TRUNCATE");
          throw new Failure(tooLong ? Reason.MISMATCH : Reason.MPI, code, "MPI_Test",
              text + (tooLong ? ": more than " + expected + " bytes came" : ""));
        }
        done = flag.get(ValueLayout.JAVA_INT, 0) != 0;
        if (done && expected >= 0) {
          requireLength();
        }
      }
      return done;
    }

    private void requireLength() throws Failure {
      Mpi.check(mpi_h.MPI_Get_count(status, Mpi.Handles.BYTE, flag), "MPI_Get_count");
      int came = flag.get(ValueLayout.JAVA_INT, 0);
      if (came != expected) {
        throw new Failure(Reason.MISMATCH, 0, came + " bytes came where " + expected + " were expected");
      }
    }
  }
}
