// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.CudaLibrary;
import dev.mhc.bindings.LoadFailure;
import dev.mhc.bindings.NativeLibrary;
import dev.mhc.bindings.VendorLibrary;
import dev.mhc.bindings.generated.mhc_h;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import org.jspecify.annotations.Nullable;

/** The loaded library, and what its statuses mean in Java. */
final class Native {
  static final Logger LOG = System.getLogger("dev.mhc");

  private static volatile NativeLibrary.@Nullable Loaded library;

  private Native() {}

  /** Loads libmhc unless it is loaded. */
  static NativeLibrary.Loaded library() {
    NativeLibrary.Loaded current = library;
    return current != null ? current : load();
  }

  private static synchronized NativeLibrary.Loaded load() {
    NativeLibrary.Loaded current = library;
    if (current != null) {
      return current;
    }
    var event = new LibraryLoadEvent();
    event.begin();
    try {
      current = NativeLibrary.load();
    } catch (LoadFailure e) {
      throw notLoaded(e);
    }
    event.end();
    if (event.shouldCommit()) {
      event.path = current.path().toString();
      event.source = current.source();
      event.version = current.version();
      event.commit();
    }
    LOG.log(Level.DEBUG, "libmhc {0} loaded from {1} ({2})", current.version(), current.path(), current.source());
    library = current;
    return current;
  }

  /** Has libmhc find libmhc_cuda where a jar has it; before libmhc is first asked for a GPU. */
  static void offerCuda() {
    NativeLibrary.Attempt attempt = CudaLibrary.unpack(library());
    if (attempt != null) {
      LOG.log(Level.DEBUG, "libmhc_cuda: {0}", attempt);
    }
  }

  /**
   * Loads a library of others unless it is loaded.
   *
   * @throws NativeLibraryException if it is nowhere
   */
  static void load(VendorLibrary vendor) {
    if (vendor.isLoaded()) {
      return;
    }
    var event = new LibraryLoadEvent();
    event.begin();
    VendorLibrary.Loaded current;
    try {
      current = vendor.load();
    } catch (LoadFailure e) {
      throw notLoaded(e);
    }
    event.end();
    if (event.shouldCommit()) {
      event.path = current.path().toString();
      event.source = current.source();
      event.commit();
    }
    LOG.log(Level.DEBUG, "{0} loaded from {1} ({2})", vendor, current.path(), current.source());
  }

  private static NativeLibraryException notLoaded(LoadFailure e) {
    var attempts = e.attempts().stream().map(NativeLibrary.Attempt::toString).toList();
    return new NativeLibraryException(e.getMessage(), attempts, e.fix(), e);
  }

  /** The exception for a status that is not MHC_OK, with this thread's last native message. */
  static RuntimeException failure(int status, String function, @Nullable String device) {
    return failure(status, function, device, null);
  }

  /** As above; deviceHint: what is known about a device's own error, or null. */
  static RuntimeException failure(int status, String function, @Nullable String device, @Nullable String deviceHint) {
    String message = mhc_h.mhc_last_error().getString(0);
    if (status == mhc_h.MHC_INVALID_ARGUMENT()) {
      return new IllegalArgumentException(message);
    }
    String name = mhc_h.mhc_status_name(status).getString(0);
    String hint = deviceHint;
    if (status == mhc_h.MHC_OUT_OF_MEMORY()) {
      hint = "fewer tokens a call need less workspace";
    } else if (status == mhc_h.MHC_INTERNAL()) {
      hint = "this is a bug of mhc; please report it with the message above";
    }
    return new MhcException(name + ": " + message, status, name, function, device, hint, null);
  }

  static void check(int status, String function, @Nullable String device) {
    if (status != mhc_h.MHC_OK()) {
      throw failure(status, function, device);
    }
  }
}
