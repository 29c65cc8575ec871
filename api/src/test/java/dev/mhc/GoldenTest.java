// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.HyperConnectionConfig.Orientation;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every operation through the Java API against the golden files: PyTorch float64 autograd of each code base's formulas. */
class GoldenTest {
  private static final double TIGHT = 1e-5;
  private static final DType FP32 = DType.FP32;

  private Device device;

  @BeforeEach
  void open() {
    device = TestDevice.open();
  }

  @AfterEach
  void close() {
    if (device != null) { // else there is nothing to run on
      device.close();
    }
  }

  static Stream<Golden> pre() {
    return Golden.of("pre");
  }

  @ParameterizedTest
  @MethodSource
  void pre(Golden golden) {
    Tensor x = golden.input(device, golden.streamType(), "x");
    Tensor preMix = golden.input(device, FP32, "pre_mix");
    Tensor h = golden.output(device, golden.layerType(), "h");
    Operations.pre(x, preMix, h);
    golden.check("h", h, TIGHT);

    Tensor dH = golden.input(device, golden.layerType(), "d_h");
    Tensor dX = golden.output(device, golden.streamType(), "d_x");
    Tensor dPreMix = golden.output(device, FP32, "d_pre_mix");
    Operations.preBackward(x, preMix, dH, dX, dPreMix, Accumulate.NONE);
    golden.check("d_x", dX, TIGHT);
    golden.check("d_pre_mix", dPreMix, TIGHT);
  }

  static Stream<Golden> post() {
    return Golden.of("post");
  }

  @ParameterizedTest
  @MethodSource
  void post(Golden golden) {
    Orientation orientation = Orientation.values()[golden.integer("orientation")];
    Tensor x = golden.input(device, golden.streamType(), "x");
    Tensor f = golden.input(device, golden.layerType(), "f");
    Tensor postMix = golden.input(device, FP32, "post_mix");
    Tensor resMix = golden.input(device, FP32, "res_mix");
    Tensor xNext = golden.output(device, golden.streamType(), "x_next");
    Operations.post(orientation, x, f, postMix, resMix, xNext);
    golden.check("x_next", xNext, TIGHT);

    Tensor dXNext = golden.input(device, golden.streamType(), "d_x_next");
    Tensor dX = golden.output(device, golden.streamType(), "d_x");
    Tensor dF = golden.output(device, golden.layerType(), "d_f");
    Tensor dPostMix = golden.output(device, FP32, "d_post_mix");
    Tensor dResMix = golden.output(device, FP32, "d_res_mix");
    Operations.postBackward(orientation, x, f, postMix, resMix, dXNext, dX, dF, dPostMix, dResMix, Accumulate.NONE);
    golden.check("d_x", dX, TIGHT);
    golden.check("d_f", dF, TIGHT);
    golden.check("d_post_mix", dPostMix, TIGHT);
    golden.check("d_res_mix", dResMix, TIGHT);
  }

  static Stream<Golden> coefficients() {
    return Golden.of("coefficients");
  }

  @ParameterizedTest
  @MethodSource
  void coefficients(Golden golden) {
    HyperConnectionConfig config = golden.config();
    Tensor x = golden.input(device, golden.streamType(), "x");
    Parameters parameters = golden.parameters(device, "parameters_");
    Coefficients out = Coefficients.allocate(device, config, x.dim(0));
    Operations.coefficients(config, parameters, x, out);
    checkCoefficients(golden, "out_", out);

    try (HyperConnection layer = HyperConnection.create(device, config, parameters)) {
      checkCoefficients(golden, "out_", layer.coefficients(x));
      if (!golden.has("d_pre_mix")) {
        return;
      }
      Coefficients given = layer.coefficientGradients();
      given.preMix().copyFrom(golden.values("d_pre_mix"));
      given.postMix().copyFrom(golden.values("d_post_mix"));
      given.resMix().copyFrom(golden.values("d_res_mix"));
      Tensor dX = device.tensor(golden.streamType(), x.shape());
      try (Gradients gradients = Gradients.like(parameters)) {
        layer.coefficientsBackward(x, dX, gradients, Accumulate.NONE);
        golden.checkIfThere("d_x", dX, 2 * TIGHT);
        checkGradients(golden, "d_parameters_", gradients, 2 * TIGHT);
      }
    }
  }

