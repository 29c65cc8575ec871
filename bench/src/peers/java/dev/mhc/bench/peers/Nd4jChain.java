// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import static org.nd4j.linalg.indexing.NDArrayIndex.all;
import static org.nd4j.linalg.indexing.NDArrayIndex.interval;

import java.util.Map;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.ops.transforms.Transforms;

/** The forward of a boundary by ND4J's operations on arrays, in place where that is possible. */
final class Nd4jChain {
  private static final int ITERATIONS = 20;
  private static final double EPS = 1e-20;

  private Nd4jChain() {}

  /** All that it makes, by name. */
  static Map<String, INDArray> forward(Nd4jArrays in) {
    long tokens = in.x.size(0);
    long n = in.x.size(1);
    long width = in.x.size(2);
    INDArray xNext = Nd4j.matmul(in.res, in.x);
    xNext.addi(Nd4j.matmul(in.post.reshape(tokens, n, 1), in.f.reshape(tokens, 1, width)));
    INDArray flat = xNext.reshape(tokens, n * width);
    INDArray norm = flat.norm2(true, 1);
    INDArray rms = Transforms.sqrt(norm.mul(norm).divi(n * width).addi(EPS), false);
    INDArray mix = flat.mmul(in.projection.transpose()).diviColumnVector(rms);
    INDArray pre = Transforms.sigmoid(logits(in, mix, 0, n, 0), false);
    INDArray post = Transforms.sigmoid(logits(in, mix, n, 2 * n, 1), false).muli(2);
    INDArray res = Transforms.exp(logits(in, mix, 2 * n, mix.size(1), 2), false).reshape(tokens, n, n);
    for (int i = 0; i < ITERATIONS; i++) {
      res.divi(res.sum(true, 1));
      res.divi(res.sum(true, 2));
    }
    INDArray h = Nd4j.matmul(pre.reshape(tokens, 1, n), xNext).reshape(tokens, width);
    return Map.of("xNext", xNext, "h", h, "preMix", pre, "postMix", post, "resMix", res);
  }

  private static INDArray logits(Nd4jArrays in, INDArray mix, long from, long to, int which) {
    return mix.get(all(), interval(from, to)).mul(in.scale.getFloat(which)).addiRowVector(in.bias.get(interval(from, to)));
  }
}
