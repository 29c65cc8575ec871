// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.PipelineSchedule.Step;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The layers of one rank of a pipeline: takes micro-batches through them as a {@link PipelineSchedule} says, and exchanges
 * residuals and their gradients with the neighbours.
 *
 * <p>Between the forward and the backward of a micro-batch a stage keeps the residual that entered it, and F's outputs. The
 * backward rebuilds the rest, which needs nothing from a neighbour, while the gradient is on its way: messages go on a
 * {@link Stream} of the stage's own, and the stage waits for the exchange that brings what it needs, not for later ones. Of
 * these two may be under way. What follows a feed-forward layer goes on a stream of {@link Stream.Priority#HIGH}.
 *
 * <p>With {@link PipelineOptions.Wire#EXACT}, what layers make forward is to the bit what one rank with all of them makes.
 * Backward, the gradient of a residual is rounded to its type between two stages; {@link PipelineOptions#segment()} has it
 * rounded at the same layers inside a stage, and then gradients too are the same to the bit for any number of ranks.
 *
 * <p>One thread runs a stage, and its communicator is used by nothing else meanwhile. It belongs to the communicator's
 * device, and ends with it.
 *
 * {@snippet file="dev/mhc/examples/WholeProgram.java" region="pipeline"}
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
      layers = copy("layers", layers, "a list of layers", "a HyperConnection");
      gradients = copy("gradients", gradients, "a list of gradients", "Gradients");
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

    private static <T> List<T> copy(String name, List<T> given, String list, String each) {
      Check.given(name, given, list);
      for (int i = 0; i < given.size(); i++) {
        Check.given(name + "[" + i + "]", given.get(i), each);
      }
      return List.copyOf(given);
    }
  }

  private final Communicator communicator;
  private final PipelineSchedule schedule;
  private final List<PipelinePart> parts = new ArrayList<>();
  private final PipelineBuffers buffers;
  private final PipelineUrgent urgent;
  private final PipelineMail mail;
  private final Resources resources;
  private final Map<Step, Tensor> gradients = new HashMap<>(); // of what the last stage has handed to the model

  private PipelineStage(Communicator communicator, PipelineSchedule schedule, PipelineOptions options, List<Part> given) {
    this.communicator = communicator;
    this.schedule = schedule;
    Device device = communicator.device();
    buffers = new PipelineBuffers(device, options, given.get(0).layers().get(0).config().streams());
    urgent = new PipelineUrgent(device);
    mail = new PipelineMail(communicator, buffers);
    for (int direction = 0; direction < given.size(); direction++) {
      int stage = schedule.stage(communicator.rank(), direction);
      parts.add(new PipelinePart(given.get(direction), buffers, urgent, options.segment(), schedule.training(), stage == 0,
          stage == schedule.ranks() - 1));
    }
    resources = new Resources(device, buffers, urgent, mail);
    Resources watched = resources;
    Leaks.watch(this, "pipeline stage of " + communicator, watched::isClosed);
  }

  /**
   * Prepares a rank's stage. All ranks call this; each waits for the others, to see that they do the same.
   *
   * @param communicator of the pipeline's ranks
   * @param schedule what to do when; the same on all ranks
   * @param options what goes through; the same on all ranks
   * @param parts what this rank has of the model, for each direction of the schedule
   * @throws CommunicatorException of {@link CommunicatorException.Reason#MISMATCH} on all ranks, if one has another
   *     schedule, other options or another number of streams; the communicator is good still
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
    int streams = 0;
    for (int i = 0; i < parts.size(); i++) {
      Part part = Check.given("parts[" + i + "]", parts.get(i), "a Part");
      streams = i == 0 ? part.layers().get(0).config().streams() : streams;
      PipelineChecks.part("parts[" + i + "]", part, communicator.device(), options, streams);
    }
    communicator.work.requireUsable();
    PipelineChecks.agree(communicator, schedule, options, streams);
    return Device.whole(() -> new PipelineStage(communicator, schedule, options, parts));
  }

  /**
   * Takes all micro-batches through this stage, once. Waits for the neighbours.
   *
   * @throws CommunicatorException if the ranks cannot go on together
   * @throws IllegalStateException if this is closed
   */
  public void run() {
    if (isClosed()) {
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
        mail.exchange(schedule.sent(rank, tick), schedule.received(rank, tick), made);
      }
      mail.finish();
    } catch (RuntimeException | Error e) {
      communicator.abort(); // the neighbours would wait
      throw e;
    }
  }

  private @Nullable Tensor forward(Step step) {
    PipelinePart part = parts.get(step.direction());
    Tensor made = part.forward(step.microBatch(), part.isFirst() ? null : mail.take(step));
    if (part.isLast()) {
      Tensor gradient = part.end(step.microBatch(), made);
      buffers.release(made);
      if (gradient != null) {
        gradients.put(step, gradient);
      }
      return null;
    }
    return made;
  }

  private @Nullable Tensor backward(Step step) {
    PipelinePart part = parts.get(step.direction());
    part.rebuild(step.microBatch()); // while the gradient is on its way
    Tensor own = gradients.remove(Step.forward(step.direction(), step.microBatch()));
    Tensor made = part.backward(step.microBatch(), own != null ? own : mail.take(step));
    if (part.isFirst()) {
      part.beginBackward(step.microBatch(), made);
      buffers.release(made);
      return null;
    }
    return made;
  }

  /** Whether it can no longer be used. */
  public boolean isClosed() {
    return resources.isClosed();
  }

  /** Frees what it keeps; the layers, their gradients and the communicator stay. Does nothing when closed. */
  @Override
  public void close() {
    resources.close();
    parts.forEach(PipelinePart::close);
  }

  /** What the device knows of a stage, and has to free in the end; not the model, which may hold the stage. */
  private static final class Resources implements Child {
    private final Device device;
    private final PipelineBuffers buffers;
    private final PipelineUrgent urgent;
    private final PipelineMail mail;
    private volatile boolean closed;

    Resources(Device device, PipelineBuffers buffers, PipelineUrgent urgent, PipelineMail mail) {
      this.device = device;
      this.buffers = buffers;
      this.urgent = urgent;
      this.mail = mail;
      device.add(this);
    }

    boolean isClosed() {
      return closed;
    }

    @Override
    public void close() {
      if (closed) {
        return;
      }
      closed = true;
      mail.close();
      try (var _ = device.held()) {
        device.remove(this);
        urgent.close();
        buffers.close();
      }
    }
  }
}
