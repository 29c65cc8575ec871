// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_config;
import java.lang.foreign.MemorySegment;

/**
 * The conventions of a hyper-connection. Code bases differ in them, and weights trained with one set give other results
 * with another: start from the {@link Preset} of the code base that the weights come from.
 *
 * {@snippet file="dev/mhc/examples/FirstLayer.java" region="config"}
 *
 * @param streams n, 1 to 16; to 5 with {@link Mode#MHC_LITE}
 * @param mode how coefficients are made
 * @param isStatic false: coefficients from x; true: from the bias alone, the same for every token
 * @param shifted whether h of a layer uses the preMix that the boundary before computed, so that one pass suffices
 *     (DeepSeek-V4.1)
 * @param iterations of Sinkhorn, 1 to 1000
 * @param sinkhornStart what the alternation starts from
 * @param sinkhornOrder which half-step comes first; the sums of the second are exact at the end
 * @param sinkhornEpsMode how sinkhornEps enters a division by a sum
 * @param orientation which index of resMix is the output stream
 * @param rmsEpsMode how rmsEps enters the root mean square
 * @param sinkhornEps at least 0
 * @param rmsEps at least 0
 * @param preEps at least 0, added to preMix in the modes MHC and MHC_LITE
 * @param postMultiplier above 0, multiplies postMix in the modes MHC and MHC_LITE
 * @param projectionPrecision how the product of x and the projection may round its factors
 */
