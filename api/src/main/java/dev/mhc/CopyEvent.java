// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

@Name("dev.mhc.Copy")
@Label("Copy")
@Category("mhc")
@Description("Values were copied, converted where types differ, between a Java array and a tensor or between two tensors")
@StackTrace(false)
final class CopyEvent extends Event {
  @Label("Into Tensor")
  boolean intoTensor;

  @Label("Bytes")
  @Description("Of the tensor")
  @DataAmount
  long bytes;

  static CopyEvent start() {
    var event = new CopyEvent();
    event.begin();
    return event;
  }

  void finish(boolean into, long size) {
    end();
    if (shouldCommit()) {
      intoTensor = into;
      bytes = size;
      commit();
    }
  }
}
