// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Streams, events and graphs: the same program on a CPU and on a GPU. */
class StreamsTest {
  private Device device;

  @BeforeEach
  void open() {
    device = TestDevice.open();
  }

  @AfterEach
  void close() {
    if (device != null) { // else there is nothing to run on
      device.close();
    }
  }

  /** A stream that does not wait for the other may see what was there before; one that waits never does. */
  @Test
  void streamsWaitForEvents() {
    try (Stream first = Stream.create(device); Stream second = Stream.create(device, Stream.Priority.HIGH)) {
      assertThat(second.priority()).isEqualTo(Stream.Priority.HIGH);
      Tensor source = device.tensor(DType.FP32, 500);
      Tensor middle = device.tensor(DType.FP32, 500);
      Tensor target = device.tensor(DType.FP32, 500);
      device.synchronize();
      for (int round = 1; round <= 20; round++) {
        int value = round;
        first.run(() -> {
          assertThat(device.stream()).isSameAs(first);
          source.fill(value);
          middle.copyFrom(source);
        });
        try (Event written = first.record()) {
          second.await(written);
        }
        second.run(() -> target.copyFrom(middle));
        try (Event read = second.record()) {
          first.await(read);
        }
        second.run(() -> assertThat(target.toDoubles()).containsOnly(value));
      }
      assertThat(device.stream()).isNotIn(first, second);
      first.synchronize();
      assertThat(first.isDone()).isTrue();
    }
  }

  @Test
  void eventsMeasureTime() {
    Stream stream = device.stream();
    Tensor tensor = device.tensor(DType.FP32, 100_000);
    try (Event start = stream.record()) {
      tensor.copyFrom(device.tensor(DType.FP32, 100_000));
      try (Event end = stream.record()) {
        assertThat(end.millisecondsSince(start)).isBetween(0.0, 60_000.0);
        assertThat(end.isDone()).isTrue();
        assertThat(start.millisecondsSince(end)).isNotPositive();
      }
    }
  }

  @Test
  void example() {
    assertThat(dev.mhc.examples.StreamsAndGraphs.milliseconds(device, 3, 40)).isPositive();
    assertThat(device.liveBytes()).isZero();
  }

  @Test
  void operationsGoToTheStreamThatRunsThem() {
    Stream own = device.stream();
    assertThat(own.device()).isSameAs(device);
    assertThat(own.priority()).isEqualTo(Stream.Priority.NORMAL);
    try (Stream outer = Stream.create(device); Stream inner = Stream.create(device, Stream.Priority.HIGH)) {
      assertThat(inner.priority()).isEqualTo(Stream.Priority.HIGH);
      outer.run(() -> {
        inner.run(() -> assertThat(device.stream()).isSameAs(inner));
        assertThat(device.stream()).isSameAs(outer);
        assertThatThrownBy(() -> inner.run(() -> {
          throw new ArithmeticException("as it is");
        })).isInstanceOf(ArithmeticException.class).hasMessage("as it is");
        assertThat(device.stream()).isSameAs(outer);
      });
      assertThat(device.stream()).isSameAs(own);
      outer.synchronize();
      assertThat(outer.isDone()).isTrue();
    }
    own.close();
    assertThat(own.isClosed()).as("a device's own stream stays").isFalse();
  }

  @Test
  void anEventHappensAgain() {
    Tensor tensor = device.tensor(DType.FP32, 100);
    try (Event event = Event.create(device)) {
      assertThat(event.device()).isSameAs(device);
      for (int i = 0; i < 3; i++) {
        tensor.copyFrom(device.tensor(DType.FP32, 100));
        event.record(device.stream());
        event.synchronize();
        assertThat(event.isDone()).isTrue();
      }
    }
  }

  @Test
  void aGraphComputesWhatItWasGiven() {
    Tensor source = device.tensor(DType.FP32, 50).fill(3);
    Tensor other = device.tensor(DType.FP32, 50).fill(5);
    Tensor target = device.tensor(DType.FP32, 50);
    try (Graph graph = Graph.capture(device, () -> target.copyFrom(source)); Stream stream = Stream.create(device)) {
      assertThat(graph.device()).isSameAs(device);
      assertThat(graph.size()).isOne();
      assertThat(target.toDoubles()).as("captured only").containsOnly(0);
      graph.launch();
      assertThat(target.toDoubles()).containsOnly(3);
      source.fill(4);
      stream.run(graph::launch);
      stream.synchronize();
      assertThat(target.toDoubles()).containsOnly(4);
      graph.update(() -> target.copyFrom(other));
      graph.launch();
      assertThat(target.toDoubles()).containsOnly(5);
    }
  }

  /** What was open at the capture and is closed since is still there for it. */
  @Test
  void aGraphKeepsItsMemory() {
    Tensor source = device.tensor(DType.FP32, 50).fill(3);
    Tensor target = device.tensor(DType.FP32, 50);
    Tensor middle = device.tensor(DType.FP32, 50);
    Graph graph = Graph.capture(device, () -> {
      Operations.pre(source.reshape(1, 1, 50), target.slice(0, 0, 1).reshape(1, 1), middle.reshape(1, 50));
      middle.copyFrom(source);
      target.copyFrom(middle);
    });
    middle.close();
    long live = device.liveBytes();
    graph.close();
    device.synchronize();
    assertThat(device.liveBytes()).as("held until then").isEqualTo(live - 200);
  }