  static Stream<Golden> boundary() {
    return Golden.of("boundary");
  }

  @ParameterizedTest
  @MethodSource
  void boundary(Golden golden) {
    HyperConnectionConfig config = golden.config();
    DType streams = golden.streamType();
    DType rows = golden.layerType();
    Tensor x = golden.input(device, streams, "x");
    long tokens = x.dim(0);
    boolean first = golden.integer("first") == 1;
    Parameters parameters = golden.parameters(device, "parameters_");
    Tensor normWeight = golden.input(device, FP32, "norm_weight");
    float normEps = golden.number("norm_eps", 0);
    Tensor h = golden.output(device, rows, "h");
    Tensor y = golden.output(device, rows, "y");
    Tensor fp8 = golden.output(device, DType.FP8_E4M3, "h_fp8");
    Tensor fp8Scale = golden.output(device, FP32, "h_scale");
    var input = LayerInput.of(h);
    if (normWeight != null) {
      input = input.withNorm(normWeight, normEps, y);
    }
    if (fp8 != null) {
      input = input.withFp8(fp8, fp8Scale, Fp8.Rounding.values()[golden.integer("fp8_scale_rounding")]);
    }
    Tensor f = golden.input(device, rows, "f");
    Tensor xNext = golden.output(device, streams, "x_next");
    Tensor shifted = golden.input(device, FP32, "shifted_pre_mix");
    try (HyperConnection next = HyperConnection.create(device, config, parameters);
        HyperConnection previous = HyperConnection.create(device, config, parameters)) {
      if (first) {
        if (shifted == null) {
          next.pre(x, input);
        } else {
          next.pre(x, shifted, input);
        }
      } else {
        Coefficients held = previous.buffers().prepare(tokens);
        held.postMix().copyFrom(golden.values("post_mix"));
        held.resMix().copyFrom(golden.values("res_mix"));
        if (shifted != null) {
          held.preMix().copyFrom(shifted);
        }
        previous.buffers().computed();
        previous.boundary(x, f, next, xNext, input);
        golden.check("x_next", xNext, TIGHT);
      }
      checkCoefficients(golden, "next_", next.coefficients());
      golden.check("h", h, TIGHT);
      golden.checkIfThere("y", y, TIGHT);
      if (fp8 != null) {
        golden.check("h_fp8", fp8, 0);
        golden.check("h_scale", fp8Scale, 1e-6);
      }
      if (!golden.has("d_h")) {
        return;
      }

      Coefficients given = next.coefficientGradients();
      given.postMix().copyFrom(golden.values("d_post_mix_next"));
      given.resMix().copyFrom(golden.values("d_res_mix_next"));
      if (golden.has("d_pre_mix_next")) {
        given.preMix().copyFrom(golden.values("d_pre_mix_next"));
      }
      Tensor dNormWeight = golden.output(device, FP32, "d_norm_weight");
      var dInput = new LayerInputGradient(golden.input(device, rows, "d_h"), normWeight, normEps, dNormWeight);
      Tensor dXNext = golden.input(device, streams, "d_x_next");
      Tensor dX = golden.output(device, streams, "d_x");
      Tensor dF = golden.output(device, rows, "d_f");
      Gradients gradients = Gradients.like(parameters);
      if (first) {
        next.preBackward(x, shifted, dInput, dXNext, dX, gradients, Accumulate.NONE);
      } else {
        previous.boundaryBackward(x, f, next, dInput, dXNext, dX, dF, gradients, Accumulate.NONE);
        golden.check("d_f", dF, 2 * TIGHT);
        Coefficients made = previous.coefficientGradients();
        golden.check("d_post_mix", made.postMix(), 2 * TIGHT);
        golden.check("d_res_mix", made.resMix(), 2 * TIGHT);
        golden.checkIfThere("d_shifted_pre_mix", made.preMix(), 2 * TIGHT);
      }
      golden.check("d_x", dX, 2 * TIGHT);
      golden.checkIfThere("d_norm_weight", dNormWeight, 2 * TIGHT);
      checkGradients(golden, "d_parameters_", gradients, 2 * TIGHT);
    }
  }

  static Stream<Golden> chain() {
    return Golden.of("chain");
  }

