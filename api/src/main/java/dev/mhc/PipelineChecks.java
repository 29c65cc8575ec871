// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.CommunicatorException.Reason;
import dev.mhc.PipelineSchedule.Step;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** What is checked before a pipeline's stage is made. */
final class PipelineChecks {
  private static final int DIGEST = 4; // numbers: the first 128 bits of SHA-256

  private PipelineChecks() {}

  /** Layers and gradients are open, of the device, and of one size. */
  static void part(String name, PipelineStage.Part part, Device device, PipelineOptions options, int streams) {
    for (int i = 0; i < part.layers().size(); i++) {
      String which = name + ".layers[" + i + "]";
      HyperConnection layer = part.layers().get(i);
      if (layer.isClosed()) {
        throw new IllegalStateException(which + " is closed");
      }
      if (layer.device() != device) {
        throw new IllegalArgumentException(which + " is on " + layer.device() + ", another device; expected that of the"
            + " communicator, " + device);
      }
      if (layer.config().streams() != streams) {
        throw new IllegalArgumentException(which + " has " + layer.config().streams() + " streams; expected " + streams
            + ", as the first has");
      }
      Tensor projection = layer.config().isDynamic() ? layer.parameters().projection() : null;
      if (projection != null && projection.dim(1) != streams * options.width()) {
        throw new IllegalArgumentException(which + " is for width " + projection.dim(1) / streams + "; expected "
            + options.width() + ", the width of the options");
      }
      if (!part.gradients().isEmpty()) {
        gradients(name + ".gradients[" + i + "]", part.gradients().get(i), layer.parameters(), device);
      }
    }
  }

  private static void gradients(String name, Gradients gradients, Parameters parameters, Device device) {
    gradient(name + ".projection", gradients.projection(), parameters.projection(), device);
    gradient(name + ".scale", gradients.scale(), parameters.scale(), device);
    gradient(name + ".bias", gradients.bias(), parameters.bias(), device);
    gradient(name + ".normWeight", gradients.normWeight(), parameters.normWeight(), device);
  }

  private static void gradient(String name, @Nullable Tensor gradient, @Nullable Tensor parameter, Device device) {
    if (gradient == null) {
      return;
    }
    try (var _ = device.held()) {
      Operand.accept(name, gradient, device, Types.FP32 | Types.OUT, "");
    }
    if (parameter == null || !Arrays.equals(gradient.shape(), parameter.shape())) {
      throw new IllegalArgumentException(name + " is " + gradient + "; expected "
          + (parameter == null ? "null: the layer has no such parameter" : "the shape of the parameter, " + parameter));
    }
  }

  // ------------------------------------------------------------------------------------------------ between ranks

  /** Throws on all ranks, if not all are about to do the same. */
  static void agree(Communicator communicator, PipelineSchedule schedule, PipelineOptions options, int streams) {
    int ranks = communicator.ranks();
    Device device = communicator.device();
    try (Tensor own = device.tensor(DType.INT32, 2 * DIGEST); Tensor all = device.tensor(DType.INT32, 2L * DIGEST * ranks)) {
      own.copyFrom(IntStream.concat(IntStream.of(digest(schedule)), IntStream.of(digest(options + " " + streams)))
          .asDoubleStream().toArray());
      communicator.allGather(own, all);
      double[] said = all.toDoubles();
      for (int rank = 1; rank < ranks; rank++) {
        for (int i = 0; i < 2 * DIGEST; i++) {
          if (said[rank * 2 * DIGEST + i] != said[i]) {
            throw new CommunicatorException(Reason.MISMATCH, "rank " + rank + " has another "
                + (i < DIGEST ? "schedule" : "PipelineOptions, or number of streams,") + " than rank 0", 0, device.name());
          }
        }
      }
    }
  }

  private static int[] digest(PipelineSchedule schedule) {
    MessageDigest digest = sha256();
    digest.update(ByteBuffer.allocate(16).putInt(schedule.ranks()).putInt(schedule.directions())
        .putInt(schedule.microBatches()).putInt(schedule.training() ? 1 : 0).array());
    ByteBuffer buffer = ByteBuffer.allocate(12);
    for (List<Step> rank : schedule.steps()) {
      for (Step step : rank) {
        digest.update(buffer.clear().putInt(step.kind().ordinal()).putInt(step.direction()).putInt(step.microBatch()).array());
      }
    }
    return start(digest);
  }

  private static int[] digest(String text) {
    MessageDigest digest = sha256();
    digest.update(text.getBytes(StandardCharsets.UTF_8));
    return start(digest);
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e); // every Java has it
    }
  }

  private static int[] start(MessageDigest digest) {
    ByteBuffer result = ByteBuffer.wrap(digest.digest());
    return IntStream.range(0, DIGEST).map(i -> result.getInt(4 * i)).toArray();
  }
}
