// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import org.jspecify.annotations.Nullable;

@Name("dev.mhc.Operation")
@Label("Operation")
@Category("mhc")
@Description("A native operation ran")
@StackTrace(false)
final class OperationEvent extends Event {
  /** Asked whether events are wanted, so that none has to be made to find out. */
  private static final OperationEvent PROBE = new OperationEvent();

  @Label("Operation")
  @Nullable String operation;

  @Label("Device")
  @Nullable String device;

  @Label("Rows")
  @Description("Tokens; matrices of Sinkhorn and its like; rows of FP8")
  long rows;

  @Label("Status")
  int status;

  static boolean wanted() {
    return PROBE.isEnabled();
  }

  /** Begun, or null if nobody wants events. */
  static @Nullable OperationEvent start() {
    if (!wanted()) {
      return null;
    }
    var event = new OperationEvent();
    event.begin();
    return event;
  }

  /** Ends an operation that libmhc did not run. */
  static void finish(@Nullable OperationEvent event, String operation, Device device, long rows) {
    if (event == null) {
      return;
    }
    event.end();
    if (event.shouldCommit()) {
      event.operation = operation;
      event.device = device.name();
      event.rows = rows;
      event.commit();
    }
  }
}
