// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import static org.nd4j.autodiff.samediff.SDIndex.all;
import static org.nd4j.autodiff.samediff.SDIndex.interval;

import java.io.OutputStream;
import java.io.PrintStream;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.nd4j.autodiff.samediff.SDVariable;
import org.nd4j.autodiff.samediff.SameDiff;
import org.nd4j.autodiff.samediff.api.OutAndGrad;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * A boundary as a graph of SameDiff, with its gradients: those of the scalar product of the results with what reaches them
 * from behind. The parameters are its variables, the rest is given to each run.
 * Written so that the gradients are cheap: that of a product that broadcasts takes ten times as long as a matrix product's.
 */
final class SameDiffChain {
  private static final int ITERATIONS = 20;
  private static final double EPS = 1e-20;
  private static final List<String> MADE = List.of("xNext", "h", "preMix", "postMix", "resMix");
  private static final Map<String, String> GRADIENTS = Map.of("x", "dX", "f", "dF", "post", "dPostMix", "res", "dResMix",
      "projection", "dProjection", "scale", "dScale", "bias", "dBias");

  private final SameDiff graph = SameDiff.create();

  /** For arrays of these shapes, with these parameters. */
  SameDiffChain(Nd4jArrays like) {
    long tokens = like.x.size(0);
    long n = like.x.size(1);
    SDVariable x = given("x", like.x);
    SDVariable f = given("f", like.f);
    SDVariable projection = graph.var("projection", like.projection);
    SDVariable xNext = graph.mmul(given("res", like.res), x)
        .add("xNext", graph.mmul(graph.expandDims(given("post", like.post), 2), graph.expandDims(f, 1)));
    long width = n * like.x.size(2);
    SDVariable flat = graph.reshape(xNext, tokens, width);
    SDVariable norm = flat.norm2(true, 1);
    SDVariable rms = graph.math().sqrt(norm.mul(norm).div(width).add(EPS));
    SDVariable mix = graph.mmul(flat, projection, false, true, false).div(rms);
    SDVariable scale = graph.var("scale", like.scale);
    SDVariable bias = graph.var("bias", like.bias);
    SDVariable pre = graph.nn().sigmoid("preMix", logits(mix, scale, bias, 0, n, 0));
    SDVariable post = graph.nn().sigmoid(logits(mix, scale, bias, n, 2 * n, 1)).mul("postMix", 2);
    SDVariable res = graph.reshape(graph.math().exp(logits(mix, scale, bias, 2 * n, like.bias.length(), 2)), tokens, n, n);
    for (int i = 0; i < ITERATIONS; i++) {
      res = res.div(res.sum(true, 1));
      res = res.div(res.sum(true, 2));
    }
    res = graph.identity("resMix", res);
    SDVariable h = graph.squeeze("h", graph.mmul(graph.expandDims(pre, 1), xNext), 1);
    xNext.mul(given("dXNext", like.dXNext)).sum().add(h.mul(given("dH", like.dH)).sum())
        .add(post.mul(given("dPostMix", like.dPost)).sum()).add("loss", res.mul(given("dResMix", like.dRes)).sum());
    graph.setLossVariables("loss");
    differentiate();
  }

  private SDVariable given(String name, INDArray like) {
    return graph.placeHolder(name, like.dataType(), like.shape());
  }

  private static SDVariable logits(SDVariable mix, SDVariable scale, SDVariable bias, long from, long to, int which) {
    return mix.get(all(), interval(from, to)).mul(scale.get(interval(which, which + 1))).add(bias.get(interval(from, to)));
  }

  /** It prints a line for each operation, past any logger. */
  private void differentiate() {
    PrintStream screen = System.out;
    System.setOut(new PrintStream(OutputStream.nullOutputStream()));
    try {
      graph.createGradFunction(GRADIENTS.keySet().toArray(String[]::new));
    } finally {
      System.setOut(screen);
    }
  }

  /** All that both make, by name. */
  Map<String, INDArray> forwardAndBackward(Nd4jArrays in) {
    Map<String, INDArray> given = Map.of("x", in.x, "f", in.f, "post", in.post, "res", in.res, "dXNext", in.dXNext, "dH",
        in.dH, "dPostMix", in.dPost, "dResMix", in.dRes);
    OutAndGrad made = graph.calculateGradientsAndOutputs(given, MADE, GRADIENTS.keySet());
    var all = new HashMap<>(made.getOutputs());
    made.getGradients().forEach((name, gradient) -> all.put(GRADIENTS.get(name), gradient));
    return all;
  }
}