public record HyperConnectionConfig(int streams, Mode mode, boolean isStatic, boolean shifted, int iterations,
    SinkhornStart sinkhornStart, SinkhornOrder sinkhornOrder, EpsMode sinkhornEpsMode, Orientation orientation,
    RmsEpsMode rmsEpsMode, float sinkhornEps, float rmsEps, float preEps, float postMultiplier,
    ProjectionPrecision projectionPrecision) {

  /** How coefficients are made. */
  public enum Mode {
    /** preMix = 1/n, postMix = 1, resMix = identity: the plain residual, n times; no parameters. */
    RESIDUAL,
    /** Unconstrained: scale tanh(mix) + bias for all three (arXiv 2512.24880, Eq. 5). */
    HC,
    /** resMix by Sinkhorn (Eq. 8). */
    MHC,
    /** resMix as a softmax over the n! permutation matrices, in lexicographic order (arXiv 2601.05732). */
    MHC_LITE
  }

  /** How the product of x and the projection may round its factors, forward. Sums are in float32, gradients in full. */
  public enum ProjectionPrecision {
    /** Factors of 22 bits or more; the error of a mix is that of a float32 sum. */
    FULL,
    /**
     * The projection may be rounded to TF32's 11 bits, for a mix within 2^-11 of the sum of its terms' magnitudes. A GPU takes one
     * product in place of two where x has 16 bits, with 4 streams in mode MHC; all else is computed in full.
     */
    TF32
  }

  /** What the Sinkhorn alternation starts from; L are the logits as stored, rows their first index. */
  public enum SinkhornStart {
    /** exp(L), computed without overflow. */
    EXP,
    /** exp(L - largest of its row). */
    EXP_MINUS_ROW_MAX,
    /** Softmax of each row, plus sinkhornEps; with {@link SinkhornOrder#ROWS_FIRST} it is the first half-step. */
    SOFTMAX_PLUS_EPS
  }

  /** Order of the two half-steps of an iteration. */
  public enum SinkhornOrder {
    /** Columns, then rows. */
    COLUMNS_FIRST,
    /** Rows, then columns. */
    ROWS_FIRST
  }

  /** What a half-step divides by, for a sum s. */
  public enum EpsMode {
    /** s. */
    NONE,
    /** s + eps. */
    ADD,
    /** max(s, eps). */
    CLAMP
  }

  /** How resMix is stored. */
  public enum Orientation {
    /** resMix[out][in]. */
    OUT_IN,
    /** resMix[in][out]. */
    IN_OUT
  }

  /** What x is divided by. */
  public enum RmsEpsMode {
    /** sqrt(mean(x^2) + eps). */
    INSIDE,
    /** sqrt(mean(x^2)) + eps. */
    OUTSIDE
  }

  /** The conventions of the public code bases; exactly those of {@code mhc_config_init}. */
  public enum Preset {
    /** arXiv 2512.24880, Eq. 9 and 14 to 19, Table 5. */
    PAPER,
    /** DeepSeek-V4. */
    DEEPSEEK_V4,
    /** DeepSeek-V4.1, single pass. */
    DEEPSEEK_V4_1,
    /** Megatron-LM core. */
    MEGATRON,
    /** NVIDIA TransformerEngine. */
    TRANSFORMER_ENGINE,
    /** Liger-Kernel. */
    LIGER;

    /**
     * The config of this preset.
     *
     * @param streams n, 1 to 16
     */
    public HyperConnectionConfig config(int streams) {
      return builder(streams).build();
    }

    /**
     * A builder that starts from this preset.
     *
     * @param streams n, 1 to 16
     */
    public Builder builder(int streams) {
      var builder = new Builder(streams);
      switch (this) {
        case PAPER -> {}
        case DEEPSEEK_V4 -> builder.deepSeek();
        case DEEPSEEK_V4_1 -> builder.deepSeek().rmsEps(1e-20f).shifted(true);
        case MEGATRON -> builder.sinkhornStart(SinkhornStart.EXP_MINUS_ROW_MAX).sinkhornOrder(SinkhornOrder.ROWS_FIRST)
            .sinkhornEps(EpsMode.CLAMP, 1e-6f).rmsEps(1e-6f).rmsEpsMode(RmsEpsMode.OUTSIDE);
        case TRANSFORMER_ENGINE -> builder.sinkhornOrder(SinkhornOrder.ROWS_FIRST).orientation(Orientation.IN_OUT)
            .rmsEps(0x1p-23f);
        case LIGER -> builder.deepSeek().orientation(Orientation.OUT_IN).preEps(0);
      }
      return builder;
    }
  }

  /** {@code sizeof(mhc_config)}. */
  static final long NATIVE_BYTES = mhc_config.layout().byteSize();

  /** Checks every value. */
  public HyperConnectionConfig {
    Check.given("mode", mode, "a Mode");
    Check.given("sinkhornStart", sinkhornStart, "a SinkhornStart");
    Check.given("sinkhornOrder", sinkhornOrder, "a SinkhornOrder");
    Check.given("sinkhornEpsMode", sinkhornEpsMode, "an EpsMode");
    Check.given("orientation", orientation, "an Orientation");
    Check.given("rmsEpsMode", rmsEpsMode, "an RmsEpsMode");
    Check.given("projectionPrecision", projectionPrecision, "a ProjectionPrecision");
    Check.range("streams", streams, 1, mode == Mode.MHC_LITE ? 5 : 16);
    Check.range("iterations", iterations, 1, 1000);
    Check.notNegative("sinkhornEps", sinkhornEps);
    Check.notNegative("rmsEps", rmsEps);
    Check.notNegative("preEps", preEps);
    Check.positive("postMultiplier", postMultiplier);
  }

  /** A builder that starts from {@link Preset#PAPER} and 4 streams. */
  public static Builder builder() {
    return new Builder(4);
  }

  /** A builder that starts from these values. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** m, rows of the projection: n^2 + 2n; n! + 2n for {@link Mode#MHC_LITE}; 0 for {@link Mode#RESIDUAL}. */
  public int mixCount() {
    int n = streams;
    return switch (mode) {
      case RESIDUAL -> 0;
      case HC, MHC -> n * n + 2 * n;
      case MHC_LITE -> {
        int permutations = 1;
        for (int i = 2; i <= n; i++) {
          permutations *= i;
        }
        yield permutations + 2 * n;
      }
    };
  }

  /** Whether coefficients depend on x, so that there are a projection and a scale. */
  public boolean isDynamic() {
    return !isStatic && mode != Mode.RESIDUAL;
  }

  /** Fills a {@code mhc_config}. */
  void write(MemorySegment config) {
    mhc_config.struct_size(config, NATIVE_BYTES);
    mhc_config.streams(config, streams);
    mhc_config.mode(config, mode.ordinal());
    mhc_config.is_static(config, isStatic ? 1 : 0);
    mhc_config.shifted(config, shifted ? 1 : 0);
    mhc_config.iterations(config, iterations);
    mhc_config.sinkhorn_start(config, sinkhornStart.ordinal());
    mhc_config.sinkhorn_order(config, sinkhornOrder.ordinal());
    mhc_config.sinkhorn_eps_mode(config, sinkhornEpsMode.ordinal());
    mhc_config.orientation(config, orientation.ordinal());
    mhc_config.rms_eps_mode(config, rmsEpsMode.ordinal());
    mhc_config.sinkhorn_eps(config, sinkhornEps);
    mhc_config.rms_eps(config, rmsEps);
    mhc_config.pre_eps(config, preEps);
    mhc_config.post_multiplier(config, postMultiplier);
    mhc_config.projection_precision(config, projectionPrecision.ordinal());
    mhc_config.reserved(config).fill((byte) 0);
  }

  /** Collects the values of a config; each is checked by {@link #build()}. Not thread-safe. */
  public static final class Builder {
    private int streams;
    private Mode mode = Mode.MHC;
    private boolean isStatic;
    private boolean shifted;
    private int iterations = 20;
    private SinkhornStart sinkhornStart = SinkhornStart.EXP;
    private SinkhornOrder sinkhornOrder = SinkhornOrder.COLUMNS_FIRST;
    private EpsMode sinkhornEpsMode = EpsMode.NONE;
    private Orientation orientation = Orientation.OUT_IN;
    private RmsEpsMode rmsEpsMode = RmsEpsMode.INSIDE;
    private float sinkhornEps;
    private float rmsEps = 1e-20f;
    private float preEps;
    private float postMultiplier = 2;
    private ProjectionPrecision projectionPrecision = ProjectionPrecision.FULL;

    private Builder(int streams) {
      this.streams = streams;
    }

    private Builder(HyperConnectionConfig from) {
      streams = from.streams;
      mode = from.mode;
      isStatic = from.isStatic;
      shifted = from.shifted;
      iterations = from.iterations;
      sinkhornStart = from.sinkhornStart;
      sinkhornOrder = from.sinkhornOrder;
      sinkhornEpsMode = from.sinkhornEpsMode;
      orientation = from.orientation;
      rmsEpsMode = from.rmsEpsMode;
      sinkhornEps = from.sinkhornEps;
      rmsEps = from.rmsEps;
      preEps = from.preEps;
      postMultiplier = from.postMultiplier;
      projectionPrecision = from.projectionPrecision;
    }

    private Builder deepSeek() {
      return sinkhornStart(SinkhornStart.SOFTMAX_PLUS_EPS).sinkhornOrder(SinkhornOrder.ROWS_FIRST)
          .sinkhornEps(EpsMode.ADD, 1e-6f).orientation(Orientation.IN_OUT).rmsEps(1e-6f).preEps(1e-6f);
    }

    /** Sets n. */
    public Builder streams(int value) {
      streams = value;
      return this;
    }

    /** Sets the mode. */
    public Builder mode(Mode value) {
      mode = value;
      return this;
    }

    /** Sets whether coefficients come from the bias alone. */
    public Builder isStatic(boolean value) {
      isStatic = value;
      return this;
    }

    /** Sets whether h uses the preMix of the boundary before. */
    public Builder shifted(boolean value) {
      shifted = value;
      return this;
    }

    /** Sets the number of Sinkhorn iterations. */
    public Builder iterations(int value) {
      iterations = value;
      return this;
    }

    /** Sets what Sinkhorn starts from. */
    public Builder sinkhornStart(SinkhornStart value) {
      sinkhornStart = value;
      return this;
    }

    /** Sets which half-step of Sinkhorn comes first. */
    public Builder sinkhornOrder(SinkhornOrder value) {
      sinkhornOrder = value;
      return this;
    }

    /** Sets how eps enters Sinkhorn's divisions, and eps. */
    public Builder sinkhornEps(EpsMode how, float value) {
      sinkhornEpsMode = how;
      sinkhornEps = value;
      return this;
    }

    /** Sets how resMix is stored. */
    public Builder orientation(Orientation value) {
      orientation = value;
      return this;
    }

    /** Sets how rmsEps enters. */
    public Builder rmsEpsMode(RmsEpsMode value) {
      rmsEpsMode = value;
      return this;
    }

    /** Sets the eps of the root mean square. */
    public Builder rmsEps(float value) {
      rmsEps = value;
      return this;
    }

    /** Sets what is added to preMix. */
    public Builder preEps(float value) {
      preEps = value;
      return this;
    }

    /** Sets what multiplies postMix. */
    public Builder postMultiplier(float value) {
      postMultiplier = value;
      return this;
    }

    /** Sets how the product of x and the projection may round its factors. */
    public Builder projectionPrecision(ProjectionPrecision value) {
      projectionPrecision = value;
      return this;
    }

    /**
     * The config.
     *
     * @throws IllegalArgumentException if a value is out of range
     */
    public HyperConnectionConfig build() {
      return new HyperConnectionConfig(streams, mode, isStatic, shifted, iterations, sinkhornStart, sinkhornOrder,
          sinkhornEpsMode, orientation, rmsEpsMode, sinkhornEps, rmsEps, preEps, postMultiplier, projectionPrecision);
    }
  }
}
