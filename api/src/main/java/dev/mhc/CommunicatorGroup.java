// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What a thread has called inside {@link Communicator#group}: checked, and not yet run. */
final class CommunicatorGroup {
  private static final ThreadLocal<@Nullable CommunicatorGroup> CURRENT = new ThreadLocal<>();

  private final Map<CpuCommunicator, List<CpuCommunicator.Task>> tasks = new LinkedHashMap<>();
  private final List<CudaCommunicator.Part> parts = new ArrayList<>();

  private CommunicatorGroup() {}

  /** Takes a task into the group that this thread is in, if it is in one. */
  static boolean take(CpuCommunicator communicator, CpuCommunicator.Task task) {
    CommunicatorGroup group = CURRENT.get();
    if (group == null) {
      return false;
    }
    group.tasks.computeIfAbsent(communicator, ignored -> new ArrayList<>()).add(task);
    return true;
  }

  static boolean take(CudaCommunicator.Part part) {
    CommunicatorGroup group = CURRENT.get();
    if (group == null) {
      return false;
    }
    group.parts.add(part);
    return true;
  }

  /** Whether this thread is in a group. */
  static boolean isOpen() {
    return CURRENT.get() != null;
  }

  static void run(Runnable operations) {
    if (CURRENT.get() != null) {
      operations.run(); // a group inside a group ends with the outer one
      return;
    }
    var group = new CommunicatorGroup();
    CURRENT.set(group);
    try {
      operations.run();
    } catch (RuntimeException | Error e) {
      group.drop();
      throw e;
    } finally {
      CURRENT.remove();
    }
    group.finish();
  }

  private void drop() {
    tasks.values().forEach(each -> each.forEach(CpuCommunicator.Task::release));
    parts.forEach(CudaCommunicator.Part::release);
  }

  private void finish() {
    if (!parts.isEmpty()) {
      CudaCommunicator.launch(parts);
    }
    if (tasks.size() == 1) {
      tasks.forEach(CpuCommunicator::runAll);
      return;
    }
    var threads = new ArrayList<Thread>();
    var failures = new ArrayList<RuntimeException>();
    tasks.forEach((communicator, list) -> threads.add(Thread.ofPlatform().name("mhc-rank-" + communicator.rank())
        .start(() -> {
          try {
            communicator.runAll(list);
          } catch (RuntimeException e) {
            synchronized (failures) {
              failures.add(e);
            }
          }
        })));
    boolean interrupted = false;
    for (Thread thread : threads) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
          tasks.keySet().forEach(DeviceCommunicator::abort);
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    if (!failures.isEmpty()) {
      failures.subList(1, failures.size()).forEach(failures.get(0)::addSuppressed);
      throw failures.get(0);
    }
  }
}
