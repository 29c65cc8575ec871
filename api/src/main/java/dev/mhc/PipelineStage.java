// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.PipelineSchedule.Message;
import dev.mhc.PipelineSchedule.Step;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;

/**
 * The layers of one rank of a pipeline: takes micro-batches through them as a {@link PipelineSchedule} says, and exchanges
 * residuals and their gradients with the neighbours.
 *
 * <p>Between the forward and the backward of a micro-batch a stage keeps the residual that entered it, and F's outputs. The
 * backward rebuilds the rest, which needs nothing from a neighbour, while the gradient is on its way. Unless they travel in
 * FP8, what layers make forward is to the bit what one rank with all of them makes. Backward, the gradient of a residual is
 * rounded to its type between two stages, which inside a stage it is not.
 *
 * <p>One thread runs a stage, and its communicator is used by nothing else meanwhile. It belongs to the communicator's
 * device, and ends with it.
 *
 * {@snippet file="dev/mhc/examples/Pipeline.java" region="pipeline"}
 */
public final class PipelineStage implements AutoCloseable {
  /**
   * What a rank has of the model in one direction.
   *
   * @param layers of its stage, at least one, with equal configs that are not shifted
   * @param gradients of the layers' parameters, one for each layer, added to; an empty list: not wanted
   * @param model the rest of it
   */
  public record Part(List<HyperConnection> layers, List<Gradients> gradients, PipelineModel model) {
    /** Checks and copies. */
    public Part {
      layers = List.copyOf(Check.given("layers", layers, "a list of layers"));
      gradients = List.copyOf(Check.given("gradients", gradients, "a list of gradients"));
      Check.given("model", model, "a PipelineModel");
      Check.range("layers.size()", layers.size(), 1, 4096);
      if (!gradients.isEmpty() && gradients.size() != layers.size()) {
        throw new IllegalArgumentException("gradients has " + gradients.size() + "; expected " + layers.size()
            + ", one for each layer, or none");
      }
      if (layers.get(0).config().shifted()) {
        throw new IllegalArgumentException("layers[0] has " + layers.get(0).config() + "; expected a config that is not"
            + " shifted: h of a stage's first layer would need the preMix of another rank");
      }
    }
  }

  private final Communicator communicator;
  private final PipelineSchedule schedule;
  private final List<PipelinePart> parts = new ArrayList<>();
  private final PipelineBuffers buffers;
  private final ExecutorService mail = Executors.newSingleThreadExecutor(task -> {
    Thread thread = new Thread(task, "mhc-pipeline-mail");
    thread.setDaemon(true);
    return thread;
  });
  private final Map<Step, Tensor> received = new HashMap<>();
  private @Nullable Future<?> exchange;
  private boolean closed;

  private PipelineStage(Communicator communicator, PipelineSchedule schedule, PipelineOptions options, List<Part> given) {
    this.communicator = communicator;
    this.schedule = schedule;
    int streams = given.get(0).layers().get(0).config().streams();
    buffers = new PipelineBuffers(communicator.device(), options, streams);
    for (int direction = 0; direction < given.size(); direction++) {
      int stage = schedule.stage(communicator.rank(), direction);
      parts.add(new PipelinePart(given.get(direction), buffers, schedule.training(), stage == 0,
          stage == schedule.ranks() - 1));
    }
  }

  /**
   * Prepares a rank's stage.
   *
   * @param communicator of the pipeline's ranks
   * @param schedule what to do when; the same on all ranks
   * @param options what goes through; the same on all ranks
   * @param parts what this rank has of the model, for each direction of the schedule
   */
  public static PipelineStage create(Communicator communicator, PipelineSchedule schedule, PipelineOptions options,
      List<Part> parts) {
    Check.given("communicator", communicator, "a Communicator");
    Check.given("schedule", schedule, "a PipelineSchedule");
    Check.given("options", options, "PipelineOptions");
    Check.given("parts", parts, "a list of parts");
    if (schedule.ranks() != communicator.ranks()) {
      throw new IllegalArgumentException("schedule is for " + schedule.ranks() + " ranks; expected "
          + communicator.ranks() + ", as the communicator has");
    }
    if (parts.size() != schedule.directions()) {
      throw new IllegalArgumentException("parts has " + parts.size() + "; expected " + schedule.directions()
          + ", one for each direction of the schedule");
    }
    for (Part part : parts) {
      for (HyperConnection layer : Check.given("parts[i]", part, "a Part").layers()) {
        if (layer.device() != communicator.device()) {
          throw new IllegalArgumentException("layers are on " + layer.device() + ", another device; expected that of the"
              + " communicator, " + communicator.device());
        }
        if (layer.config().streams() != parts.get(0).layers().get(0).config().streams()) {
          throw new IllegalArgumentException("layers have " + layer.config().streams() + " streams; expected "
              + parts.get(0).layers().get(0).config().streams() + ", as the first has");
        }
      }
    }
    return new PipelineStage(communicator, schedule, options, parts);
  }