  /** A whole stack, forward and backward, by the calls that a user makes. */
  @ParameterizedTest
  @MethodSource
  void chain(Golden golden) {
    HyperConnectionConfig config = golden.config();
    DType type = golden.streamType();
    int count = golden.integer("layers");
    int n = config.streams();
    Tensor embedding = golden.input(device, type, "embedding");
    long tokens = embedding.dim(0);
    long width = embedding.dim(1);
    var layers = new HyperConnection[count];
    var gradients = new Gradients[count];
    var x = new Tensor[count + 1];
    var f = new Tensor[count];
    var h = new Tensor[count];
    for (int l = 0; l <= count; l++) {
      x[l] = device.tensor(type, tokens, n, width);
      if (l < count) {
        Parameters parameters = golden.parameters(device, "layer" + l + "_parameters_");
        layers[l] = HyperConnection.create(device, config, parameters);
        gradients[l] = Gradients.like(parameters);
        f[l] = golden.input(device, type, "layer" + l + "_f");
        h[l] = device.tensor(type, tokens, width);
      }
    }
    Expand.forward(embedding, x[0]);
    layers[0].pre(x[0], h[0]);
    for (int l = 0; l + 1 < count; l++) {
      layers[l].boundary(x[l], f[l], layers[l + 1], x[l + 1], h[l + 1]);
    }
    HyperConnection last = layers[count - 1];
    last.post(x[count - 1], f[count - 1], x[count]);
    for (int l = 0; l < count; l++) {
      golden.check("layer" + l + "_h", h[l], TIGHT);
      golden.check("layer" + l + "_x_next", x[l + 1], TIGHT);
    }

    // The end of the network: DeepSeek-V4's head, or the last preMix where the convention shifts it.
    Tensor y = device.tensor(type, tokens, width);
    Tensor dY = golden.input(device, type, "d_y");
    Tensor dX = device.tensor(type, tokens, n, width);
    double loose = type == FP32 ? 5 * TIGHT : 0x1p-6; // dX is rounded to its type at each layer
    if (golden.has("head_projection")) {
      var weights = new Head.Weights(golden.input(device, FP32, "head_projection"),
          golden.input(device, FP32, "head_scale"), golden.input(device, FP32, "head_bias"));
      var dWeights = new Head.Weights(golden.output(device, FP32, "head_projection"),
          golden.output(device, FP32, "head_scale"), golden.output(device, FP32, "head_bias"));
      Tensor mix = device.tensor(FP32, tokens, n);
      Tensor invRms = device.tensor(FP32, tokens);
      Head.weighted(config, weights, x[count], y, mix, invRms);
      golden.check("y", y, TIGHT);
      Head.weightedBackward(config, weights, x[count], mix, invRms, dY, dX, dWeights, Accumulate.NONE);
      golden.check("head_d_projection", dWeights.projection(), loose);
      golden.check("head_d_scale", dWeights.scale(), loose);
      golden.check("head_d_bias", dWeights.bias(), loose);
      last.postBackward(x[count - 1], f[count - 1], dX, dX, f[count - 1] == null ? null : dF(golden, count - 1));
    } else {
      Tensor preMix = last.coefficients().preMix();
      Tensor dPreMix = device.tensor(FP32, tokens, n);
      Operations.pre(x[count], preMix, y);
      golden.check("y", y, TIGHT);
      Operations.preBackward(x[count], preMix, dY, dX, dPreMix, Accumulate.NONE);
      last.postBackward(x[count - 1], f[count - 1], dX, dX, dF(golden, count - 1));
      last.coefficientGradients().preMix().copyFrom(dPreMix);
    }
    golden.check("layer" + (count - 1) + "_d_f", dFs[count - 1], loose);
    for (int l = count - 2; l >= 0; l--) {
      Tensor dH = golden.input(device, type, "layer" + (l + 1) + "_d_h");
      layers[l].boundaryBackward(x[l], f[l], layers[l + 1], dH, dX, dX, dF(golden, l), gradients[l + 1]);
      golden.check("layer" + l + "_d_f", dFs[l], loose);
    }
    layers[0].preBackward(x[0], golden.input(device, type, "layer0_d_h"), dX, dX, gradients[0]);
    for (int l = 0; l < count; l++) {
      // Sums over tokens and streams of terms that cancel, after two layers in float32.
      checkGradients(golden, "layer" + l + "_d_parameters_", gradients[l], type == FP32 ? 20 * TIGHT : loose);
    }
    Tensor dEmbedding = device.tensor(type, tokens, width);
    Expand.backward(dX, dEmbedding, Accumulate.NONE);
    golden.check("d_embedding", dEmbedding, loose);
  }

