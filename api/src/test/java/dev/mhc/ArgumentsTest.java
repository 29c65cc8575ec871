// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static dev.mhc.DType.BF16;
import static dev.mhc.DType.E8M0;
import static dev.mhc.DType.FP16;
import static dev.mhc.DType.FP32;
import static dev.mhc.DType.FP8_E4M3;
import static dev.mhc.DType.INT32;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.mhc.HyperConnectionConfig.Orientation;
import dev.mhc.HyperConnectionConfig.Preset;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Each tensor argument of each operation with every kind of wrong value: the exception says so, outputs are untouched. */
class ArgumentsTest {
  private static final int T = 3;
  private static final int N = 4;
  private static final int C = 8;
  private static final double UNTOUCHED = 7;

  /** Given to an operation by name; null where a test leaves it out. */
  private static final class Arguments extends LinkedHashMap<String, Tensor> {
    private static final long serialVersionUID = 1L;
  }

  private interface Invocation {
    void run(Arguments arguments);
  }

  /** free: a letter for each dimension, '*' where any extent is right. */
  private record Argument(String name, DType type, long[] shape, String free, boolean optional, boolean output,
      boolean anyStrides) {
    Argument optionally() {
      return new Argument(name, type, shape, free, true, output, anyStrides);
    }

    Argument withAnyStrides() {
      return new Argument(name, type, shape, free, optional, output, true);
    }

    Argument free(String dims) {
      return new Argument(name, type, shape, dims, optional, output, anyStrides);
    }
  }

  private static Argument in(String name, DType type, long... shape) {
    return new Argument(name, type, shape, "", false, false, false);
  }

  private static Argument out(String name, DType type, long... shape) {
    return new Argument(name, type, shape, "", false, true, false);
  }

  private record Case(String operation, List<Argument> arguments, Invocation invocation) {}

  private final List<Case> cases = new ArrayList<>();
  private Device device;
  private Device other;

  private void add(String operation, Invocation invocation, Argument... arguments) {
    cases.add(new Case(operation, List.of(arguments), invocation));
  }

  private static final HyperConnectionConfig CONFIG = Preset.PAPER.config(N);
  private static final HyperConnectionConfig SHIFTED = Preset.DEEPSEEK_V4_1.config(N);
  private static final int M = CONFIG.mixCount();

