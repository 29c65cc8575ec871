// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.calls;

import dev.mhc.Coefficients;
import dev.mhc.DType;
import dev.mhc.Parameters;
import dev.mhc.Tensor;
import dev.mhc.bindings.generated.mhc_boundary_args;
import dev.mhc.bindings.generated.mhc_coefficient_set;
import dev.mhc.bindings.generated.mhc_config;
import dev.mhc.bindings.generated.mhc_context_options;
import dev.mhc.bindings.generated.mhc_dtype;
import dev.mhc.bindings.generated.mhc_h;
import dev.mhc.bindings.generated.mhc_parameters;
import dev.mhc.bindings.generated.mhc_tensor;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.bench.Measure;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.function.LongConsumer;

/**
 * The boundary of a {@link BoundaryCase} as a program calls it that does not use the Java API: an argument block made by
 * hand, and a context of its own, on the same memory.
 */
final class RawBoundary implements AutoCloseable {
  private static final MethodHandle REPEAT = Measure.function("mhc_repeat", ValueLayout.ADDRESS, ValueLayout.ADDRESS,
      ValueLayout.ADDRESS, ValueLayout.JAVA_LONG);

  private final Arena arena = Arena.ofShared();
  private final MemorySegment function = mhc_h.mhc_boundary$address();
  private final MemorySegment context;
  private final MemorySegment arguments;

  RawBoundary(BoundaryCase boundary, int threads) {
    context = context(threads);
    arguments = arguments(boundary);
    MemorySegment bytes = arena.allocate(ValueLayout.JAVA_LONG);
    check(mhc_h.mhc_workspace_size(context, mhc_h.MHC_OP_BOUNDARY(), arguments, bytes));
    check(mhc_h.mhc_context_reserve(context, bytes.get(ValueLayout.JAVA_LONG, 0)));
  }

  /** By a loop in C (native/bench/calls.c). */
  void fromC(long count) {
    try {
      check((int) Math.min(0, (long) REPEAT.invokeExact(function, context, arguments, count)));
    } catch (Throwable e) {
      throw new IllegalStateException("the loop in C failed", e);
    }
  }

  /** Through the generated bindings. */
  void byFfm(long count) {
    for (long i = 0; i < count; i++) {
      check(mhc_h.mhc_boundary(context, arguments));
    }
  }

  /** Through JNI. */
  void byJni(long count) {
    for (long i = 0; i < count; i++) {
      check(Jni.operation(function.address(), context.address(), arguments.address()));
    }
  }

  /** In another way. */
  LongConsumer by(Caller caller) {
    return caller.boundary(context, arguments);
  }

  private MemorySegment context(int threads) {
    MemorySegment options = mhc_context_options.allocate(arena);
    mhc_context_options.struct_size(options, options.byteSize());
    mhc_context_options.threads(options, threads);
    MemorySegment made = arena.allocate(ValueLayout.ADDRESS);
    check(mhc_h.mhc_context_create(options, made));
    return made.get(ValueLayout.ADDRESS, 0);
  }

  private MemorySegment arguments(BoundaryCase boundary) {
    BoundaryCase.Set on = boundary.first();
    Coefficients current = boundary.current().coefficients();
    Coefficients next = boundary.next().coefficients();
    Parameters learned = boundary.next().parameters();
    MemorySegment config = mhc_config.allocate(arena);
    check(mhc_h.mhc_config_init(config, mhc_h.MHC_PRESET_PAPER(), (int) current.preMix().dim(1)));
    MemorySegment block = mhc_boundary_args.allocate(arena);
    mhc_boundary_args.struct_size(block, block.byteSize());
    mhc_boundary_args.config(block, config);
    MemorySegment parameters = mhc_boundary_args.parameters(block);
    mhc_parameters.projection(parameters, descriptor(learned.projection()));
    mhc_parameters.scale(parameters, descriptor(learned.scale()));
    mhc_parameters.bias(parameters, descriptor(learned.bias()));
    mhc_boundary_args.x(block, descriptor(on.x()));
    mhc_boundary_args.f(block, descriptor(on.f()));
    mhc_boundary_args.post_mix(block, descriptor(current.postMix()));
    mhc_boundary_args.res_mix(block, descriptor(current.resMix()));
    mhc_boundary_args.x_next(block, descriptor(on.xNext()));
    MemorySegment made = mhc_boundary_args.next(block);
    mhc_coefficient_set.pre_mix(made, descriptor(next.preMix()));
    mhc_coefficient_set.post_mix(made, descriptor(next.postMix()));
    mhc_coefficient_set.res_mix(made, descriptor(next.resMix()));
    mhc_coefficient_set.mix(made, descriptor(next.mix()));
    mhc_coefficient_set.inv_rms(made, descriptor(next.invRms()));
    mhc_boundary_args.h(block, descriptor(on.h()));
    return block;
  }

  private MemorySegment descriptor(Tensor tensor) {
    MemorySegment made = mhc_tensor.allocate(arena);
    mhc_tensor.data(made, tensor.segment());
    dev.mhc.bindings.generated.mhc_device.device_type(mhc_tensor.device(made), mhc_h.MHC_DEVICE_CPU());
    mhc_tensor.ndim(made, tensor.rank());
    MemorySegment type = mhc_tensor.dtype(made);
    boolean bf16 = tensor.dtype() == DType.BF16;
    mhc_dtype.code(type, (byte) (bf16 ? mhc_h.MHC_DTYPE_BFLOAT() : mhc_h.MHC_DTYPE_FLOAT()));
    mhc_dtype.bits(type, (byte) (bf16 ? 16 : 32));
    mhc_dtype.lanes(type, (short) 1);
    mhc_tensor.shape(made, arena.allocateFrom(ValueLayout.JAVA_LONG, tensor.shape()));
    mhc_tensor.strides(made, MemorySegment.NULL);
    return made;
  }

  private static void check(int status) {
    if (status != 0) {
      throw new IllegalStateException(mhc_h.mhc_last_error().getString(0));
    }
  }

  @Override
  public void close() {
    check(mhc_h.mhc_context_destroy(context));
    arena.close();
  }
}
