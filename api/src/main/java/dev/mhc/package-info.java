// SPDX-License-Identifier: Apache-2.0

/**
 * Manifold-Constrained Hyper-Connections (mHC, arXiv 2512.24880) for the JVM.
 *
 * <p>A transformer with hyper-connections carries {@code n} residual streams instead of one. Around each layer function
 * {@code F} (attention, feed-forward: yours), this library makes F's input from the streams and mixes F's output back:
 *
 * <pre>
 *   mix      = (x . projection^T) / r,   r = |x| / sqrt(n C)
 *   preMix   = sigmoid(scale[0] mix_pre + bias_pre)
 *   postMix  = 2 sigmoid(scale[1] mix_post + bias_post)
 *   resMix   = Sinkhorn(scale[2] mix_res + bias_res)          doubly stochastic, n x n
 *   h        = sum_i preMix[i] x[i]                           the input of F
 *   xNext[o] = sum_i resMix[o][i] x[i] + postMix[o] F(h)
 * </pre>
 *
 * {@snippet file="dev/mhc/examples/FirstLayer.java" region="layer"}
 *
 * <p>Words: {@code T} tokens, independent rows of work; {@code n} streams; {@code C} width, the channels of a stream;
 * {@code m} = {@link HyperConnectionConfig#mixCount()}. Streams are tensors {@code [T, n, C]}, layer tensors (input and
 * output of F) {@code [T, C]}, of {@link DType#BF16}, {@link DType#FP16} or {@link DType#FP32}: all of one type, or
 * streams in FP32 with layer tensors in BF16 or FP16. Everything else is FP32, and so is every accumulation.
 *
 * <p><b>Errors.</b> A wrong argument, null where a value is needed included, is an {@link IllegalArgumentException} that
 * names the argument, its value and what was expected; using what is closed is an {@link IllegalStateException}. In both
 * cases nothing has been written. Failures of the native side are {@link MhcException}s.
 *
 * <p><b>Threads.</b> A {@link Device} runs one operation at a time, on its own native threads; further callers wait, in
 * any number and virtual or not. On a CPU it occupies its calling thread until it is done, and a virtual thread's
 * carrier with it. On a GPU a call puts its operation on a {@link dev.mhc.Stream} and returns; operations of different streams
 * may run side by side. Different devices run concurrently. Results never depend on the number of threads.
 *
 * <p><b>Lifetimes.</b> Close what you create. Closing a device closes what was created on it. What is garbage before it is
 * closed, of whatever type, is reported to the {@link System.Logger} {@code dev.mhc}, with the place where it was created
 * if the system property {@code mhc.leak.detection} is {@code full} ({@code off}: no report); its memory stays until the
 * device is closed.
 */
@NullMarked
package dev.mhc;

import org.jspecify.annotations.NullMarked;
