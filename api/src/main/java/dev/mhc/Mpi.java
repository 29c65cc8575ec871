// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.CommunicatorException.Reason;
import dev.mhc.bindings.VendorLibrary;
import dev.mhc.bindings.generated.mpi.mpi_h;
import java.lang.System.Logger.Level;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Open MPI, of which this library uses messages between two processes and no more. Calls come from any thread, one at a
 * time: none of them waits.
 */
final class Mpi {
  private static final long FINALIZE_SECONDS = 10;

  private static boolean started;
  private static boolean broken;

  /** MPI_COMM_WORLD and MPI_BYTE are addresses of variables in Open MPI. */
  static final class Handles {
    static final MemorySegment WORLD = VendorLibrary.symbol("ompi_mpi_comm_world");
    static final MemorySegment BYTE = VendorLibrary.symbol("ompi_mpi_byte");
    private static final MemorySegment ERRORS_RETURN = VendorLibrary.symbol("ompi_mpi_errors_return");

    private Handles() {}
  }

  private Mpi() {}

  /** Whether mpirun or srun started this process, as one of several or alone. */
  static boolean isLaunched() {
    return System.getenv("OMPI_COMM_WORLD_SIZE") != null || System.getenv("PMIX_RANK") != null;
  }

  /**
   * Initialises MPI unless that was done; it is finalised when the process ends.
   *
   * @throws NativeLibraryException if Open MPI is not there
   */
  static synchronized void start() {
    if (started) {
      return;
    }
    Native.load(VendorLibrary.MPI);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment number = arena.allocate(ValueLayout.JAVA_INT);
      MemorySegment text = arena.allocate(mpi_h.MPI_MAX_LIBRARY_VERSION_STRING());
      require(mpi_h.MPI_Get_library_version(text, number), "MPI_Get_library_version");
      if (!text.getString(0).startsWith("Open MPI")) {
        throw new MhcException("this MPI is not Open MPI, but " + text.getString(0).lines().findFirst().orElse(""), 0,
            "MPI", "MPI_Get_library_version", null, "name Open MPI's lib folder with -Dmhc.mpi.path", null);
      }
      require(mpi_h.MPI_Initialized(number), "MPI_Initialized");
      if (number.get(ValueLayout.JAVA_INT, 0) == 0) {
        require(mpi_h.MPI_Init_thread(MemorySegment.NULL, MemorySegment.NULL, mpi_h.MPI_THREAD_SERIALIZED(), number),
            "MPI_Init_thread");
        if (number.get(ValueLayout.JAVA_INT, 0) < mpi_h.MPI_THREAD_SERIALIZED()) {
          throw new MhcException("this Open MPI supports one thread only", 0, "MPI", "MPI_Init_thread", null,
              "install one that was built with threads", null);
        }
        Runtime.getRuntime().addShutdownHook(new Thread(Mpi::finish, "mhc-mpi-finalize"));
      }
      require(mpi_h.MPI_Comm_set_errhandler(Handles.WORLD, Handles.ERRORS_RETURN), "MPI_Comm_set_errhandler");
    }
    started = true;
  }

  /** From now on the other processes are not to be waited for. */
  static synchronized void setBroken() {
    broken = true;
  }

  /** MPI_Finalize waits for all processes; one of them may never come. */
  private static void finish() {
    synchronized (Mpi.class) {
      if (broken) {
        return;
      }
    }
    Thread finalizer = Thread.ofPlatform().daemon().start(() -> {
      synchronized (Mpi.class) {
        mpi_h.MPI_Finalize();
      }
    });
    try {
      if (!finalizer.join(java.time.Duration.ofSeconds(FINALIZE_SECONDS))) {
        Native.LOG.log(Level.WARNING, "MPI_Finalize: other processes did not come within {0} s", FINALIZE_SECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** MPI's words for a code. */
  static String text(int code) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocate(mpi_h.MPI_MAX_ERROR_STRING());
      mpi_h.MPI_Error_string(code, text, arena.allocate(ValueLayout.JAVA_INT));
      return text.getString(0);
    }
  }

  static void check(int code, String function) throws Transport.Failure {
    if (code != mpi_h.MPI_SUCCESS()) {
      throw new Transport.Failure(Reason.MPI, code, function, text(code));
    }
  }

  private static void require(int code, String function) {
    if (code != mpi_h.MPI_SUCCESS()) {
      throw new MhcException("MPI: " + function + ": " + text(code), code, "MPI", function, null, Reason.MPI.hint, null);
    }
  }

  /** Rank or size of MPI_COMM_WORLD. */
  static synchronized int world(boolean size) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment number = arena.allocate(ValueLayout.JAVA_INT);
      if (size) {
        require(mpi_h.MPI_Comm_size(Handles.WORLD, number), "MPI_Comm_size");
      } else {
        require(mpi_h.MPI_Comm_rank(Handles.WORLD, number), "MPI_Comm_rank");
      }
      return number.get(ValueLayout.JAVA_INT, 0);
    }
  }
}