  private void addAll() {
    Argument x = in("x", BF16, T, N, C);
    Argument dX = out("dX", BF16, T, N, C);
    Argument f = in("f", BF16, T, C);
    Argument preMix = in("preMix", FP32, T, N);
    Argument postMix = in("postMix", FP32, T, N);
    Argument resMix = in("resMix", FP32, T, N, N);

    add("pre", a -> Operations.pre(a.get("x"), a.get("preMix"), a.get("h")), x.free("***"), preMix, out("h", BF16, T, C));
    add("preBackward",
        a -> Operations.preBackward(a.get("x"), a.get("preMix"), a.get("dH"), a.get("dX"), a.get("dPreMix"),
            Accumulate.NONE),
        x.free("***"), preMix, in("dH", BF16, T, C), dX.optionally(), out("dPreMix", FP32, T, N).optionally());
    add("post",
        a -> Operations.post(Orientation.OUT_IN, a.get("x"), a.get("f"), a.get("postMix"), a.get("resMix"),
            a.get("xNext")),
        x.free("***"), f, postMix, resMix, out("xNext", BF16, T, N, C));
    add("postBackward",
        a -> Operations.postBackward(Orientation.OUT_IN, a.get("x"), a.get("f"), a.get("postMix"), a.get("resMix"),
            a.get("dXNext"), a.get("dX"), a.get("dF"), a.get("dPostMix"), a.get("dResMix"), Accumulate.NONE),
        x.free("***"), f, postMix, resMix, in("dXNext", BF16, T, N, C), dX.optionally(),
        out("dF", BF16, T, C).optionally(), out("dPostMix", FP32, T, N).optionally(),
        out("dResMix", FP32, T, N, N).optionally());
    add("coefficients",
        a -> Operations.coefficients(CONFIG, parameters(a), a.get("x"),
            new Coefficients(a.get("preMix"), a.get("postMix"), a.get("resMix"), a.get("mix"), a.get("invRms"))),
        x.free("*4*"), in("projection", FP32, M, N * C), in("scale", FP32, 3), in("bias", FP32, M),
        in("normWeight", FP32, N * C).optionally(), out("preMix", FP32, T, N), out("postMix", FP32, T, N),
        out("resMix", FP32, T, N, N), out("mix", FP32, T, M).optionally(), out("invRms", FP32, T).optionally());
    add("Sinkhorn.forward", a -> Sinkhorn.forward(CONFIG, a.get("logits"), a.get("out")),
        in("logits", FP32, 5, N, N).free("* *"), out("out", FP32, 5, N, N));
    add("Sinkhorn.backward",
        a -> Sinkhorn.backward(CONFIG, a.get("logits"), a.get("dOut"), a.get("dLogits"), Accumulate.INPUTS),
        in("logits", FP32, 5, N, N).free("* *"), in("dOut", FP32, 5, N, N), out("dLogits", FP32, 5, N, N));
    add("Expand.forward", a -> Expand.forward(a.get("embedding"), a.get("x")), in("embedding", BF16, T, C).free("**"),
        out("x", BF16, T, N, C).free(" * "));
    add("Expand.backward", a -> Expand.backward(a.get("dX"), a.get("dEmbedding"), Accumulate.NONE),
        in("dX", BF16, T, N, C).free("***"), out("dEmbedding", BF16, T, C));
    add("Head.mean", a -> Head.mean(a.get("x"), a.get("y")), x.free("***"), out("y", BF16, T, C));
    add("Head.sum", a -> Head.sum(a.get("x"), a.get("y")), x.free("***"), out("y", BF16, T, C));
    add("Head.weighted",
        a -> Head.weighted(CONFIG, new Head.Weights(a.get("projection"), a.get("scale"), a.get("bias")), a.get("x"),
            a.get("y"), a.get("mix"), a.get("invRms")),
        x.free("***"), in("projection", FP32, N, N * C), in("scale", FP32, 1), in("bias", FP32, N),
        out("y", BF16, T, C), out("mix", FP32, T, N).optionally(), out("invRms", FP32, T).optionally());
    add("Head.meanBackward", a -> Head.meanBackward(a.get("dY"), a.get("dX"), Accumulate.NONE),
        dX.free("***"), in("dY", BF16, T, C));
    add("Head.sumBackward", a -> Head.sumBackward(a.get("dY"), a.get("dX"), Accumulate.NONE),
        dX.free("***"), in("dY", BF16, T, C));
    add("Head.weightedBackward",
        a -> Head.weightedBackward(CONFIG, new Head.Weights(a.get("projection"), a.get("scale"), a.get("bias")),
            a.get("x"), a.get("mix"), a.get("invRms"), a.get("dY"), a.get("dX"),
            new Head.Weights(a.get("gradients.projection"), a.get("gradients.scale"), a.get("gradients.bias")),
            Accumulate.NONE),
        dX.free("***"), in("projection", FP32, N, N * C), in("scale", FP32, 1), in("bias", FP32, N), x,
        in("mix", FP32, T, N), in("invRms", FP32, T), in("dY", BF16, T, C),
        out("gradients.projection", FP32, N, N * C).optionally(), out("gradients.scale", FP32, 1).optionally(),
        out("gradients.bias", FP32, N).optionally());
    add("RmsNorm.forward",
        a -> RmsNorm.forward(a.get("x"), a.get("weight"), 1e-6f, a.get("y"), a.get("invRms")),
        in("x", BF16, T, C).free("**"), in("weight", FP32, C).optionally(), out("y", BF16, T, C),
        out("invRms", FP32, T).optionally());
    add("RmsNorm.backward",
        a -> RmsNorm.backward(a.get("x"), a.get("weight"), 1e-6f, a.get("dY"), a.get("dX"), a.get("dWeight"),
            Accumulate.NONE),
        in("x", BF16, T, C).free("**"), in("weight", FP32, C).optionally(), in("dY", BF16, T, C),
        out("dX", BF16, T, C), out("dWeight", FP32, C).optionally());
    add("Fp8.quantize",
        a -> Fp8.quantize(a.get("src"), a.get("dst"), a.get("scale"), Fp8.Tile.ROW, Fp8.Rounding.EXACT),
        in("src", BF16, T, 200).free("**"), out("dst", FP8_E4M3, T, 200), out("scale", FP32, T, 2).withAnyStrides());
    add("Fp8.quantize of squares",
        a -> Fp8.quantize(a.get("src"), a.get("dst"), a.get("scale"), Fp8.Tile.SQUARE, Fp8.Rounding.EXACT),
        in("src", BF16, 130, 200).free("**"), out("dst", FP8_E4M3, 130, 200),
        out("scale", FP32, 2, 2).withAnyStrides());
    add("Fp8.dequantize", a -> Fp8.dequantize(a.get("src"), a.get("scale"), Fp8.Tile.ROW, a.get("dst")),
        in("src", FP8_E4M3, T, 200).free("**"), in("scale", FP32, T, 2).withAnyStrides(), out("dst", BF16, T, 200));
    add("Fp8.dequantize of squares", a -> Fp8.dequantize(a.get("src"), a.get("scale"), Fp8.Tile.SQUARE, a.get("dst")),
        in("src", FP8_E4M3, 130, 200).free("**"), in("scale", FP32, 2, 2).withAnyStrides(), out("dst", BF16, 130, 200));
    add("Gain.measure",
        a -> Gain.measure(Orientation.IN_OUT, a.get("resMix"), new Gain(a.get("forward"), a.get("backward"),
            a.get("contraction"), a.get("compositeForward"), a.get("compositeBackward"),
            a.get("compositeContraction"))),
        in("resMix", FP32, 2, T, N, N).free("** *"), out("forward", FP32, 2, T).optionally(),
        out("backward", FP32, 2, T).optionally(), out("contraction", FP32, 2, T).optionally(),
        out("compositeForward", FP32, 2, T).optionally(), out("compositeBackward", FP32, 2, T).optionally(),
        out("compositeContraction", FP32, 2, T).optionally());
    add("Birkhoff.decompose",
        a -> Birkhoff.decompose(a.get("matrix"),
            new Birkhoff(a.get("weight"), a.get("permutation"), a.get("terms"), a.get("remainder"))),
        in("matrix", FP32, 2, N, N).free("* *"), out("weight", FP32, 2, 10).free(" *"),
        out("permutation", INT32, 2, 10, N), out("terms", INT32, 2).optionally(),
        out("remainder", FP32, 2).optionally());
    add("Birkhoff.doublyStochasticDistance",
        a -> Birkhoff.doublyStochasticDistance(a.get("matrix"), a.get("distance")),
        in("matrix", FP32, 2, N, N).free("* *"), out("distance", FP32, 2));

    Argument h = out("h", BF16, T, C);
    Argument projection = in("projection", FP32, M, N * C);
    Argument scale = in("scale", FP32, 3);
    Argument bias = in("bias", FP32, M);
    Argument weight = in("normWeight", FP32, N * C).optionally();
    Argument hNormWeight = in("normWeight", FP32, C).optionally();
    Argument y = out("y", BF16, T, C).optionally();
    Argument fp8 = out("fp8", FP8_E4M3, T, C);
    Argument fp8Scale = out("fp8Scale", FP32, T, 1).withAnyStrides();
    add("HyperConnection.create", a -> HyperConnection.create(device, CONFIG, parameters(a)).close(),
        projection.free(" *"), scale, bias);
    add("HyperConnection.create with normWeight", a -> HyperConnection.create(device, CONFIG, parameters(a)).close(),
        projection, scale, bias, weight);
    add("layer.pre", a -> with(CONFIG, a, (layer, next) -> layer.pre(a.get("x"), a.get("h"))), x.free("*  "), h);
    add("layer.pre of a shifted layer",
        a -> with(SHIFTED, a, (layer, next) -> layer.pre(a.get("x"), a.get("preMix"), LayerInput.of(a.get("h")))),
        x.free("*  "), preMix, h);
    add("layer.pre with norm and FP8",
        a -> with(CONFIG, a,
            (layer, next) -> layer.pre(a.get("x"), new LayerInput(a.get("h"), a.get("normWeight"), 1e-6f, a.get("y"),
                a.get("fp8"), a.get("fp8Scale"), Fp8.Rounding.EXACT))),
        x.free("*  "), h.optionally(), in("normWeight", FP32, C), y, fp8, fp8Scale);
    add("layer.boundary",
        a -> with(CONFIG, a,
            (layer, next) -> layer.boundary(a.get("x"), a.get("f"), next, a.get("xNext"), a.get("hNext"))),
        x, f, out("xNext", BF16, T, N, C), out("hNext", BF16, T, C));
    add("layer.boundary with norm and FP8",
        a -> with(CONFIG, a,
            (layer, next) -> layer.boundary(a.get("x"), a.get("f"), next, a.get("xNext"), new LayerInput(
                a.get("hNext"), a.get("normWeight"), 1e-6f, a.get("y"), a.get("fp8"), a.get("fp8Scale"), Fp8.Rounding.EXACT))),
        x, f, out("xNext", BF16, T, N, C), out("hNext", BF16, T, C).optionally(), in("normWeight", FP32, C), y, fp8, fp8Scale);
    add("layer.boundary of shifted layers",
        a -> with(SHIFTED, a,
            (layer, next) -> layer.boundary(a.get("x"), a.get("f"), next, a.get("xNext"), a.get("hNext"))),
        x, f, out("xNext", BF16, T, N, C), out("hNext", BF16, T, C));
    add("layer.post", a -> with(CONFIG, a, (layer, next) -> layer.post(a.get("x"), a.get("f"), a.get("xNext"))), x, f,
        out("xNext", BF16, T, N, C));
    add("layer.coefficients", a -> with(CONFIG, a, (layer, next) -> layer.coefficients(a.get("x"))), x.free("*  "));
    add("layer.postBackward",
        a -> with(CONFIG, a,
            (layer, next) -> layer.postBackward(a.get("x"), a.get("f"), a.get("dXNext"), a.get("dX"), a.get("dF"))),
        x, f, in("dXNext", BF16, T, N, C), dX.optionally(), out("dF", BF16, T, C).optionally());
    Argument dH = in("dH", BF16, T, C);
    Argument[] gradients = {out("gradients.projection", FP32, M, N * C).optionally(),
        out("gradients.scale", FP32, 3).optionally(), out("gradients.bias", FP32, M).optionally(),
        out("gradients.normWeight", FP32, N * C).optionally()};
    add("layer.boundaryBackward",
        a -> with(CONFIG, a,
            (layer, next) -> layer.boundaryBackward(a.get("x"), a.get("f"), next,
                new LayerInputGradient(a.get("dHNext"), a.get("normWeight"), 1e-6f, a.get("dNormWeight")),
                a.get("dXNext"), a.get("dX"), a.get("dF"), gradients(a), Accumulate.NONE)),
        x, f, in("dHNext", BF16, T, C), in("normWeight", FP32, C), out("dNormWeight", FP32, C).optionally(),
        in("dXNext", BF16, T, N, C).optionally(), dX, out("dF", BF16, T, C), gradients[0], gradients[1], gradients[2]);
    add("layer.preBackward",
        a -> with(CONFIG, a,
            (layer, next) -> layer.preBackward(a.get("x"), a.get("dH"), a.get("dXLater"), a.get("dX"), gradients(a))),
        x, dH, in("dXLater", BF16, T, N, C).optionally(), dX, gradients[0], gradients[1], gradients[2]);
    add("layer.preBackward of a shifted layer",
        a -> with(SHIFTED, a,
            (layer, next) -> layer.preBackward(a.get("x"), a.get("preMix"), LayerInputGradient.of(a.get("dInput")),
                a.get("dXLater"), a.get("dX"), gradients(a), Accumulate.ALL)),
        x, preMix.optionally(), renamed("dH", in("dInput", BF16, T, C)), in("dXLater", BF16, T, N, C).optionally(), dX);
    add("layer.coefficientsBackward with normWeight",
        a -> with(CONFIG, a, true,
            (layer, next) -> layer.coefficientsBackward(a.get("x"), a.get("dX"), gradients(a), Accumulate.NONE)),
        x, dX.optionally(), gradients[0], gradients[1], gradients[2], gradients[3]);
    add("layer.boundaryBackward of shifted layers",
        a -> with(SHIFTED, a,
            (layer, next) -> layer.boundaryBackward(a.get("x"), a.get("f"), next, a.get("dHNext"), a.get("dXNext"),
                a.get("dX"), a.get("dF"), gradients(a))),
        x, f, in("dHNext", BF16, T, C), in("dXNext", BF16, T, N, C).optionally(), dX, out("dF", BF16, T, C));
    add("layer.coefficientsBackward",
        a -> with(CONFIG, a,
            (layer, next) -> layer.coefficientsBackward(a.get("x"), a.get("dX"), gradients(a), Accumulate.NONE)),
        x, dX.optionally(), gradients[0], gradients[1], gradients[2]);
    add("Gemm.run",
        a -> {
          try (Gemm gemm = Gemm.create(device, GemmConfig.of(FP32, 2, 3, 4).withBatch(T).withEpilogue(true, Activation.RELU))) {
            gemm.run(a.get("a"), a.get("b"), a.get("bias"), a.get("d"));
          }
        },
        in("a", FP32, T, 2, 4), in("b", FP32, T, 4, 3), in("bias", FP32, 3), out("d", FP32, T, 2, 3));
    add("Fp8Gemm.run",
        a -> {
          try (Fp8Gemm gemm = Fp8Gemm.create(device, Fp8GemmConfig.tiled(2, 16, 256, BF16).withEpilogue(true, Activation.NONE))) {
            gemm.run(a.get("a"), a.get("aScale"), a.get("b"), a.get("bScale"), a.get("bias"), a.get("d"));
          }
        },
        in("a", FP8_E4M3, 2, 256), in("aScale", FP32, 2, 2).withAnyStrides(), in("b", FP8_E4M3, 16, 256),
        in("bScale", FP32, 1, 2).withAnyStrides(), in("bias", BF16, 16), out("d", BF16, 2, 16));
    add("Muon.orthogonalize", a -> withMuon(muon -> muon.orthogonalize(a.get("matrix"), a.get("result"))),
        in("matrix", BF16, T, 2, 4), out("result", BF16, T, 2, 4));
    add("Muon.step",
        a -> withMuon(muon -> muon.step(a.get("parameter"), a.get("gradient"), a.get("momentum"), 1)),
        out("parameter", BF16, T, 2, 4), in("gradient", BF16, T, 2, 4), out("momentum", FP32, T, 2, 4));
    add("recompute",
        a -> with(CONFIG, a,
            (layer, next) -> Recompute.of(List.of(layer, next)).run(a.get("x"), null,
                new Tensor[] {a.get("f"), null}, new Tensor[] {null, a.get("residuals")},
                new Tensor[] {a.get("h"), null}, null)),
        x.free("* *"), f, out("residuals", BF16, T, N, C).optionally(), h.optionally());
    add("recompute of shifted layers, with what leaves them",
        a -> with(SHIFTED, a,
            (layer, next) -> Recompute.of(List.of(layer, next)).run(a.get("x"), a.get("preMix"),
                new Tensor[] {a.get("f"), a.get("f")}, null, null, a.get("xNext"))),
        x.free("* *"), preMix.optionally(), f, out("xNext", BF16, T, N, C).optionally());
  }

