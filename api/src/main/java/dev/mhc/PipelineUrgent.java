// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * Runs operations before all else that the device could do, in their place between what this thread has put on its stream
 * and what it will. Used by the thread that runs a stage.
 */
final class PipelineUrgent {
  private final Device device;
  private final Stream stream;
  private final Event before;
  private final Event after;

  PipelineUrgent(Device device) {
    this.device = device;
    stream = Stream.unwatched(device, Stream.Priority.HIGH);
    before = Event.unwatched(device);
    after = Event.unwatched(device);
  }

  void run(Runnable operations) {
    Stream own = device.stream();
    before.record(own);
    stream.await(before);
    stream.run(operations);
    after.record(stream);
    own.await(after);
  }

  void close() {
    stream.close();
    before.close();
    after.close();
  }
}
