// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.System.Logger.Level;
import java.lang.ref.Cleaner;
import java.util.Locale;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/** Reports owners that became garbage before they were closed. It frees nothing: their segments may be in use. */
final class Leaks {
  static final String PROPERTY = "mhc.leak.detection";

  private enum Detection {
    OFF,
    SIMPLE,
    FULL
  }

  private static final Detection DETECTION = detection();
  private static final @Nullable Cleaner CLEANER = DETECTION == Detection.OFF ? null : Cleaner.create();

  private Leaks() {}

  private static Detection detection() {
    String value = System.getProperty(PROPERTY, "simple");
    for (Detection each : Detection.values()) {
      if (each.name().equalsIgnoreCase(value)) {
        return each;
      }
    }
    Native.LOG.log(Level.WARNING, "system property {0} is \"{1}\"; expected off, simple or full; taken as simple",
        PROPERTY, value);
    return Detection.SIMPLE;
  }

  /**
   * Watches an owner.
   *
   * @param owner what has to be closed
   * @param what the owner in words, for the report
   * @param closed whether it was; must not lead back to the owner
   */
  static Cleaner.@Nullable Cleanable watch(Object owner, String what, BooleanSupplier closed) {
    if (CLEANER == null) {
      return null;
    }
    Throwable site = DETECTION == Detection.FULL ? new Throwable("created here") : null;
    return CLEANER.register(owner, () -> report(what, closed, site));
  }

  private static void report(String what, BooleanSupplier closed, @Nullable Throwable site) {
    if (closed.getAsBoolean()) {
      return;
    }
    String text = "leak: " + what + " became garbage without being closed";
    if (site != null) {
      Native.LOG.log(Level.WARNING, text, site);
    } else {
      Native.LOG.log(Level.WARNING, text + "; -D" + PROPERTY + "=" + Detection.FULL.name().toLowerCase(Locale.ROOT)
          + " tells where it was created");
    }
  }
}