  private final Tensor[] dFs = new Tensor[16];

  private Tensor dF(Golden golden, int layer) {
    return dFs[layer] = golden.output(device, golden.layerType(), "layer" + layer + "_d_f");
  }

  static Stream<Golden> sinkhorn() {
    return Golden.of("sinkhorn");
  }

  @ParameterizedTest
  @MethodSource
  void sinkhorn(Golden golden) {
    var config = new HyperConnectionConfig(4, HyperConnectionConfig.Mode.MHC, false, false, golden.integer("iterations"),
        HyperConnectionConfig.SinkhornStart.values()[golden.integer("sinkhorn_start")],
        HyperConnectionConfig.SinkhornOrder.values()[golden.integer("sinkhorn_order")],
        HyperConnectionConfig.EpsMode.values()[golden.integer("sinkhorn_eps_mode")], Orientation.OUT_IN,
        HyperConnectionConfig.RmsEpsMode.INSIDE, golden.number("sinkhorn_eps", 0), 0, 0, 2,
        HyperConnectionConfig.ProjectionPrecision.FULL);
    Tensor logits = golden.input(device, FP32, "logits");
    Tensor out = golden.output(device, FP32, "out");
    Sinkhorn.forward(config, logits, out);
    golden.check("out", out, TIGHT);

    Tensor dLogits = golden.output(device, FP32, "d_logits");
    Sinkhorn.backward(config, logits, golden.input(device, FP32, "d_out"), dLogits, Accumulate.NONE);
    golden.check("d_logits", dLogits, 2 * TIGHT);
  }

  static Stream<Golden> expand() {
    return Golden.of("expand");
  }

  @ParameterizedTest
  @MethodSource
  void expand(Golden golden) {
    Tensor x = golden.output(device, golden.streamType(), "x");
    Expand.forward(golden.input(device, golden.layerType(), "embedding"), x);
    golden.check("x", x, 0);
    Tensor dEmbedding = golden.output(device, golden.layerType(), "d_embedding");
    Expand.backward(golden.input(device, golden.streamType(), "d_x"), dEmbedding, Accumulate.NONE);
    golden.check("d_embedding", dEmbedding, TIGHT);
  }

  static Stream<Golden> head() {
    return Golden.of("head");
  }

  @ParameterizedTest
  @MethodSource
  void head(Golden golden) {
    Tensor x = golden.input(device, golden.streamType(), "x");
    Tensor y = golden.output(device, golden.layerType(), "y");
    Tensor dY = golden.input(device, golden.layerType(), "d_y");
    Tensor dX = golden.output(device, golden.streamType(), "d_x");
    switch (golden.integer("kind")) {
      case 0 -> {
        HyperConnectionConfig config = golden.config();
        var weights = new Head.Weights(golden.input(device, FP32, "projection"), golden.input(device, FP32, "scale"),
            golden.input(device, FP32, "bias"));
        var gradients = new Head.Weights(golden.output(device, FP32, "d_projection"),
            golden.output(device, FP32, "d_scale"), golden.output(device, FP32, "d_bias"));
        Tensor mix = golden.output(device, FP32, "mix");
        Tensor invRms = golden.output(device, FP32, "inv_rms");
        Head.weighted(config, weights, x, y, mix, invRms);
        golden.check("mix", mix, TIGHT);
        golden.check("inv_rms", invRms, TIGHT);
        Head.weightedBackward(config, weights, x, mix, invRms, dY, dX, gradients, Accumulate.NONE);
        golden.check("d_projection", gradients.projection(), 2 * TIGHT);
        golden.check("d_scale", gradients.scale(), 2 * TIGHT);
        golden.check("d_bias", gradients.bias(), 2 * TIGHT);
      }
      case 1 -> {
        Head.mean(x, y);
        Head.meanBackward(dY, dX, Accumulate.NONE);
      }
      default -> {
        Head.sum(x, y);
        Head.sumBackward(dY, dX, Accumulate.NONE);
      }
    }
    golden.check("y", y, TIGHT);
    golden.check("d_x", dX, TIGHT);
  }

