// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import org.jspecify.annotations.Nullable;

@Name("dev.mhc.TensorAllocate")
@Label("Tensor Allocate")
@Category("mhc")
final class TensorAllocateEvent extends Event {
  @Label("Device")
  @Nullable String device;

  @Label("Bytes")
  @DataAmount
  long bytes;

  static void commit(Device device, long bytes) {
    var event = new TensorAllocateEvent();
    if (event.shouldCommit()) {
      event.device = device.name();
      event.bytes = bytes;
      event.commit();
    }
  }
}
