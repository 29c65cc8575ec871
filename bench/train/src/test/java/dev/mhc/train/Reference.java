// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Activation;
import ai.djl.training.ParameterStore;
import dev.mhc.djl.HyperConnectionBlock;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The transformer with the operations of DJL alone, and nothing of mhc: the same parameters, the same F, the paper's formulas. */
final class Reference {
  private static final double RMS_EPS = 1e-20;
  private static final int ITERATIONS = 20;

  private final Transformer model;
  private final Kind kind;
  private final int n;

  private record Coefficients(NDArray pre, NDArray post, NDArray res) {}

  Reference(Transformer model, Settings settings) {
    this.model = model;
    kind = settings.kind();
    n = kind.config(settings.streams()).streams();
  }

  NDArray logits(ParameterStore store, NDArray bytes) {
    NDArray embedded = model.embed(store, bytes, true);
    Shape shape = embedded.getShape();
    long width = shape.get(2);
    NDArray x = embedded.reshape(-1, 1, width).broadcast(new Shape(shape.get(0) * shape.get(1), n, width)); // [T, n, C]
    for (HyperConnectionBlock layer : model.stack().layers()) {
      Coefficients mixes = coefficients(layer, x);
      NDArray h = mixes.pre.expandDims(1).matMul(x).squeeze(1);
      NDArray rms = h.square().mean(new int[] {1}, true).add(Transformer.NORM_EPS).sqrt();
      NDArray y = h.div(rms).mul(parameter(layer, "normWeight"));
      NDArray f = layer.function().forward(store, new NDList(y.reshape(shape)), true).singletonOrThrow().reshape(-1, 1, width);
      x = mixes.res.matMul(x).add(mixes.post.expandDims(2).mul(f));
    }
    return model.logits(store, x.mean(new int[] {1}).reshape(shape), true);
  }

  private static NDArray parameter(HyperConnectionBlock layer, String name) {
    return layer.getParameters().get(name).getArray();
  }

  private Coefficients coefficients(HyperConnectionBlock layer, NDArray x) {
    if (kind == Kind.RESIDUAL) {
      NDManager manager = x.getManager();
      long tokens = x.getShape().get(0);
      return new Coefficients(manager.full(new Shape(tokens, n), 1f / n), manager.ones(new Shape(tokens, n)),
          manager.eye(n).expandDims(0).broadcast(new Shape(tokens, n, n)));
    }
    NDArray flat = x.reshape(x.getShape().get(0), -1);
    NDArray rms = flat.square().mean(new int[] {1}, true).add(RMS_EPS).sqrt();
    NDArray mix = flat.matMul(parameter(layer, "projection").transpose()).div(rms);
    NDArray pre = logits(layer, mix, 0, "0:" + n);
    NDArray post = logits(layer, mix, 1, n + ":" + 2 * n);
    NDArray res = logits(layer, mix, 2, 2 * n + ":");
    return switch (kind) {
      case HC -> new Coefficients(pre, post, res.reshape(-1, n, n));
      case MHC -> new Coefficients(Activation.sigmoid(pre), twiceSigmoid(post), sinkhorn(res.reshape(-1, n, n)));
      default -> new Coefficients(Activation.sigmoid(pre), twiceSigmoid(post),
          res.softmax(1).matMul(permutations(x.getManager())).reshape(-1, n, n));
    };
  }

  /** Scale and bias on the mixes of one of the three; for hc a tanh before. */
  private NDArray logits(HyperConnectionBlock layer, NDArray mix, int which, String columns) {
    NDArray some = mix.get(new NDIndex(":, " + columns));
    NDArray scale = parameter(layer, "scale").get(new NDIndex(String.valueOf(which)));
    return (kind == Kind.HC ? some.tanh() : some).mul(scale).add(parameter(layer, "bias").get(new NDIndex(columns)));
  }

  private static NDArray twiceSigmoid(NDArray logits) {
    NDArray once = Activation.sigmoid(logits);
    return once.add(once); // see TrainingTest.gradientsStayWhenTheCollectorRuns
  }

  private static NDArray sinkhorn(NDArray logits) {
    NDArray matrix = logits.exp();
    for (int i = 0; i < ITERATIONS; i++) {
      matrix = matrix.div(matrix.sum(new int[] {1}, true));
      matrix = matrix.div(matrix.sum(new int[] {2}, true));
    }
    return matrix;
  }

  /** {@code [n!, n n]}, in lexicographic order; row o of a matrix has its 1 where the permutation sends o. */
  private NDArray permutations(NDManager manager) {
    var all = new ArrayList<int[]>();
    permute(new int[0], all);
    var values = new float[all.size() * n * n];
    for (int p = 0; p < all.size(); p++) {
      for (int o = 0; o < n; o++) {
        values[p * n * n + o * n + all.get(p)[o]] = 1;
      }
    }
    return manager.create(values, new Shape(all.size(), (long) n * n));
  }

  private void permute(int[] begun, List<int[]> all) {
    if (begun.length == n) {
      all.add(begun);
      return;
    }
    for (int next = 0; next < n; next++) {
      int candidate = next;
      if (Arrays.stream(begun).noneMatch(i -> i == candidate)) {
        int[] longer = Arrays.copyOf(begun, begun.length + 1);
        longer[begun.length] = next;
        permute(longer, all);
      }
    }
  }
}
