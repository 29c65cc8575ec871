// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_h;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Set;

/** Vector code of the CPU backend. Results are the same up to the rounding of sums, whichever runs. */
public enum CpuTier {
  /** The best one that this CPU can run. */
  AUTO,
  /** Portable code, as the compiler vectorises it. */
  PLAIN,
  /** ARM NEON. */
  NEON,
  /** AVX2 and FMA. */
  AVX2,
  /** AVX-512 (F, BW, DQ, VL). */
  AVX512,
  /** AVX-512 with its bfloat16 instructions. */
  AVX512_BF16,
  /** Plain code on one thread that counts what it moves: see {@link Device#traffic()}. */
  COUNTING;

  /** The tiers that are built into the library and that this CPU can run; {@link #AUTO} is not among them. */
  public static Set<CpuTier> available() {
    Native.library();
    int bits = mhc_h.mhc_cpu_tiers();
    var tiers = EnumSet.noneOf(CpuTier.class);
    for (CpuTier tier : values()) {
      if (tier != AUTO && (bits >>> tier.ordinal() & 1) != 0) {
        tiers.add(tier);
      }
    }
    return Collections.unmodifiableSet(tiers);
  }

  static CpuTier of(int number) {
    return values()[number];
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
