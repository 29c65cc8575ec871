// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.*;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;

/** The operations of {@code mhc.h} that take a context and an argument block, in the order of {@code mhc_operation}. */
enum Operation {
  COEFFICIENTS(mhc_coefficients_args.layout(), mhc_h::mhc_coefficients),
  COEFFICIENTS_BACKWARD(mhc_coefficients_backward_args.layout(), mhc_h::mhc_coefficients_backward),
  SINKHORN(mhc_sinkhorn_args.layout(), mhc_h::mhc_sinkhorn),
  SINKHORN_BACKWARD(mhc_sinkhorn_backward_args.layout(), mhc_h::mhc_sinkhorn_backward),
  PRE(mhc_pre_args.layout(), mhc_h::mhc_pre),
  PRE_BACKWARD(mhc_pre_backward_args.layout(), mhc_h::mhc_pre_backward),
  POST(mhc_post_args.layout(), mhc_h::mhc_post),
  POST_BACKWARD(mhc_post_backward_args.layout(), mhc_h::mhc_post_backward),
  BOUNDARY(mhc_boundary_args.layout(), mhc_h::mhc_boundary),
  BOUNDARY_BACKWARD(mhc_boundary_backward_args.layout(), mhc_h::mhc_boundary_backward),
  EXPAND(mhc_expand_args.layout(), mhc_h::mhc_expand),
  EXPAND_BACKWARD(mhc_expand_backward_args.layout(), mhc_h::mhc_expand_backward),
  HEAD(mhc_head_args.layout(), mhc_h::mhc_head),
  HEAD_BACKWARD(mhc_head_backward_args.layout(), mhc_h::mhc_head_backward),
  RMSNORM(mhc_rmsnorm_args.layout(), mhc_h::mhc_rmsnorm),
  RMSNORM_BACKWARD(mhc_rmsnorm_backward_args.layout(), mhc_h::mhc_rmsnorm_backward),
  FP8_QUANTIZE(mhc_fp8_quantize_args.layout(), mhc_h::mhc_fp8_quantize),
  FP8_DEQUANTIZE(mhc_fp8_dequantize_args.layout(), mhc_h::mhc_fp8_dequantize),
  GAIN(mhc_gain_args.layout(), mhc_h::mhc_gain),
  DOUBLY_STOCHASTIC_DISTANCE(mhc_doubly_stochastic_distance_args.layout(), mhc_h::mhc_doubly_stochastic_distance),
  BIRKHOFF(mhc_birkhoff_args.layout(), mhc_h::mhc_birkhoff),
  RECOMPUTE(mhc_recompute_args.layout(), mhc_h::mhc_recompute);

  /** {@code mhc_<operation>(context, arguments)}. */
  interface Function {
    int call(MemorySegment context, MemorySegment arguments);
  }

  final MemoryLayout layout;
  final Function function;
  final String symbol;

  Operation(MemoryLayout layout, Function function) {
    this.layout = layout;
    this.function = function;
    this.symbol = "mhc_" + name().toLowerCase(java.util.Locale.ROOT);
  }

  /** Its number in {@code mhc_operation}. */
  int number() {
    return ordinal();
  }
}
