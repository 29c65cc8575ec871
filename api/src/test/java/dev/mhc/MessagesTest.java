// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.mhc.HyperConnectionConfig.Preset;
import org.junit.jupiter.api.Test;

/** Messages are in the words of the caller, and say a thing once. */
class MessagesTest {
  @Test
  void aLayerIsNotItsOwnNext() {
    HyperConnectionConfig config = Preset.PAPER.config(4);
    try (Device device = Device.cpu(); Parameters parameters = Parameters.initialize(device, config, 6, 1)) {
      HyperConnection layer = HyperConnection.create(device, config, parameters);
      Tensor x = device.tensor(DType.FP32, 3, 4, 6);
      Tensor f = device.tensor(DType.FP32, 3, 6);
      Tensor h = device.tensor(DType.FP32, 3, 6);
      layer.pre(x, h);
      assertThatIllegalArgumentException().isThrownBy(() -> layer.boundary(x, f, layer, x, h))
          .withMessageStartingWith("next is this layer itself; expected another");
    }
  }

  @Test
  void nativeFailuresNameTheFunctionOnce() {
    try (Device device = Device.cpu()) {
      var e = catchThrowableOfType(MhcException.class, () -> device.reserve(1L << 60));
      assertThat(e).hasMessageStartingWith("MHC_OUT_OF_MEMORY: mhc_context_reserve: bytes is 1152921504606846976");
      assertThat(e.getMessage()).containsOnlyOnce("mhc_context_reserve");
      assertThat(e.function()).isEqualTo("mhc_context_reserve");
    }
  }
}