  /** Two streams inside a graph: the second begins when the first has written, and the first goes on when it is done. */
  @Test
  void aGraphForksAndJoins() {
    Tensor source = device.tensor(DType.FP32, 50).fill(3);
    Tensor left = device.tensor(DType.FP32, 50);
    Tensor right = device.tensor(DType.FP32, 50);
    Tensor both = device.tensor(DType.FP32, 2, 50);
    device.synchronize();
    Stream main = device.stream();
    var events = new ArrayList<Event>();
    try (Stream branch = Stream.create(device); Graph graph = Graph.capture(device, () -> {
      left.copyFrom(source);
      Event forked = main.record();
      branch.await(forked);
      branch.run(() -> right.copyFrom(left));
      Event joined = branch.record();
      main.await(joined);
      both.slice(0, 0, 1).reshape(50).copyFrom(left);
      both.slice(0, 1, 2).reshape(50).copyFrom(right);
      events.add(forked);
      events.add(joined);
    })) {
      for (int value = 4; value < 7; value++) {
        source.fill(value);
        graph.launch();
        assertThat(both.toDoubles()).containsOnly(value);
      }
      branch.run(() -> right.fill(1)); // takes work again
      branch.synchronize();
      assertThat(right.toDoubles()).containsOnly(1);
    }
    events.forEach(Event::close);
  }

  @Test
  void wrongArguments() {
    try (Device elsewhere = Device.cpu(); Event foreign = Event.create(elsewhere); Stream abroad = Stream.create(elsewhere);
        Event event = Event.create(device); Event recorded = device.stream().record();
        Graph graph = Graph.capture(device, () -> {})) {
      Stream stream = device.stream();
      refused(() -> Stream.create(null), "device is null; expected a Device");
      refused(() -> Stream.create(device, null), "priority is null; expected a Priority");
      refused(() -> stream.run(null), "operations is null; expected what to run");
      refused(() -> stream.await(null), "event is null; expected an Event");
      refused(() -> stream.await(foreign), "event belongs to another device, " + elsewhere + "; expected one of " + device);
      refused(() -> Event.create(null), "device is null; expected a Device");
      refused(() -> event.record(null), "stream is null; expected a Stream");
      refused(() -> event.record(abroad), "stream belongs to another device, " + elsewhere + "; expected one of " + device);
      refused(() -> recorded.millisecondsSince(null), "start is null; expected an Event");
      refused(() -> recorded.millisecondsSince(foreign), "start belongs to another device, " + elsewhere);
      refused(() -> Graph.capture(null, () -> {}), "device is null; expected a Device");
      refused(() -> Graph.capture(device, null), "operations is null; expected what to capture");
      refused(() -> graph.update(null), "operations is null; expected what to capture");
      for (Runnable early : new Runnable[] {() -> event.millisecondsSince(recorded), () -> recorded.millisecondsSince(event)}) {
        assertThatIllegalStateException().isThrownBy(early::run)
            .withMessage("the event was not recorded; expected Event.record or Stream.record before");
      }
    }
  }

  @Test
  void useAfterClose() {
    Stream stream = Stream.create(device);
    Event event = stream.record();
    Event other = stream.record();
    Graph graph = Graph.capture(device, () -> {});
    event.close();
    event.close();
    for (Runnable use : new Runnable[] {event::isDone, event::synchronize, () -> event.record(device.stream()),
        () -> event.millisecondsSince(other), () -> other.millisecondsSince(event), () -> device.stream().await(event)}) {
      assertThatIllegalStateException().isThrownBy(use::run).withMessage("the event is closed");
    }
    stream.close();
    stream.close();
    for (Runnable use : new Runnable[] {stream::synchronize, stream::isDone, stream::record, () -> stream.run(() -> {}),
        () -> stream.await(other), () -> other.record(stream)}) {
      assertThatIllegalStateException().isThrownBy(use::run).withMessage("the stream is closed");
    }
    graph.close();
    graph.close();
    for (Runnable use : new Runnable[] {graph::launch, () -> graph.update(() -> {})}) {
      assertThatIllegalStateException().isThrownBy(use::run).withMessage("the graph is closed");
    }
    Stream left = Stream.create(device);
    Event recorded = left.record();
    Graph captured = Graph.capture(device, () -> {});
    device.close();
    assertThat(left.isClosed() && recorded.isClosed() && captured.isClosed()).as("closed with the device").isTrue();
    for (Runnable use : new Runnable[] {() -> Stream.create(device), () -> Event.create(device),
        () -> Graph.capture(device, () -> {})}) {
      assertThatIllegalStateException().isThrownBy(use::run).withMessageContaining("is closed");
    }
  }

  private static void refused(Runnable call, String message) {
    assertThatIllegalArgumentException().isThrownBy(call::run).withMessageStartingWith(message);
  }
}
