// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * A pipeline stage's tensors, used again and again in the order of the stage's stream, and the form in which residuals
 * travel. Used by the thread that runs the stage.
 */
final class PipelineBuffers {
  private final Device device;
  private final PipelineOptions options;
  private final long streams;
  private final Deque<Tensor> residuals = new ArrayDeque<>();
  private final Deque<Tensor> rows = new ArrayDeque<>();
  private final Deque<List<Tensor>> parcels = new ArrayDeque<>();
  private final List<Tensor> all = new ArrayList<>();

  PipelineBuffers(Device device, PipelineOptions options, int streams) {
    this.device = device;
    this.options = options;
    this.streams = streams;
  }

  /** A tensor [T, n, C] with anything in it. */
  Tensor residual() {
    Tensor free = residuals.poll();
    return free != null ? free : allocate(options.type(), options.tokens(), streams, options.width());
  }

  /** A tensor [T, C] with anything in it. */
  Tensor row() {
    Tensor free = rows.poll();
    return free != null ? free : allocate(options.type(), options.tokens(), options.width());
  }

  private Tensor allocate(DType type, long... shape) {
    Tensor tensor = Tensor.allocate(device, type, shape, false);
    all.add(tensor);
    return tensor;
  }

  void release(Tensor tensor) {
    (tensor.rank() == 3 ? residuals : rows).push(tensor);
  }

  /** A residual as it travels. Takes it over. */
  List<Tensor> pack(Tensor residual) {
    if (options.wire() == PipelineOptions.Wire.EXACT) {
      return List.of(residual);
    }
    List<Tensor> parcel = parcel();
    Fp8.quantize(flat(residual), parcel.get(0), parcel.get(1), Fp8.Tile.ROW, Fp8.Rounding.EXACT);
    release(residual);
    return parcel;
  }

  /** Room for a residual as it travels. */
  List<Tensor> parcel() {
    if (options.wire() == PipelineOptions.Wire.EXACT) {
      return List.of(residual());
    }
    List<Tensor> free = parcels.poll();
    long columns = streams * options.width();
    return free != null ? free : List.of(allocate(DType.FP8_E4M3, options.tokens(), columns),
        allocate(DType.FP32, Fp8.scaleShape(Fp8.Tile.ROW, options.tokens(), columns)));
  }

  /** A residual that has arrived. Takes the parcel over. */
  Tensor unpack(List<Tensor> parcel) {
    if (options.wire() == PipelineOptions.Wire.EXACT) {
      return parcel.get(0);
    }
    Tensor residual = residual();
    Fp8.dequantize(parcel.get(0), parcel.get(1), Fp8.Tile.ROW, flat(residual));
    releaseParcel(parcel);
    return residual;
  }

  void releaseParcel(List<Tensor> parcel) {
    if (parcel.size() == 1) {
      release(parcel.get(0));
    } else if (!parcel.isEmpty()) {
      parcels.push(parcel);
    }
  }

  private Tensor flat(Tensor residual) {
    return residual.reshape(options.tokens(), streams * options.width());
  }

  void close() {
    all.forEach(Tensor::close);
  }
}
