// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Mode;
import java.util.Locale;

/** What is between the layers. */
enum Kind {
  /** One stream, x + F(x): what the others are compared with. */
  RESIDUAL(Mode.RESIDUAL),
  HC(Mode.HC),
  MHC(Mode.MHC),
  MHC_LITE(Mode.MHC_LITE);

  private final Mode mode;

  Kind(Mode mode) {
    this.mode = mode;
  }

  /** The paper's conventions. */
  HyperConnectionConfig config(int streams) {
    return HyperConnectionConfig.builder().streams(this == RESIDUAL ? 1 : streams).mode(mode).build();
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