  /** Messages of a shared implementation name the argument as most methods do. */
  private final Map<String, String> names = new LinkedHashMap<>();

  private Argument renamed(String messageName, Argument argument) {
    names.put(argument.name, messageName);
    return argument;
  }

  private static Parameters parameters(Arguments a) {
    return new Parameters(a.get("projection"), a.get("scale"), a.get("bias"), a.get("normWeight"));
  }

  private static Gradients gradients(Arguments a) {
    return new Gradients(a.get("gradients.projection"), a.get("gradients.scale"), a.get("gradients.bias"),
        a.get("gradients.normWeight"));
  }

  private void withMuon(Consumer<Muon> use) {
    try (Muon muon = Muon.create(device, MuonConfig.Preset.KELLER_JORDAN.config(), T, 2, 4)) {
      use.accept(muon);
    }
  }

  private interface Use {
    void of(HyperConnection layer, HyperConnection next);
  }

  /** Two layers of which a forward is done, with gradients of coefficients. */
  private void with(HyperConnectionConfig config, Arguments a, Use use) {
    with(config, a, false, use);
  }

  private void with(HyperConnectionConfig config, Arguments a, boolean hasNormWeight, Use use) {
    try (Parameters made = Parameters.initialize(device, config, C, 1);
        Parameters parameters = new Parameters(made.projection(), made.scale(), made.bias(),
            hasNormWeight ? device.tensor(FP32, N * C).fill(1) : null);
        HyperConnection layer = HyperConnection.create(device, config, parameters);
        HyperConnection next = HyperConnection.create(device, config, parameters);
        Tensor x = device.tensor(BF16, T, N, C).fill(0.5)) {
      layer.coefficients(x);
      next.coefficients(x);
      layer.coefficientGradients();
      next.coefficientGradients();
      use.of(layer, next);
    }
  }

