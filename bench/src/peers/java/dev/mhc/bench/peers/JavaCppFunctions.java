// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import dev.mhc.CpuTier;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.annotation.Cast;
import org.bytedeco.javacpp.annotation.Const;
import org.bytedeco.javacpp.annotation.Name;
import org.bytedeco.javacpp.annotation.Opaque;
import org.bytedeco.javacpp.annotation.Platform;

/** Functions of mhc.h declared to JavaCPP, whose builder writes and compiles the JNI code for them (bench/pom.xml). */
@Platform(include = "mhc/mhc.h", link = "mhc", library = "jnimhc")
final class JavaCppFunctions {
  static {
    CpuTier.available(); // has libmhc loaded; else that of the build would be, beside the one that all other calls go to
    Loader.load();
  }

  private JavaCppFunctions() {}

  /** {@code mhc_context} of the header, made elsewhere. */
  @Opaque
  @Name("mhc_context")
  static final class Context extends Pointer {
    Context(long address) {
      super((Pointer) null);
      this.address = address;
    }
  }

  /** {@code mhc_boundary_args} of the header, filled elsewhere. */
  @Opaque
  @Name("mhc_boundary_args")
  static final class BoundaryArguments extends Pointer {
    BoundaryArguments(long address) {
      super((Pointer) null);
      this.address = address;
    }
  }

  /** The header's. */
  static native int mhc_abi_version();

  /** The header's. */
  static native @Cast("mhc_status") int mhc_boundary(Context context, @Const BoundaryArguments arguments);
}
