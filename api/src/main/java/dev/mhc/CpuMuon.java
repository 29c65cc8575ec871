// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Newton-Schulz in float32, one matrix after the other, on the smaller side's Gram matrix. */
final class CpuMuon extends Muon {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private final boolean tall;
  private final int side; // the smaller extent
  private final int other;
  private final long elements;
  private final Storage workspace;
  private final MemorySegment wide; // rows x columns
  private final MemorySegment gram; // side x side
  private final MemorySegment polynomial; // side x side
  private MemorySegment x; // side x other
  private MemorySegment next;

  CpuMuon(CpuDevice device, MuonConfig config, long batch, long rows, long columns) {
    super(device, config, batch, rows, columns);
    OpenBlas.load();
    tall = rows > columns;
    side = (int) Math.min(rows, columns);
    other = (int) Math.max(rows, columns);
    elements = rows * columns;
    long matrix = 4 * elements;
    long square = 4L * side * side;
    workspace = Storage.allocate(device, Math.addExact(Math.multiplyExact(3L, matrix), 2 * square));
    wide = workspace.data.asSlice(0, matrix);
    x = workspace.data.asSlice(matrix, matrix);
    next = workspace.data.asSlice(2 * matrix, matrix);
    gram = workspace.data.asSlice(3 * matrix, square);
    polynomial = workspace.data.asSlice(3 * matrix + square, square);
  }

  @Override
  void computeOrthogonal(Tensor matrix, Tensor result) {
    for (long i = 0; i < batch(); i++) {
      FloatRows.widen(matrix.dtype(), matrix.segment(), offset(matrix, i), wide, 0, elements);
      orthogonalizeWide();
      FloatRows.narrow(result.dtype(), wide, 0, result.segment(), offset(result, i), elements);
    }
  }

  @Override
  void computeStep(Tensor parameter, Tensor gradient, Tensor momentum, float learningRate) {
    float keep = (float) (1 - (double) learningRate * config.weightDecay());
    float factor = (float) (learningRate * config.scale(rows, columns));
    for (long i = 0; i < batch(); i++) {
      FloatRows.widen(gradient.dtype(), gradient.segment(), offset(gradient, i), wide, 0, elements);
      mixMomentum(momentum.segment(), offset(momentum, i));
      orthogonalizeWide();
      FloatRows.widen(parameter.dtype(), parameter.segment(), offset(parameter, i), x, 0, elements);
      for (long at = 0; at < 4 * elements; at += 4) {
        x.set(FLOAT, at, keep * x.get(FLOAT, at) - factor * wide.get(FLOAT, at));
      }
      FloatRows.narrow(parameter.dtype(), x, 0, parameter.segment(), offset(parameter, i), elements);
    }
  }

  private long offset(Tensor tensor, long index) {
    return index * elements * tensor.dtype().bytes();
  }

  /** The momentum takes the gradient in; what is to be made orthogonal takes the gradient's place. No slice: it is an object. */
  private void mixMomentum(MemorySegment momentum, long from) {
    float factor = config.momentum();
    for (long at = 0; at < 4 * elements; at += 4) {
      float gradient = wide.get(FLOAT, at);
      float mixed = factor * momentum.get(FLOAT, from + at) + gradient;
      momentum.set(FLOAT, from + at, mixed);
      wide.set(FLOAT, at, config.nesterov() ? factor * mixed + gradient : mixed);
    }
  }

  private void orthogonalizeWide() {
    double squares = 0;
    for (long at = 0; at < 4 * elements; at += 4) {
      double value = wide.get(FLOAT, at);
      squares += value * value;
    }
    double norm = Math.sqrt(squares) + config.eps();
    move(wide, x, (float) (1 / norm), tall, columns);
    for (int i = 0; i < config.steps().size(); i++) { // an iterator would be an object
      take(config.steps().get(i));
    }
    move(x, wide, 1, tall, rows);
  }

  /** to = factor from, transposed on request; columns: of what is read. */
  private void move(MemorySegment from, MemorySegment to, float factor, boolean transpose, long fromColumns) {
    long fromRows = elements / fromColumns;
    for (long row = 0; row < fromRows; row++) {
      for (long column = 0; column < fromColumns; column++) {
        long target = transpose ? column * fromRows + row : row * fromColumns + column;
        to.set(FLOAT, 4 * target, factor * from.get(FLOAT, 4 * (row * fromColumns + column)));
      }
    }
  }

  /** x = a x + (b G + c G G) x, G = x x^T. */
  private void take(MuonConfig.Step step) {
    int threads = device.threads();
    OpenBlas.sgemm(threads, false, true, side, side, other, 1, x, other, x, other, 0, gram, side);
    polynomial.copyFrom(gram);
    OpenBlas.sgemm(threads, false, false, side, side, side, step.c(), gram, side, gram, side, step.b(), polynomial, side);
    next.copyFrom(x);
    OpenBlas.sgemm(threads, false, false, side, other, side, 1, polynomial, side, x, other, step.a(), next, other);
    MemorySegment swapped = x;
    x = next;
    next = swapped;
  }

  @Override
  void release() {
    workspace.close();
  }
}