  @BeforeEach
  void open() {
    device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
    other = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
  }

  @AfterEach
  void close() {
    device.close();
    other.close();
  }

  private static java.util.concurrent.ExecutorService elsewhere;

  @BeforeAll
  static void start() {
    elsewhere = Executors.newSingleThreadExecutor();
  }

  @AfterAll
  static void stop() {
    elsewhere.shutdown();
  }

  @TestFactory
  List<DynamicTest> eachArgument() {
    addAll();
    var tests = new ArrayList<DynamicTest>();
    for (Case each : cases) {
      tests.add(DynamicTest.dynamicTest(each.operation + " takes right arguments", () -> inDevices(() -> {
        each.invocation.run(good(each, device));
        return null;
      })));
      for (Argument argument : each.arguments) {
        tests.add(DynamicTest.dynamicTest(each.operation + " refuses a wrong " + argument.name, () -> inDevices(() -> {
          refuse(each, argument);
          return null;
        })));
      }
    }
    return tests;
  }

  /** Dynamic tests share one life cycle of the test class: each gets its devices here. */
  private void inDevices(Callable<?> body) throws Exception {
    close();
    open();
    body.call();
  }

  private Arguments good(Case each, Device on) {
    var arguments = new Arguments();
    for (Argument argument : each.arguments) {
      Tensor tensor = on.tensor(argument.type, argument.shape);
      arguments.put(argument.name, argument.output ? tensor.fill(UNTOUCHED) : tensor.fill(0.5 * (tensor.dtype() == INT32 ? 2 : 1)));
    }
    return arguments;
  }

