// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.mhc.bindings.generated.mhc_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.Test;

class LifetimeTest {
  private static final HyperConnectionConfig CONFIG = HyperConnectionConfig.Preset.PAPER.config(4);

  @Test
  void closingADeviceClosesWhatWasCreatedOnIt() {
    Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
    Tensor x = device.tensor(DType.FP32, 2, 4, 8);
    Tensor h = device.tensor(DType.FP32, 2, 8);
    Parameters parameters = Parameters.initialize(device, CONFIG, 8, 1);
    HyperConnection layer = HyperConnection.create(device, CONFIG, parameters);
    layer.pre(x, h);
    Coefficients coefficients = layer.coefficients();
    MemorySegment segment = x.segment();
    assertThat(device.liveBytes()).isPositive();
    device.close();
    device.close();
    assertThat(device.isClosed()).isTrue();
    assertThat(x.isClosed()).isTrue();
    assertThat(layer.isClosed()).isTrue();
    assertThat(coefficients.preMix().isClosed()).isTrue();
    assertThatIllegalStateException().isThrownBy(() -> segment.get(ValueLayout.JAVA_FLOAT, 0));
    for (Runnable use : new Runnable[] {() -> device.tensor(DType.FP32, 1), () -> device.reserve(1), device::workspace,
        device::traffic, () -> layer.pre(x, h), () -> layer.post(x, h, x), () -> layer.coefficients(x),
        layer::coefficients, () -> HyperConnection.create(device, CONFIG, parameters), () -> Head.mean(x, h)}) {
      assertThatIllegalStateException().isThrownBy(use::run).withMessageContaining("closed");
    }
    x.close();
    layer.close();
  }

  /** A graph keeps memory that was closed; the device does not. */
  @Test
  void closingADeviceFreesWhatAGraphHolds() {
    Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
    Tensor x = device.tensor(DType.FP32, 4);
    MemorySegment memory = x.segment();
    Graph graph = Graph.capture(device, () -> {});
    x.close();
    assertThat(memory.scope().isAlive()).isTrue();
    device.close();
    assertThat(graph.isClosed()).isTrue();
    assertThat(memory.scope().isAlive()).isFalse();
    graph.close();
  }

  @Test
  void closingADeviceClosesItsCommunicator() {
    Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
    try (Device other = Device.cpu(CpuOptions.DEFAULT.withThreads(1))) {
      List<Communicator> ranks = Communicator.initAll(List.of(device, other));
      device.close();
      assertThat(ranks.get(0).isClosed()).isTrue();
      assertThatIllegalStateException().isThrownBy(ranks.get(0)::barrier).withMessageContaining("closed");
      assertThatThrownBy(ranks.get(1)::barrier).isInstanceOf(CommunicatorException.class)
          .hasMessageContaining("rank 0 has closed its communicator");
    }
  }

