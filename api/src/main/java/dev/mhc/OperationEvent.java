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
}