  private void refuse(Case each, Argument argument) throws Exception {
    String name = names.getOrDefault(argument.name, argument.name);
    if (!argument.optional) {
      boolean inRecord = each.operation.equals("layer.boundaryBackward") && argument.name.equals("dHNext");
      String nullName = inRecord ? "dInput" : argument.name; // refused by the record
      expect(each, argument, null, IllegalArgumentException.class, nullName, "null", "expected");
    }
    long[] shape = argument.shape;
    long[] longer = Arrays.copyOf(shape, shape.length + 1);
    longer[shape.length] = 1;
    expect(each, argument, device.tensor(argument.type, longer), IllegalArgumentException.class, name + " is "
        + Arrays.toString(longer), "expected");
    for (int i = 0; i < shape.length; i++) {
      if (i < argument.free.length() && argument.free.charAt(i) == '*') {
        continue;
      }
      long[] wrong = shape.clone();
      wrong[i]++;
      expect(each, argument, device.tensor(argument.type, wrong), IllegalArgumentException.class,
          name + " is " + Arrays.toString(wrong), "expected");
    }
    DType wrongType = argument.type == INT32 ? FP32 : INT32;
    expect(each, argument, device.tensor(wrongType, shape), IllegalArgumentException.class, name + " is",
        wrongType.name(), "expected " /* and which */);
    Tensor closed = device.tensor(argument.type, shape);
    closed.close();
    expect(each, argument, closed, IllegalStateException.class, name + " is closed");
    expect(each, argument, other.tensor(argument.type, shape), IllegalArgumentException.class,
        each.arguments.get(0) == argument ? "belongs to another device" : name + " belongs to another device", "expected");

    long bytes = 4096L * 64;
    Arena ended = Arena.ofShared();
    Tensor orphan = Tensor.wrap(device, argument.type, ended.allocate(bytes), shape);
    ended.close();
    expect(each, argument, orphan, IllegalStateException.class, name, "arena is closed");
    MemorySegment confined = elsewhere.submit(() -> Arena.ofConfined().allocate(bytes)).get();
    expect(each, argument, Tensor.wrap(device, argument.type, confined, shape), IllegalArgumentException.class, name,
        "confined to another thread", "expected");
    if (!argument.anyStrides && shape[shape.length - 1] > 1) {
      long[] strides = Tensor.compactStrides(shape);
      for (int i = 0; i < strides.length; i++) {
        strides[i] *= 2;
      }
      expect(each, argument, Tensor.wrap(device, argument.type, Arena.ofAuto().allocate(bytes), shape, strides),
          IllegalArgumentException.class, name + " is", "strides " + Arrays.toString(strides), "stride 1");
    }
    if (argument.output) {
      Tensor readOnly = Tensor.wrap(device, argument.type, Arena.ofAuto().allocate(bytes).asReadOnly(), shape);
      expect(each, argument, readOnly, IllegalArgumentException.class, name + " is", "read-only", "expected");
    }
  }

  private void expect(Case each, Argument argument, Tensor wrong, Class<? extends Exception> type, String... words) {
    Arguments arguments = good(each, device);
    arguments.put(argument.name, wrong);
    assertThatThrownBy(() -> each.invocation.run(arguments)).as("%s with %s = %s", each.operation, argument.name, wrong)
        .isInstanceOf(type).hasMessageContainingAll(words);
    for (Argument output : each.arguments) {
      if (output.output && output != argument) {
        assertThat(arguments.get(output.name).toDoubles()).as(output.name)
            .containsOnly(UNTOUCHED);
      }
    }
  }