  /**
   * Takes all micro-batches through this stage, once. Waits for the neighbours.
   *
   * @throws CommunicatorException if the ranks cannot go on together
   * @throws IllegalStateException if this is closed
   */
  public void run() {
    if (closed) {
      throw new IllegalStateException("the PipelineStage is closed");
    }
    int rank = communicator.rank();
    try {
      for (int tick = 0; tick < schedule.ticks(); tick++) {
        Step step = schedule.steps().get(rank).get(tick);
        Tensor made = switch (step.kind()) {
          case IDLE -> null;
          case FORWARD -> forward(step);
          case BACKWARD -> backward(step);
        };
        await();
        exchange(rank, tick, made);
      }
      await();
    } catch (RuntimeException | Error e) {
      communicator.abort(); // the neighbours would wait
      throw e;
    }
  }

  private @Nullable Tensor forward(Step step) {
    await();
    PipelinePart part = parts.get(step.direction());
    Tensor made = part.forward(step.microBatch(), received.remove(step));
    if (part.isLast()) {
      Tensor gradient = part.end(step.microBatch(), made);
      buffers.release(made);
      if (gradient != null) {
        received.put(Step.backward(step.direction(), step.microBatch()), gradient);
      }
      return null;
    }
    return made;
  }

  private @Nullable Tensor backward(Step step) {
    PipelinePart part = parts.get(step.direction());
    part.rebuild(step.microBatch()); // while the gradient is on its way
    await();
    Tensor made = part.backward(step.microBatch(), received.remove(step));
    if (part.isFirst()) {
      part.beginBackward(step.microBatch(), made);
      buffers.release(made);
      return null;
    }
    return made;
  }

  /** Starts to send what a tick made, and to receive what the neighbours made in it. */
  private void exchange(int rank, int tick, @Nullable Tensor made) {
    Message out = schedule.sent(rank, tick);
    List<Message> in = schedule.received(rank, tick);
    if (out == null && in.isEmpty()) {
      return;
    }
    List<Tensor> sent = out == null || made == null ? List.of() : buffers.pack(made);
    var coming = new ArrayList<List<Tensor>>();
    in.forEach(message -> coming.add(buffers.parcel()));
    Stream stream = communicator.device().stream(); // of this thread, whose operations made what is sent
    exchange = mail.submit(() -> stream.run(() -> {
      Communicator.group(() -> {
        for (int i = 0; i < in.size(); i++) {
          int peer = in.get(i).peer();
          coming.get(i).forEach(tensor -> communicator.receive(tensor, peer));
        }
        if (out != null) {
          sent.forEach(tensor -> communicator.send(tensor, out.peer()));
        }
      });
      for (int i = 0; i < in.size(); i++) {
        received.put(in.get(i).step(), buffers.unpack(coming.get(i)));
      }
      buffers.releaseParcel(sent);
    }));
  }

  /** Waits for the exchange that is under way, if one is. */
  private void await() {
    Future<?> current = exchange;
    exchange = null;
    if (current == null) {
      return;
    }
    boolean interrupted = false;
    while (true) {
      try {
        current.get();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
        communicator.abort();
      } catch (ExecutionException e) {
        if (e.getCause() instanceof RuntimeException cause) {
          throw cause;
        }
        throw new AssertionError(e.getCause());
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Frees what it keeps; the layers, their gradients and the communicator stay. Does nothing when closed. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      mail.shutdownNow();
      parts.forEach(PipelinePart::close);
      received.values().forEach(Tensor::close);
      buffers.close();
    }
  }
}