  static Stream<Golden> rmsNorm() {
    return Golden.of("rmsnorm");
  }

  @ParameterizedTest
  @MethodSource
  void rmsNorm(Golden golden) {
    DType type = golden.layerType();
    Tensor x = golden.input(device, type, "x");
    Tensor weight = golden.input(device, FP32, "weight");
    float eps = golden.number("eps", 0);
    Tensor y = golden.output(device, type, "y");
    Tensor invRms = golden.output(device, FP32, "inv_rms");
    RmsNorm.forward(x, weight, eps, y, invRms);
    golden.check("y", y, TIGHT);
    golden.check("inv_rms", invRms, TIGHT);

    Tensor dX = golden.output(device, type, "d_x");
    Tensor dWeight = golden.output(device, FP32, "d_weight");
    RmsNorm.backward(x, weight, eps, golden.input(device, type, "d_y"), dX, dWeight, Accumulate.NONE);
    golden.check("d_x", dX, TIGHT);
    golden.checkIfThere("d_weight", dWeight, TIGHT);
  }

  static Stream<Golden> fp8() {
    return Golden.of("fp8_quantize");
  }

  @ParameterizedTest
  @MethodSource
  void fp8(Golden golden) {
    Fp8.Tile tile = Fp8.Tile.values()[golden.integer("tile")];
    Fp8.Rounding rounding = Fp8.Rounding.values()[golden.integer("scale_rounding")];
    Tensor src = golden.input(device, golden.streamType(), "src");
    Tensor dst = golden.output(device, DType.FP8_E4M3, "dst");
    long[] scaleShape = Fp8.scaleShape(tile, src.dim(0), src.dim(1));
    assertThat(scaleShape).isEqualTo(golden.shape("scale"));
    Tensor scale = device.tensor(FP32, scaleShape);
    Fp8.quantize(src, dst, scale, tile, rounding);
    golden.check("scale", scale, 1e-7);
    golden.check("dst", dst, 0);

    Tensor back = device.tensor(FP32, src.shape());
    Fp8.dequantize(dst, scale, tile, back);
    double[] fp8 = dst.toDoubles();
    for (int i = 0; i < fp8.length; i++) {
      long row = i / src.dim(1);
      long column = i % src.dim(1) / 128;
      double factor = scale.get(tile == Fp8.Tile.ROW ? row : row / 128, column);
      assertThat(back.toDoubles()[i]).isEqualTo((float) (fp8[i] * factor));
    }
  }

  static Stream<Golden> gain() {
    return Golden.of("gain");
  }

  @ParameterizedTest
  @MethodSource
  void gain(Golden golden) {
    Tensor resMix = golden.input(device, FP32, "res_mix");
    try (Gain out = Gain.allocate(device, resMix.dim(0), resMix.dim(1))) {
      Gain.measure(Orientation.values()[golden.integer("orientation")], resMix, out);
      golden.check("forward", out.forward(), TIGHT);
      golden.check("backward", out.backward(), TIGHT);
      golden.check("contraction", out.contraction(), 10 * TIGHT);
      golden.check("composite_forward", out.compositeForward(), TIGHT);
      golden.check("composite_backward", out.compositeBackward(), TIGHT);
      golden.check("composite_contraction", out.compositeContraction(), 10 * TIGHT);
    }
  }

  private static void checkCoefficients(Golden golden, String prefix, Coefficients result) {
    golden.check(prefix + "pre_mix", result.preMix(), TIGHT);
    golden.check(prefix + "post_mix", result.postMix(), TIGHT);
    golden.check(prefix + "res_mix", result.resMix(), TIGHT);
    golden.checkIfThere(prefix + "mix", result.mix(), TIGHT);
    golden.checkIfThere(prefix + "inv_rms", result.invRms(), TIGHT);
  }

  private static void checkGradients(Golden golden, String prefix, Gradients result, double tolerance) {
    golden.checkIfThere(prefix + "projection", result.projection(), tolerance);
    golden.checkIfThere(prefix + "scale", result.scale(), tolerance);
    golden.checkIfThere(prefix + "bias", result.bias(), tolerance);
    golden.checkIfThere(prefix + "norm_weight", result.normWeight(), tolerance);
  }
}