  @Test
  void valuesThatAreNoTensors() {
    Tensor x = device.tensor(BF16, T, C);
    Tensor logits = device.tensor(FP32, 1, N, N);
    refuses(() -> RmsNorm.forward(x, null, -1, x, null), "eps is -1.0", "at least 0");
    refuses(() -> RmsNorm.forward(x, null, Float.NaN, x, null), "eps is NaN", "expected");
    refuses(() -> RmsNorm.backward(x, null, 0, x, x, null, null), "accumulate is null", "expected");
    refuses(() -> Sinkhorn.forward(null, logits, logits), "config is null", "expected");
    refuses(() -> Sinkhorn.backward(null, logits, logits, logits, Accumulate.NONE), "config is null", "expected");
    refuses(() -> Sinkhorn.backward(CONFIG, logits, logits, logits, null), "accumulate is null", "expected");
    refuses(() -> Fp8.quantize(x, x, x, null, Fp8.Rounding.EXACT), "tile is null", "expected");
    refuses(() -> Fp8.quantize(x, x, x, Fp8.Tile.ROW, null), "rounding is null", "expected");
    refuses(() -> Fp8.quantize(x, x, x, Fp8.Tile.ROW, Fp8.Rounding.EXACT, -1), "amaxFloor is -1.0", "expected");
    refuses(() -> Fp8.dequantize(x, x, null, x), "tile is null", "expected");
    refuses(() -> Fp8.scaleShape(Fp8.Tile.ROW, -1, 1), "rows is -1", "expected");
    refuses(() -> Fp8.scaleShape(Fp8.Tile.ROW, 1, -1), "columns is -1", "expected");
    refuses(() -> Fp8.scaleShape(null, 1, 1), "tile is null", "expected");
    refuses(() -> Gain.measure(null, logits, null), "orientation is null", "expected");
    refuses(() -> Gain.measure(Orientation.OUT_IN, logits, null), "out is null", "expected");
    refuses(() -> Gain.allocate(device, 0, 1), "layers is 0", "expected");
    refuses(() -> Gain.allocate(device, 1, -1), "tokens is -1", "expected");
    refuses(() -> Birkhoff.decompose(logits, null), "out is null", "expected");
    refuses(() -> Birkhoff.allocate(device, -1, 4), "batch is -1", "expected");
    refuses(() -> Birkhoff.allocate(device, 1, 17), "n is 17", "1 to 16");
    refuses(() -> Operations.post(null, x, x, x, x, x), "orientation is null", "expected");
    refuses(() -> Operations.coefficients(null, Parameters.none(), x, null), "config is null", "expected");
    refuses(() -> Operations.coefficients(CONFIG, null, x, null), "parameters is null", "expected");
    refuses(() -> Operations.coefficients(CONFIG, Parameters.none(), x, null), "out is null", "expected");
    refuses(() -> Head.weighted(null, null, x, x, null, null), "config is null", "expected");
    refuses(() -> Head.weighted(CONFIG, null, x, x, null, null), "weights is null", "expected");
    refuses(() -> Fp8.quantize(x, device.tensor(FP8_E4M3, T, C), device.tensor(E8M0, T, 1), Fp8.Tile.ROW, Fp8.Rounding.EXACT),
        "scale", "E8M0", "expected");
    refuses(() -> Fp8.quantize(x, x, x, Fp8.Tile.ROW, Fp8.Rounding.EXACT, Float.NaN), "amaxFloor is NaN", "expected");
    refuses(() -> Fp8.scales(null, Fp8.Tile.ROW, 1, 1), "device is null", "expected");
    refuses(() -> Fp8.scales(device, null, 1, 1), "tile is null", "expected");
    refuses(() -> Fp8.scales(device, Fp8.Tile.ROW, -1, 1), "rows is -1", "expected");
    refuses(() -> Fp8.scales(device, Fp8.Tile.ROW, 1, -1), "columns is -1", "expected");
    refuses(() -> Gain.allocate(null, 1, 1), "device is null", "expected");
    refuses(() -> Birkhoff.allocate(null, 1, 4), "device is null", "expected");
    refuses(() -> Coefficients.allocate(null, CONFIG, 1), "device is null", "expected");
    refuses(() -> Coefficients.allocate(device, null, 1), "config is null", "expected");
    refuses(() -> Coefficients.allocate(device, CONFIG, -1), "tokens is -1", "expected");
    refuses(() -> Parameters.initialize(null, CONFIG, C, 1), "device is null", "expected");
    refuses(() -> Parameters.initialize(device, null, C, 1), "config is null", "expected");
    refuses(() -> RmsNorm.backward(x, null, -1, x, x, null, Accumulate.NONE), "eps is -1.0", "at least 0");
    refuses(() -> Operations.postBackward(null, x, x, x, x, x, null, null, null, null, Accumulate.NONE), "orientation is null",
        "expected");
    refuses(() -> Head.weightedBackward(null, null, x, x, x, x, x, null, Accumulate.NONE), "config is null", "expected");
    refuses(() -> Head.weightedBackward(CONFIG, null, x, x, x, x, x, null, Accumulate.NONE), "weights is null", "expected");
    refuses(() -> Head.weightedBackward(CONFIG, new Head.Weights(x, x, x), x, x, x, x, x, null, Accumulate.NONE),
        "gradients is null", "expected");
    refuses(() -> Device.cpu(null), "options is null", "expected");
    refuses(() -> new CpuOptions(-1, CpuTier.AUTO), "threads is -1", "0 to 1024");
    refuses(() -> new CpuOptions(1025, CpuTier.AUTO), "threads is 1025", "0 to 1024");
    refuses(() -> new CpuOptions(1, null), "tier is null", "expected");
    refuses(() -> device.reserve(-1), "bytes is -1", "expected");
    refuses(() -> device.tensor(null, 1), "type is null", "expected");
    refuses(() -> device.tensor(FP32, -1), "shape is [-1]", "expected");
    refuses(() -> RecomputePlan.of(0, 4), "layers is 0", "1 to 1000000");
    refuses(() -> RecomputePlan.of(4, 17), "streams is 17", "1 to 16");
    refuses(() -> RecomputePlan.ofEvenStages(4, 4, 5), "stages is 5", "1 to 4");
    refuses(() -> RecomputePlan.ofStages(4), "stageLayers.length is 0", "expected");
    refuses(() -> RecomputePlan.ofStages(4, 3, 0), "stageLayers is 0", "expected");
    refuses(() -> RecomputePlan.ofStages(4, (int[]) null), "stageLayers is null", "expected");
    refuses(() -> RecomputePlan.of(4, 0), "streams is 0", "1 to 16");
    refuses(() -> RecomputePlan.ofEvenStages(4, 4, 0), "stages is 0", "1 to 4");
    refuses(() -> RecomputePlan.of(4, 4).blockEnd(-1, 4), "block is -1", "expected");
    refuses(() -> RecomputePlan.of(4, 4).blockEnd(4, 4), "block is 4", "expected");
    refuses(() -> RecomputePlan.of(30, 4).blockEnd(0, 25), "layers is 25", "expected", "26 to 1000000");
  }

