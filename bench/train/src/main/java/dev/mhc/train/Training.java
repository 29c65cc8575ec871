// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.training.GradientCollector;
import ai.djl.training.ParameterStore;
import com.sun.management.OperatingSystemMXBean;
import dev.mhc.Device;
import dev.mhc.djl.SegmentedGradientCollector;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.List;

/** One run: a model, its optimiser, and how far it has come. */
final class Training implements AutoCloseable {
  private static final int VALIDATIONS = 8; // batches
  private static final OperatingSystemMXBean SYSTEM =
      (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

  final Settings settings;
  final Transformer model;
  private final Corpus corpus;
  private final Device device;
  private final NDManager manager;
  private final ParameterStore store;
  private final Optimizer optimizer;
  private final History history;
  private int step;

  private Training(Device device, Settings settings, Corpus corpus, History history) {
    this.device = device;
    this.settings = settings;
    this.corpus = corpus;
    this.history = history;
    manager = NDManager.newBaseManager(ai.djl.Device.cpu(), "PyTorch");
    model = new Transformer(device, settings);
    model.initialize(manager, DataType.FLOAT32, new Shape(settings.batch(), settings.context()));
    store = new ParameterStore(manager, false);
    optimizer = new Optimizer(device, settings, model);
  }

  /** From the start. */
  static Training start(Device device, Settings settings, Corpus corpus) {
    return new Training(device, settings, corpus, new History());
  }

  /**
   * From where a checkpoint was written, as if there had been no break.
   *
   * @throws IOException with the reason, if the file is no intact checkpoint or of another text
   */
  static Training resume(Device device, Path checkpoint, Corpus corpus) throws IOException {
    Checkpoint read = Checkpoint.read(checkpoint);
    if (read.settings().textCheck() != corpus.check()) {
      throw new IOException(checkpoint + " was trained on another text, " + read.settings().text() + "; expected "
          + corpus.source());
    }
    var training = new Training(device, read.settings(), corpus, read.history());
    try {
      read.restore(training.optimizer.learned());
      training.step = read.step();
      return training;
    } catch (IOException | RuntimeException e) {
      training.close();
      throw e;
    }
  }

  /** Steps taken. */
  int steps() {
    return step;
  }

  /** Whether there is nothing more to do. */
  boolean isOver() {
    return step == settings.steps() || history.end() != null;
  }

  History history() {
    return history;
  }

  List<Learned> learned() {
    return optimizer.learned();
  }

  /** Arrays of DJL that are there between steps. */
  int arrays() {
    return manager.getManagedArrays().size();
  }

  /** Takes one step. */
  History.Row step() {
    long start = System.nanoTime();
    long cpu = SYSTEM.getProcessCpuTime();
    long connections = model.stack().connectionNanos();
    long functions = model.stack().functionNanos();
    double loss;
    try (NDManager arrays = manager.newSubManager()) {
      loss = gradients(arrays);
    }
    long middle = System.nanoTime();
    double norm = optimizer.gradientNorm();
    if (!Double.isFinite(norm)) {
      throw new NotFiniteException(step + 1, "gradient of " + notFiniteGradient());
    }
    optimizer.step(step, settings.rate(step), norm);
    step++;
    long end = System.nanoTime();
    var row = new History.Row(step, loss, norm, (end - start) * 1e-9,
        (model.stack().connectionNanos() - connections) * 1e-9, (model.stack().functionNanos() - functions) * 1e-9,
        (end - middle) * 1e-9, (SYSTEM.getProcessCpuTime() - cpu) * 1e-9);
    history.add(row);
    return row;
  }

  /** A forward and a backward without a step. */
  void gradientsOnly() {
    try (NDManager arrays = manager.newSubManager()) {
      gradients(arrays);
    }
  }

  private double gradients(NDManager arrays) {
    try (GradientCollector collector = SegmentedGradientCollector.over(manager.getEngine().newGradientCollector())) {
      Corpus.Batch batch = corpus.training(arrays, settings, step);
      NDArray logits = model.forward(store, new NDList(batch.bytes()), true).singletonOrThrow();
      NDArray loss = loss(logits, batch.next());
      double value = loss.getFloat();
      if (!Double.isFinite(value)) {
        throw new NotFiniteException(step + 1, notFinite());
      }
      collector.backward(loss);
      return value;
    }
  }

  /** Mean cross-entropy in nats a byte. */
  static NDArray loss(NDArray logits, NDArray next) {
    return logits.logSoftmax(-1).gather(next.expandDims(2), 2).mean().neg();
  }

  /** Where it began, in the order of the forward. */
  private String notFinite() {
    for (Learned each : learned()) {
      if (each.name.endsWith("embedding") || each.name.endsWith("position")) {
        if (!isFinite(each.value.toDoubles())) {
          return each.name;
        }
      }
    }
    String tensor = model.stack().firstNotFinite();
    return tensor == null ? "loss" : tensor;
  }

  /** The first in the order of the backward. */
  private String notFiniteGradient() {
    for (Learned each : learned().reversed()) {
      if (!Double.isFinite(each.gradientSquares())) {
        return each.name;
      }
    }
    return "all parameters together";
  }

  private static boolean isFinite(double[] values) {
    for (double value : values) {
      if (!Double.isFinite(value)) {
        return false;
      }
    }
    return true;
  }

  /** Mean loss on text that is not trained on. */
  double validate() {
    double sum = 0;
    for (int i = 0; i < VALIDATIONS; i++) {
      try (NDManager arrays = manager.newSubManager()) {
        Corpus.Batch batch = corpus.validation(arrays, settings, i);
        NDArray logits = model.forward(store, new NDList(batch.bytes()), false).singletonOrThrow();
        sum += loss(logits, batch.next()).getFloat();
      }
    }
    return sum / VALIDATIONS;
  }

  /** Writes down the loss on text that is not trained on, and the gains there. */
  History.Check check() {
    double loss = validate();
    Mixing mixing = mixing();
    var check = new History.Check(step, loss, mixing.largestForward(), mixing.largestBackward());
    history.add(check);
    return check;
  }

  /** What the hyper-connections did in the last forward. */
  Mixing mixing() {
    return Mixing.of(device, model.stack());
  }

  /** Writes a checkpoint into a folder. */
  Path save(Path folder) throws IOException {
    return new Checkpoint(settings, step, history, learned()).write(folder);
  }

  @Override
  public void close() {
    optimizer.close();
    model.close();
    manager.close();
  }
}