  @Test
  void closingALayerLeavesItsParameters() {
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1))) {
      Tensor x = device.tensor(DType.FP32, 2, 4, 8).fill(1);
      Tensor h = device.tensor(DType.FP32, 2, 8);
      Parameters parameters = Parameters.initialize(device, CONFIG, 8, 1);
      HyperConnection layer = HyperConnection.create(device, CONFIG, parameters);
      HyperConnection next = HyperConnection.create(device, CONFIG, parameters);
      layer.pre(x, h);
      next.close();
      next.close();
      assertThatIllegalStateException().isThrownBy(() -> layer.boundary(x, h, next, x, h)).withMessageContaining("closed");
      assertThatIllegalStateException().isThrownBy(() -> next.pre(x, h)).withMessageContaining("closed");
      assertThat(x.toDoubles()).containsOnly(1);
      assertThat(parameters.bias().isClosed()).isFalse();
      layer.post(x, h, x);
      parameters.close();
      assertThatIllegalStateException().isThrownBy(() -> layer.pre(x, h)).withMessageContainingAll("projection", "closed");
    }
  }

  @Test
  void stepsOutOfOrderAreRefused() {
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1))) {
      Tensor x = device.tensor(DType.FP32, 2, 4, 8).fill(1);
      Tensor h = device.tensor(DType.FP32, 2, 8).fill(1);
      Parameters parameters = Parameters.initialize(device, CONFIG, 8, 1);
      HyperConnection layer = HyperConnection.create(device, CONFIG, parameters);
      HyperConnection next = HyperConnection.create(device, CONFIG, parameters);
      assertThatIllegalStateException().isThrownBy(() -> layer.post(x, h, x)).withMessageContaining("no coefficients yet");
      assertThatIllegalStateException().isThrownBy(() -> layer.boundary(x, h, next, x, h))
          .withMessageContaining("no coefficients yet");
      assertThatIllegalStateException().isThrownBy(layer::coefficients).withMessageContaining("no coefficients yet");
      layer.pre(x, h);
      assertThatIllegalStateException().isThrownBy(() -> layer.preBackward(x, h, null, x, null))
          .withMessageContaining("no gradients of its coefficients yet");
      Tensor shorter = x.slice(0, 0, 1);
      org.assertj.core.api.Assertions.assertThatIllegalArgumentException()
          .isThrownBy(() -> layer.post(shorter, h.slice(0, 0, 1), shorter)).withMessageContainingAll("x is [1, 4, 8]", "[2, 4, 8]");
    }
  }

  /** A call on what the last one had skips its checks, but not what could have changed since. */
  @Test
  void aRepeatedCallNoticesWhatHasChanged() {
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1)); Arena arena = Arena.ofConfined()) {
      Arena own = Arena.ofConfined();
      Tensor x = device.tensor(DType.FP32, 2, 4, 8).fill(1);
      Tensor all = device.tensor(DType.FP32, 4, 8);
      Tensor h = device.tensor(DType.FP32, 2, 8);
      Tensor part = all.slice(0, 0, 2);
      Tensor wrapped = Tensor.wrap(device, DType.FP32, own.allocate(64, 64), 2, 8);
      Tensor stays = Tensor.wrap(device, DType.FP32, arena.allocate(64, 64), 2, 8);
      Parameters parameters = Parameters.initialize(device, CONFIG, 8, 1);
      HyperConnection layer = HyperConnection.create(device, CONFIG, parameters);
      for (Tensor each : new Tensor[] {h, part, wrapped, stays}) {
        layer.pre(x, each);
        layer.pre(x, each);
        double[] first = each.toDoubles();
        x.fill(2);
        layer.pre(x, each);
        assertThat(each.toDoubles()).isNotEqualTo(first);
        x.fill(1);
      }
      layer.pre(x, h);
      h.close();
      assertThatIllegalStateException().isThrownBy(() -> layer.pre(x, h)).withMessageContaining("h is closed");
      layer.pre(x, part);
      all.close();
      assertThatIllegalStateException().isThrownBy(() -> layer.pre(x, part)).withMessageContaining("h is closed");
      layer.pre(x, wrapped);
      own.close();
      assertThatIllegalStateException().isThrownBy(() -> layer.pre(x, wrapped)).withMessageContaining("arena is closed");
      layer.pre(x, stays);
      parameters.close();
      assertThatIllegalStateException().isThrownBy(() -> layer.pre(x, stays)).withMessageContaining("closed");
    }
  }

  /** The layer has coefficients for another number of tokens in between. */
  @Test
  void aRepeatedCallWritesTheCoefficientsThatTheLayerHasNow() {
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1))) {
      Tensor x = device.tensor(DType.FP32, 3, 4, 8).fill(1);
      Tensor h = device.tensor(DType.FP32, 3, 8);
      Parameters parameters = Parameters.initialize(device, CONFIG, 8, 1);
      HyperConnection layer = HyperConnection.create(device, CONFIG, parameters);
      layer.pre(x, h);
      layer.pre(x, h);
      double[] expected = layer.coefficients().resMix().toDoubles();
      layer.coefficients(device.tensor(DType.FP32, 1, 4, 8).fill(-5));
      layer.pre(x, h);
      assertThat(layer.coefficients().resMix().toDoubles()).isEqualTo(expected);
      layer.coefficients(device.tensor(DType.FP32, 3, 4, 8).fill(-5));
      layer.pre(x, h);
      assertThat(layer.coefficients().resMix().toDoubles()).isEqualTo(expected);
    }
  }

  /** A refused call, and another number of tokens, in between. */
  @Test
  void tokensMayChangeFromForwardToForward() {
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1))) {
      Parameters parameters = Parameters.initialize(device, CONFIG, 8, 1);
      HyperConnection layer = HyperConnection.create(device, CONFIG, parameters, 3);
      double[] expected = null;
      for (int tokens : new int[] {2, 5, 0, 5, 2}) {
        Tensor x = device.tensor(DType.FP32, tokens, 4, 8);
        for (int i = 0; i < tokens; i++) {
          x.slice(0, i, i + 1).fill(i + 1);
        }
        layer.pre(x, device.tensor(DType.FP32, tokens, 8));
        assertThat(layer.coefficients().tokens()).isEqualTo(tokens);
        if (tokens > 0) {
          double[] first = layer.coefficients().resMix().slice(0, 0, 1).toDoubles();
          expected = expected == null ? first : expected;
          assertThat(first).isEqualTo(expected);
        }
      }
    }
  }

  @Test
  void everythingIsGivenBack() {
    Native.library();
    long before = mhc_h.mhc_live_bytes();
    for (int i = 0; i < 20; i++) {
      try (Device device = Device.cpu()) {
        device.reserve(1 << 20);
        assertThat(device.workspace()).isGreaterThanOrEqualTo(1 << 20);
        assertThat(mhc_h.mhc_live_bytes()).isGreaterThan(before);
        Tensor x = device.tensor(DType.BF16, 3, 4, 100).fill(1);
        Tensor h = device.tensor(DType.BF16, 3, 100);
        try (Parameters parameters = Parameters.initialize(device, CONFIG, 100, i);
            HyperConnection layer = HyperConnection.create(device, CONFIG, parameters)) {
          layer.pre(x, h);
        }
        x.close();
        h.close();
        assertThat(device.liveBytes()).isZero();
      }
      assertThat(mhc_h.mhc_live_bytes()).isEqualTo(before);
    }
  }
}
