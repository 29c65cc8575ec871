// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.calls;

import java.lang.foreign.MemorySegment;
import java.util.function.LongConsumer;

/** Another way to call functions of libmhc from Java. A service, which the profile "peers" adds. */
public interface Caller {
  /** Of the library that makes the calls. */
  String name();

  /** Calls {@code mhc_abi_version} so many times; a result that the header does not have ends it with an exception. */
  LongConsumer noArguments();

  /** Calls {@code mhc_boundary} with these so many times; a status other than success ends it with an exception. */
  LongConsumer boundary(MemorySegment context, MemorySegment arguments);
}