  /** Streams and layer tensors of types that do not go together. */
  @Test
  void typesThatDoNotMix() {
    Tensor x = device.tensor(BF16, T, N, C);
    Tensor wide = device.tensor(FP32, T, N, C);
    Tensor preMix = device.tensor(FP32, T, N);
    Tensor resMix = device.tensor(FP32, T, N, N);
    for (DType type : new DType[] {FP32, FP16}) {
      Tensor h = device.tensor(type, T, C).fill(UNTOUCHED);
      refuses(() -> Operations.pre(x, preMix, h), "h is [3, 8] " + type, "expected");
      refuses(() -> Operations.post(Orientation.OUT_IN, x, h, preMix, resMix, x), "f is [3, 8] " + type, "expected");
      refuses(() -> Operations.preBackward(x, preMix, h, x, null, Accumulate.NONE), "dH is [3, 8] " + type, "expected");
      refuses(() -> Head.mean(x, h), "y is [3, 8] " + type, "expected");
      refuses(() -> Expand.forward(h, x), "x is [3, 4, 8] BF16", "expected");
      assertThat(h.toDoubles()).containsOnly(UNTOUCHED);
    }
    Tensor f = device.tensor(BF16, T, C);
    Tensor dF = device.tensor(FP16, T, C);
    refuses(() -> Operations.postBackward(Orientation.OUT_IN, wide, f, preMix, resMix, wide, null, dF, null, null, Accumulate.NONE),
        "dF is [3, 8] FP16", "expected");
    refuses(() -> Operations.post(Orientation.OUT_IN, wide, f, preMix, resMix, x), "xNext is [3, 4, 8] BF16", "expected");
  }

  @Test
  void accumulateIsGiven() {
    Tensor x = device.tensor(BF16, T, N, C);
    Tensor h = device.tensor(BF16, T, C);
    Tensor preMix = device.tensor(FP32, T, N);
    Tensor resMix = device.tensor(FP32, T, N, N);
    Parameters parameters = Parameters.initialize(device, CONFIG, C, 1);
    HyperConnection layer = HyperConnection.create(device, CONFIG, parameters);
    HyperConnection next = HyperConnection.create(device, CONFIG, parameters);
    layer.coefficients(x);
    next.coefficients(x);
    var dInput = LayerInputGradient.of(h);
    for (org.assertj.core.api.ThrowableAssert.ThrowingCallable call : List.<org.assertj.core.api.ThrowableAssert.ThrowingCallable>of(
        () -> Operations.preBackward(x, preMix, h, x, null, null),
        () -> Operations.postBackward(Orientation.OUT_IN, x, h, preMix, resMix, x, x, null, null, null, null),
        () -> Expand.backward(x, h, null), () -> Head.meanBackward(h, x, null), () -> Head.sumBackward(h, x, null),
        () -> Head.weightedBackward(CONFIG, new Head.Weights(device.tensor(FP32, N, N * C), device.tensor(FP32, 1),
            device.tensor(FP32, N)), x, preMix, device.tensor(FP32, T), h, x, new Head.Weights(null, null, null), null),
        () -> layer.preBackward(x, dInput, null, x, null, null),
        () -> layer.boundaryBackward(x, h, next, dInput, null, x, h, null, null),
        () -> layer.postBackward(x, h, x, x, null, null), () -> layer.coefficientsBackward(x, x, null, null))) {
      refuses(call, "accumulate is null", "expected");
    }
  }

