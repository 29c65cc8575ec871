// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.GemmConfig.Precision;
import dev.mhc.HyperConnectionConfig.Orientation;
import java.util.ArrayList;
import java.util.List;

/**
 * Newton-Schulz on a GPU: products by cuBLASLt, on the smaller side's Gram matrix; what is done element by element by the post
 * and the pre of a single stream, {@code r x + p f} and {@code p x}, with a factor for each row; norms by RMSNorm.
 */
final class CudaMuon extends Muon {
  private final long count; // rows of all matrices
  private final float rowEps;
  private final Turns turns = new Turns();
  private final Tensor workspace;
  private final Tensor mixed; // [count, columns], as are the next two
  private Tensor x;
  private Tensor next;
  private final Tensor products; // [batch, side, side]
  private final Tensor polynomial;
  private final Tensor ones; // [count], as are those that follow
  private final Tensor keepMomentum;
  private final Tensor inverse;
  private final Tensor sizes;
  private final Tensor scales;
  private final Tensor unused;
  private final Tensor unit; // [rows], 1 / sqrt(elements)
  private final CudaGemm gram;
  private final CudaGemm square;
  private final CudaGemm apply;
  private final List<Rate> rates = new ArrayList<>(); // those that graphs use, and that of the last step

  CudaMuon(CudaDevice device, MuonConfig config, long batch, long rows, long columns) {
    super(device, config, batch, rows, columns);
    count = batch() * rows;
    double elements = (double) rows * columns;
    rowEps = (float) (config.eps() * (double) config.eps() / elements); // the squares of all rows then get eps^2
    long side = Math.min(rows, columns);
    boolean tall = rows > columns;
    gram = product(device, side, side, Math.max(rows, columns), tall, !tall);
    square = product(device, side, side, side, false, false);
    apply = product(device, rows, columns, side, false, false);
    var parts = new Parts(device, 3 * count * columns + 2 * batch() * side * side + 6 * count + rows);
    workspace = parts.whole;
    mixed = parts.next(count, columns);
    x = parts.next(count, columns);
    next = parts.next(count, columns);
    products = parts.next(batch(), side, side);
    polynomial = parts.next(batch(), side, side);
    ones = parts.next(count).fill(1);
    keepMomentum = parts.next(count).fill(config.momentum());
    inverse = parts.next(count);
    sizes = parts.next(count);
    scales = parts.next(count);
    unused = parts.next(count);
    unit = parts.next(rows).fill(1 / Math.sqrt(elements));
  }

  /** Divides an allocation. */
  private static final class Parts {
    final Tensor whole;
    private long used;

    Parts(CudaDevice device, long elements) {
      whole = Tensor.allocate(device, DType.FP32, new long[] {elements}, false);
    }

    Tensor next(long... shape) {
      long from = used;
      long size = 1;
      for (long extent : shape) {
        size *= extent;
      }
      used += size;
      return whole.part(from * Float.BYTES, DType.FP32, shape);
    }
  }

  private CudaGemm product(CudaDevice device, long m, long n, long k, boolean transposeA, boolean transposeB) {
    return new CudaGemm(device, GemmConfig.of(DType.FP32, m, n, k).withBatch(batch()).withTransposed(transposeA, transposeB)
        .withPrecision(Precision.TF32));
  }

  @Override
  void computeOrthogonal(Tensor matrix, Tensor result) {
    ((CudaDevice) device).takeTurn(turns);
    Tensor given = matrix.reshape(count, columns);
    if (matrix.dtype() != DType.FP32) {
      ((CudaDevice) device).zero(next.memory());
      combine(next, ones, given, ones, mixed);
      given = mixed;
    }
    orthogonalize(given);
    scaled(x, ones, result.reshape(count, columns));
  }

