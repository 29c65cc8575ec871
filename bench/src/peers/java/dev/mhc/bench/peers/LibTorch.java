// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Activation;
import ai.djl.training.GradientCollector;
import dev.mhc.Coefficients;
import dev.mhc.DType;
import dev.mhc.Parameters;
import dev.mhc.Tensor;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.bench.Peer;
import java.util.HashMap;

/**
 * The boundary as a user of libtorch writes it from Java (DJL), operation by operation: streams are mixed by batched
 * products, and the backward is autograd's, of the scalar product of the results with what reaches them from behind.
 * Works on the memory of the case itself. In fp32: DJL {@value #DJL} cannot hand bf16 to libtorch.
 */
public final class LibTorch implements Peer {
  private static final String VERSION = "2.7.1";
  private static final String DJL = "0.35.1";

  /** For the service loader. */
  public LibTorch() {}

  @Override
  public String name() {
    return "libtorch " + VERSION;
  }

  @Override
  public String differentiator() {
    return "autograd";
  }

  @Override
  public DType type() {
    return DType.FP32;
  }

  @Override
  public Work work(BoundaryCase boundary, int threads) {
    System.setProperty("ai.djl.pytorch.num_threads", String.valueOf(threads));
    System.setProperty("ai.djl.offline", "true"); // all that it needs is in the jar
    System.setProperty("OPT_OUT_TRACKING", "true");
    System.setProperty("DJL_CACHE_DIR", Natives.folder("djl"));
    return new Chain(boundary, Engine.getEngine("PyTorch"));
  }

  /** x, F's output, the mixes of the layer before, and the parameters of the one behind. */
  private record Inputs(NDArray x, NDArray f, NDArray post, NDArray res, NDArray projection, NDArray scale, NDArray bias) {
    NDArray[] all() {
      return new NDArray[] {x, f, post, res, projection, scale, bias};
    }
  }

  private record Outputs(NDArray xNext, NDArray h, NDArray pre, NDArray post, NDArray res) {}

  private static final class Chain implements Work {
    private static final int ITERATIONS = 20;
    private static final float EPS = 1e-20f;

    private final BoundaryCase boundary;
    private final Engine engine;
    private final NDManager manager;
    private final NDArray two; // kept: of mul(2) DJL frees the 2 while the backward still needs it
    private final int n;
    private final NDIndex preRows;
    private final NDIndex postRows;
    private final NDIndex resRows;
    private final NDIndex[] scales = {new NDIndex("0"), new NDIndex("1"), new NDIndex("2")};
    private final NDIndex[] biases;

    Chain(BoundaryCase boundary, Engine engine) {
      this.boundary = boundary;
      this.engine = engine;
      manager = engine.newBaseManager();
      two = manager.create(2f);
      n = (int) boundary.first().x().dim(1);
      String pre = "0:" + n;
      String post = n + ":" + 2 * n;
      String res = 2 * n + ":";
      preRows = new NDIndex(":, " + pre);
      postRows = new NDIndex(":, " + post);
      resRows = new NDIndex(":, " + res);
      biases = new NDIndex[] {new NDIndex(pre), new NDIndex(post), new NDIndex(res)};
    }

    /** An array on a tensor's memory. */
    private NDArray array(Tensor tensor) {
      return manager.create(tensor.segment().asByteBuffer().order(java.nio.ByteOrder.nativeOrder()),
          new Shape(tensor.shape()), DataType.FLOAT32);
    }

    private Inputs inputs(BoundaryCase.Set on) {
      Coefficients current = boundary.current().coefficients();
      Parameters next = boundary.next().parameters();
      return new Inputs(array(on.x()), array(on.f()), array(current.postMix()), array(current.resMix()),
          array(next.projection()), array(next.scale()), array(next.bias()));
    }

    private Outputs chain(Inputs in) {
      NDArray xNext = in.res.matMul(in.x).add(in.post.expandDims(2).mul(in.f.expandDims(1)));
      NDArray flat = xNext.reshape(xNext.getShape().get(0), -1);
      NDArray rms = flat.square().mean(new int[] {1}, true).add(EPS).sqrt();
      NDArray mix = flat.matMul(in.projection.transpose()).div(rms);
      NDArray pre = Activation.sigmoid(logits(in, mix, preRows, 0));
      NDArray post = Activation.sigmoid(logits(in, mix, postRows, 1)).mul(two);
      NDArray res = logits(in, mix, resRows, 2).exp().reshape(-1, n, n);
      for (int i = 0; i < ITERATIONS; i++) {
        res = res.div(res.sum(new int[] {1}, true));
        res = res.div(res.sum(new int[] {2}, true));
      }
      NDArray h = pre.expandDims(1).matMul(xNext).squeeze(1);
      return new Outputs(xNext, h, pre, post, res);
    }

    private NDArray logits(Inputs in, NDArray mix, NDIndex rows, int which) {
      return mix.get(rows).mul(in.scale.get(scales[which])).add(in.bias.get(biases[which]));
    }

    private Outputs backward(BoundaryCase.Set on, Inputs in) {
      for (NDArray each : in.all()) {
        each.setRequiresGradient(true);
      }
      Coefficients received = boundary.next().coefficientGradients();
      try (GradientCollector collector = engine.newGradientCollector()) {
        Outputs out = chain(in);
        NDArray loss = out.xNext.mul(array(on.dXNext())).sum().add(out.h.mul(array(on.dH())).sum())
            .add(out.post.mul(array(received.postMix())).sum()).add(out.res.mul(array(received.resMix())).sum());
        collector.backward(loss);
        return out;
      }
    }

    @Override
    public void forward() {
      inScope(() -> chain(inputs(boundary.rotate())));
    }

    @Override
    public void forwardAndBackward() {
      inScope(() -> {
        BoundaryCase.Set on = boundary.rotate();
        backward(on, inputs(on));
      });
    }

    @Override
    public void check() {
      var ours = new Ours(boundary);
      inScope(() -> {
        Inputs in = inputs(boundary.first());
        Outputs out = backward(boundary.first(), in);
        var theirs = new HashMap<String, float[]>();
        theirs.put("xNext", out.xNext.toFloatArray());
        theirs.put("h", out.h.toFloatArray());
        theirs.put("preMix", out.pre.toFloatArray());
        theirs.put("postMix", out.post.toFloatArray());
        theirs.put("resMix", out.res.toFloatArray());
        theirs.put("dX", in.x.getGradient().toFloatArray());
        theirs.put("dF", in.f.getGradient().toFloatArray());
        theirs.put("dPostMix", in.post.getGradient().toFloatArray());
        theirs.put("dResMix", in.res.getGradient().toFloatArray());
        theirs.put("dProjection", in.projection.getGradient().toFloatArray());
        theirs.put("dScale", in.scale.getGradient().toFloatArray());
        theirs.put("dBias", in.bias.getGradient().toFloatArray());
        ours.requireAll("libtorch", theirs);
      });
    }

    /** Arrays that the work makes end with it. */
    private static void inScope(Runnable work) {
      NDScope scope = new NDScope();
      try {
        work.run();
      } finally {
        scope.close();
      }
    }

    @Override
    public void close() {
      manager.close();
    }
  }
}