  @Test
  void layersThatDoNotFit() {
    Parameters parameters = Parameters.initialize(device, CONFIG, C, 1);
    refuses(() -> HyperConnection.create(null, CONFIG, parameters), "device is null", "expected");
    refuses(() -> HyperConnection.create(device, null, parameters), "config is null", "expected");
    refuses(() -> HyperConnection.create(device, CONFIG, null), "parameters is null", "expected");
    refuses(() -> HyperConnection.create(device, CONFIG, parameters, -1), "maxTokens is -1", "expected");
    refuses(() -> HyperConnection.create(device, CONFIG, Parameters.none()), "projection is null", "expected");
    refuses(() -> HyperConnection.create(other, CONFIG, parameters), "projection belongs to another device");
    refuses(() -> Parameters.initialize(device, CONFIG, 0, 1), "width is 0", "expected");
    HyperConnection layer = HyperConnection.create(device, CONFIG, parameters);
    Tensor x = device.tensor(BF16, T, N, C);
    Tensor f = device.tensor(BF16, T, C);
    layer.coefficients(x);
    refuses(() -> layer.boundary(x, f, null, x, f), "next is null", "expected");
    refuses(() -> layer.boundary(x, f, layer, x, (LayerInput) null), "input is null", "expected");
    HyperConnection turned = HyperConnection.create(device,
        CONFIG.toBuilder().orientation(Orientation.IN_OUT).build(), parameters);
    refuses(() -> layer.boundary(x, f, turned, x, f), "next has 4 streams and orientation IN_OUT", "expected 4 and OUT_IN");
    HyperConnection elsewhere = HyperConnection.create(other, CONFIG, Parameters.initialize(other, CONFIG, C, 1));
    refuses(() -> layer.boundary(x, f, elsewhere, x, f), "next is on", "another device", "expected");
    refuses(() -> layer.pre(x, device.tensor(FP32, T, N), LayerInput.of(f)), "preMix is given", "not shifted");
    refuses(() -> Recompute.of(List.of()), "layers.size() is 0", "1 to 4096");
    refuses(() -> Recompute.of(List.of(layer, elsewhere)), "layers[1] is on", "another device", "expected");
    refuses(() -> Recompute.of(List.of(layer, turned)), "layers[1] has", "expected the config of layers[0]");
    Recompute block = Recompute.of(List.of(layer));
    refuses(() -> block.run(x, null, new Tensor[2], null, null, null), "f has 2 tensors", "expected 1");
    refuses(() -> block.run(x, null, null, null, null, null), "f is null", "expected");
    refuses(() -> block.run(x, null, new Tensor[1], new Tensor[2], null, null), "residuals has 2 tensors", "expected 1");
    refuses(() -> block.run(x, null, new Tensor[1], null, new Tensor[2], null), "h has 2 tensors", "expected 1");
    refuses(() -> block.run(x, null, new Tensor[1], null, null, x), "f is null", "expected");
    refuses(() -> Recompute.of(null), "layers is null", "expected");
    refuses(() -> Recompute.of(Arrays.asList(layer, null)), "layers[1] is null", "expected");
    refuses(() -> layer.preBackward(x, device.tensor(FP32, T, N), LayerInputGradient.of(f), null, x, null, Accumulate.NONE),
        "preMix is given", "not shifted");
    refuses(() -> new LayerInputGradient(f, f, Float.NaN, null), "normEps is NaN", "expected");
    refuses(() -> layer.pre(x, new LayerInput(null, null, 0, null, device.tensor(FP8_E4M3, T, C), device.tensor(E8M0, T, 1),
        Fp8.Rounding.EXACT)), "h_scale.dtype is float8_e8m0fnu", "expected float32");
    refuses(() -> block.run(x, null, new Tensor[1], new Tensor[] {x}, null, null), "residuals[0] is", "expected null");
    refuses(() -> block.run(x, x, new Tensor[1], null, null, null), "preMix is given", "not shifted");
    refuses(() -> new LayerInput(null, null, 0, null, null, null, Fp8.Rounding.EXACT), "h, y and fp8 are null",
        "expected");
    refuses(() -> new LayerInput(f, null, 0, f, null, null, Fp8.Rounding.EXACT), "normWeight is null", "expected");
    refuses(() -> new LayerInput(f, null, 0, null, f, null, Fp8.Rounding.EXACT), "fp8Scale is null", "expected");
    refuses(() -> new LayerInput(f, null, 0, null, null, f, Fp8.Rounding.EXACT), "fp8 is null", "expected");
    refuses(() -> new LayerInput(f, null, -1, null, null, null, Fp8.Rounding.EXACT), "normEps is -1.0", "expected");
    refuses(() -> new LayerInput(f, null, 0, null, null, null, null), "rounding is null", "expected");
    refuses(() -> LayerInputGradient.of(null), "dInput is null", "expected");
    refuses(() -> new LayerInputGradient(f, null, 0, f), "normWeight is null", "expected");
  }

  /** What Java leaves to the library: its refusal is the same exception. */
  @Test
  void overlapIsRefused() {
    Tensor x = device.tensor(FP32, T, N, C).fill(1);
    Tensor preMix = device.tensor(FP32, T, N).fill(1);
    refuses(() -> Operations.pre(x, preMix, Tensor.wrap(device, FP32, x.segment(), new long[] {T, C},
        new long[] {N * C, 1})), "overlap");
    assertThat(x.toDoubles()).containsOnly(1);
    Tensor h = Tensor.wrap(device, FP32, x.segment(), new long[] {T, C});
    Tensor f = device.tensor(FP32, T, C);
    Tensor resMix = device.tensor(FP32, T, N, N);
    refuses(() -> Operations.post(Orientation.OUT_IN, x, h, preMix, resMix, x), "overlap");
    refuses(() -> Operations.preBackward(x, preMix, f, x, preMix, Accumulate.NONE), "overlap");
    refuses(() -> Expand.forward(h, x), "overlap");
    refuses(() -> Expand.backward(x, h, Accumulate.NONE), "overlap");
    refuses(() -> Head.mean(x, h), "overlap");
    refuses(() -> Head.meanBackward(h, x, Accumulate.NONE), "overlap");
    refuses(() -> RmsNorm.backward(f, device.tensor(FP32, C), 0, f, h, Tensor.wrap(device, FP32, x.segment(), new long[] {C}), Accumulate.NONE),
        "overlap");
    refuses(() -> Sinkhorn.forward(CONFIG, resMix, resMix), "overlap");
    refuses(() -> Gain.measure(Orientation.OUT_IN, resMix.reshape(1, T, N, N), new Gain(f.part(0, FP32, 1, T),
        f.part(0, FP32, 1, T), null, null, null, null)), "overlap");
    try (Parameters parameters = Parameters.initialize(device, CONFIG, C, 1);
        HyperConnection layer = HyperConnection.create(device, CONFIG, parameters);
        HyperConnection next = HyperConnection.create(device, CONFIG, parameters)) {
      layer.coefficients(x);
      refuses(() -> layer.boundary(x, f, next, x, f), "overlap");
      refuses(() -> layer.pre(x, h), "overlap");
    }
    assertThat(x.toDoubles()).containsOnly(1);
  }

  private static void refuses(org.assertj.core.api.ThrowableAssert.ThrowingCallable call, String... words) {
    assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessageContainingAll(words);
  }
}
