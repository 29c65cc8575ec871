// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_recompute_args;
import dev.mhc.bindings.generated.mhc_recompute_layer;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Rebuilds what a block of layers dropped in the forward, from the residual that enters the block and the outputs of F
 * that were stored: bit for bit what the boundaries gave. On a CPU the residual stays in its caches from layer to layer, so
 * that n C + L C elements a token are read, and what is asked for is written. On a GPU it stays on chip for 4 streams of 16
 * bits in the mode MHC with dynamic coefficients and up to 64 layers, where two tiles of it fit there; else it goes through
 * memory once a layer.
 * The layers' coefficients are theirs again, so that their backward can follow.
 *
 * {@snippet file="dev/mhc/examples/RecomputeBlock.java" region="recompute"}
 *
 * <p>Thread-safe as the layers are. A call allocates nothing while T stays the same.
 */
public final class Recompute {
  private final Device device;
  private final List<HyperConnection> layers;
  private final HyperConnectionConfig config;
  private final Call call;
  private final long scales; // where the block has those of f

  private Recompute(List<HyperConnection> layers) {
    this.layers = layers;
    HyperConnection first = layers.get(0);
    device = first.device();
    config = first.config();
    long array = Operation.RECOMPUTE.layout.byteSize();
    scales = array + mhc_recompute_layer.layout().byteSize() * layers.size();
    call = new Call(device, Operation.RECOMPUTE, scales - array + ValueLayout.ADDRESS.byteSize() * layers.size(),
        3 + 15 * layers.size());
    call.put(mhc_recompute_args.layer$offset(), call.part(array));
    call.put(mhc_recompute_args.layers$offset(), layers.size());
  }

  /**
   * A block of layers.
   *
   * @param layers 1 to 4096 layers that follow each other, on one device and with equal configs
   */
  public static Recompute of(List<HyperConnection> layers) {
    Check.given("layers", layers, "a list of layers");
    Check.range("layers.size()", layers.size(), 1, 4096);
    for (int i = 0; i < layers.size(); i++) {
      HyperConnection layer = Check.given("layers[" + i + "]", layers.get(i), "a HyperConnection");
      if (layer.device() != layers.get(0).device()) {
        throw new IllegalArgumentException("layers[" + i + "] is on " + layer.device()
            + ", another device; expected that of layers[0]");
      }
      if (!layer.config().equals(layers.get(0).config())) {
        throw new IllegalArgumentException("layers[" + i + "] has " + layer.config() + "; expected the config of"
            + " layers[0], " + layers.get(0).config());
      }
    }
    return new Recompute(List.copyOf(layers));
  }

  /** The layers. */
  public List<HyperConnection> layers() {
    return layers;
  }

  /**
   * Rebuilds.
   *
   * @param x {@code [T, n, C]}, the residual that enters the first layer
   * @param preMix {@code [T, n]} where the config is shifted: what h of the first layer uses; null: the first stream
   * @param f for each layer {@code [T, C]}, the stored output of F; the last one's may be null
   * @param residuals for each layer {@code [T, n, C]}, written: the residual that enters it; null entries, or null: not
   *     wanted; the first layer's is x and has to be null
   * @param h for each layer {@code [T, C]}, written: the input of F; null entries, or null: not wanted
   * @param xNext {@code [T, n, C]}, written: the residual that leaves the block; null: not wanted; needs f of the last
   */
  public void run(Tensor x, @Nullable Tensor preMix, @Nullable Tensor[] f, @Nullable Tensor @Nullable [] residuals,
      @Nullable Tensor @Nullable [] h, @Nullable Tensor xNext) {
    run(x, preMix, f, null, residuals, h, xNext);
  }

  /**
   * As above, with outputs of F in FP8.
   *
   * @param x as above
   * @param preMix as above
   * @param f as above, {@link DType#FP8_E4M3} where it has scales
   * @param fScale for each layer {@code [T, ceil(C / 128)]} {@link DType#FP32} or {@link DType#E8M0}, with any strides:
   *     the scales of f's 1 x 128 tiles; null entries, or null: that f is not FP8
   * @param residuals as above
   * @param h as above
   * @param xNext as above
   */
  public void run(Tensor x, @Nullable Tensor preMix, @Nullable Tensor[] f, @Nullable Tensor @Nullable [] fScale,
      @Nullable Tensor @Nullable [] residuals, @Nullable Tensor @Nullable [] h, @Nullable Tensor xNext) {
    int count = layers.size();
    checkLength("f", Check.given("f", f, "a tensor for each layer"));
    checkLength("fScale", fScale);
    checkLength("residuals", residuals);
    checkLength("h", h);
    if (residuals != null && residuals[0] != null) {
      throw new IllegalArgumentException("residuals[0] is " + residuals[0] + "; expected null, it is x");
    }
    if (preMix != null && !config.shifted()) {
      throw new IllegalArgumentException("preMix is given; expected null, because the config is not shifted");
    }
    call.begin();
    try {
      int n = config.streams();
      call.config(mhc_recompute_args.config$offset(), config);
      call.put(mhc_recompute_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", -1, n, -1);
      long tokens = x.shape[0];
      long c = x.shape[2];
      Tensor shifted = config.shifted() && preMix == null ? layers.get(0).buffers().firstStream(tokens) : preMix;
      call.put(mhc_recompute_args.shifted_pre_mix$offset(), "preMix", shifted, Types.FP32 | Types.OPTIONAL, "[T, n]",
          tokens, n);
      int layerTypes = Types.layer(x);
      if (fScale == null) {
        call.clear(mhc_recompute_args.f_scale$offset());
      } else {
        call.put(mhc_recompute_args.f_scale$offset(), call.part(scales));
      }
      for (int i = 0; i < count; i++) {
        long base = Operation.RECOMPUTE.layout.byteSize() + i * mhc_recompute_layer.layout().byteSize();
        HyperConnection layer = layers.get(i);
        layer.parameters().put(call, base + mhc_recompute_layer.parameters$offset(), config, c);
        Tensor scale = fScale == null ? null : fScale[i];
        LayerOutput.putScale(call, scales + i * ValueLayout.ADDRESS.byteSize(), "fScale", scale, tokens, c);
        call.put(base + mhc_recompute_layer.f$offset(), "f", f[i],
            LayerOutput.types(x, scale) | (i == count - 1 && xNext == null ? Types.OPTIONAL : 0), "[T, C]", tokens, c);
        layer.buffers().prepare(tokens).put(call, base + mhc_recompute_layer.out$offset(), config, tokens);
        call.put(base + mhc_recompute_layer.x$offset(), "residuals", residuals == null ? null : residuals[i],
            x.type | Types.OUT | Types.OPTIONAL, "[T, n, C]", tokens, n, c);
        call.put(base + mhc_recompute_layer.h$offset(), "h", h == null ? null : h[i],
            layerTypes | Types.OUT | Types.OPTIONAL, "[T, C]", tokens, c);
      }
      call.put(mhc_recompute_args.x_next$offset(), "xNext", xNext, x.type | Types.OUT | Types.OPTIONAL, "[T, n, C]",
          tokens, n, c);
      call.run(tokens);
      for (int i = 0; i < count; i++) {
        layers.get(i).buffers().computed();
      }
    } finally {
      call.end();
    }
  }

  private void checkLength(String name, @Nullable Tensor @Nullable [] tensors) {
    if (tensors != null && tensors.length != layers.size()) {
      throw new IllegalArgumentException(name + " has " + tensors.length + " tensors; expected " + layers.size()
          + ", one for each layer");
    }
  }
}
