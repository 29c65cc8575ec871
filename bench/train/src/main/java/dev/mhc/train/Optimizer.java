// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import ai.djl.nn.Parameter;
import ai.djl.util.Pair;
import dev.mhc.Device;
import dev.mhc.Muon;
import dev.mhc.MuonConfig;
import dev.mhc.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Muon for the hidden matrices, the hyper-connections' projections among them, and AdamW for everything else: embeddings,
 * head, norms, scales and biases, as DeepSeek-V4 does. Both move a parameter by updates of about the same size.
 */
final class Optimizer implements AutoCloseable {
  private static final double BETA1 = 0.9;
  private static final double BETA2 = 0.95;
  private static final double EPS = 1e-8;
  private static final double DECAY = 0.1; // of matrices
  private static final double MOST = 1; // the norm that all gradients together have at most
  private static final Pattern HIDDEN = Pattern.compile(".*_(query|key|value|output|up|down|projection)");
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private final Device device;
  private final MuonConfig config;
  private final List<Learned> learned = new ArrayList<>();
  private final Map<List<Long>, Muon> muons = new HashMap<>();

  Optimizer(Device device, Settings settings, Transformer model) {
    this.device = device;
    config = settings.optimizer() == Settings.MatrixOptimizer.MUON ? MuonConfig.Preset.DEEPSEEK_V4.config()
        : MuonConfig.Preset.DEEPSEEK_V4.config().withSteps(MuonConfig.Preset.KELLER_JORDAN.config().steps());
    boolean hasMuon = settings.optimizer() != Settings.MatrixOptimizer.ADAMW;
    for (Pair<String, Parameter> each : model.getParameters()) {
      learned.add(new Learned(device, each.getKey(), each.getValue(), hasMuon && HIDDEN.matcher(each.getKey()).matches()));
    }
  }

  List<Learned> learned() {
    return learned;
  }

  /** The norm of all gradients together. */
  double gradientNorm() {
    return Math.sqrt(learned.stream().mapToDouble(Learned::gradientSquares).sum());
  }

  /** Takes one step with gradients of this norm, and clears them. */
  void step(int step, double rate, double norm) {
    for (Learned each : learned) {
      if (norm > MOST) {
        each.scaleGradient((float) (MOST / norm));
      }
      if (each.isHidden) {
        muon(each.value).step(each.value, each.gradient(), each.momentum, (float) rate);
      } else {
        adamW(each, step, rate);
      }
      each.clearGradient();
    }
  }

  private Muon muon(Tensor matrix) {
    return muons.computeIfAbsent(List.of(matrix.dim(0), matrix.dim(1)),
        shape -> Muon.create(device, config, shape.get(0), shape.get(1)));
  }

  private static void adamW(Learned each, int step, double rate) {
    MemorySegment p = each.value.segment();
    MemorySegment g = each.gradient().segment();
    MemorySegment m = each.momentum.segment();
    MemorySegment v = each.square.segment();
    float keep = (float) (1 - rate * (each.isMatrix ? DECAY : 0));
    float moved = (float) (rate / (1 - Math.pow(BETA1, step + 1)));
    float seen = (float) (1 / (1 - Math.pow(BETA2, step + 1)));
    for (long at = 0; at < p.byteSize(); at += Float.BYTES) {
      float gradient = g.get(FLOAT, at);
      float first = (float) BETA1 * m.get(FLOAT, at) + (float) (1 - BETA1) * gradient;
      float second = (float) BETA2 * v.get(FLOAT, at) + (float) (1 - BETA2) * gradient * gradient;
      m.set(FLOAT, at, first);
      v.set(FLOAT, at, second);
      float root = (float) Math.sqrt(second * seen) + (float) EPS;
      p.set(FLOAT, at, keep * p.get(FLOAT, at) - moved * first / root);
    }
  }

  @Override
  public void close() {
    muons.values().forEach(Muon::close);
    learned.forEach(Learned::close);
  }
}