  @Override
  void computeStep(Tensor parameter, Tensor gradient, Tensor momentum, float learningRate) {
    ((CudaDevice) device).takeTurn(turns);
    Rate rate = rate(learningRate);
    Tensor slope = gradient.reshape(count, columns);
    Tensor kept = momentum.reshape(count, columns);
    combine(kept, keepMomentum, slope, ones, kept);
    if (config.nesterov()) {
      combine(kept, keepMomentum, slope, ones, mixed);
    }
    orthogonalize(config.nesterov() ? mixed : kept);
    Tensor updated = parameter.reshape(count, columns);
    combine(x, rate.step, updated, rate.keep, next);
    scaled(next, ones, updated);
  }

  /** A learning rate as factors of rows. */
  private final class Rate {
    final Tensor keep = Tensor.allocate(device, DType.FP32, new long[] {count}, false);
    final Tensor step = Tensor.allocate(device, DType.FP32, new long[] {count}, false);
    float value = Float.NaN;
    boolean captured; // a graph reads the factors whenever it is launched

    void set(float learningRate) {
      value = Float.NaN; // until both are there
      keep.fill((float) (1 - (double) learningRate * config.weightDecay()));
      step.fill((float) (-learningRate * config.scale(rows, columns)));
      value = learningRate;
    }
  }

  private Rate rate(float learningRate) {
    Rate free = null;
    for (Rate each : rates) {
      if (each.value == learningRate) {
        each.captured |= device.isCapturing();
        return each;
      }
      free = each.captured ? free : each;
    }
    device.requireNotCapturing("a learning rate cannot be new (take a step with it before)");
    if (free == null) {
      free = new Rate();
      rates.add(free);
    }
    free.set(learningRate);
    return free;
  }

  /** out = r a + p b, row by row; out may be a. */
  private void combine(Tensor a, Tensor r, Tensor b, Tensor p, Tensor out) {
    Operations.post(Orientation.OUT_IN, a.reshape(count, 1, columns), b, p.reshape(count, 1), r.reshape(count, 1, 1),
        out.reshape(count, 1, columns));
  }

  /** out = p a, row by row. */
  private void scaled(Tensor a, Tensor p, Tensor out) {
    Operations.pre(a.reshape(count, 1, columns), p.reshape(count, 1), out);
  }

  /** Leaves what is orthogonal in x. */
  private void orthogonalize(Tensor matrix) {
    normalize(matrix);
    for (MuonConfig.Step each : config.steps()) {
      take(each);
    }
  }

  /**
   * x = matrix / norm. Each row is divided by its own root mean square; the root mean squares, which are the inverse of the
   * inverse, are normalised in turn, and give each row back what it is of the whole.
   */
  private void normalize(Tensor matrix) {
    RmsNorm.forward(matrix, null, rowEps, next, inverse);
    RmsNorm.forward(inverse.reshape(count, 1), null, 0, unused.reshape(count, 1), sizes);
    RmsNorm.forward(sizes.reshape(batch(), rows), unit, 0, scales.reshape(batch(), rows), null);
    scaled(next, scales, x);
  }

  /** x = a x + (b G + c G G) x with G = x x^T, or x = a x + x (b G + c G G) with G = x^T x. */
  private void take(MuonConfig.Step each) {
    Tensor matrices = x.reshape(batch(), rows, columns);
    gram.multiply(1, 0, matrices, matrices, products);
    polynomial.copyFrom(products);
    square.multiply(each.c(), each.b(), products, products, polynomial);
    next.copyFrom(x);
    Tensor target = next.reshape(batch(), rows, columns);
    if (rows > columns) {
      apply.multiply(1, each.a(), matrices, polynomial, target);
    } else {
      apply.multiply(1, each.a(), polynomial, matrices, target);
    }
    Tensor swapped = x;
    x = next;
    next = swapped;
  }

  @Override
  void release() {
    gram.release();
    square.release();
    apply.release();
    workspace.close();
    for (Rate rate : rates) {
      rate.keep.close();
      rate.step.close();
    }
  }
}
