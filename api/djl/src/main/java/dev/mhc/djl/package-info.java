// SPDX-License-Identifier: Apache-2.0

/**
 * Hyper-connections inside DJL.
 *
 * <p>{@link dev.mhc.djl.HyperConnectionStack} is a DJL block: layers of any DJL blocks as F, with mhc's boundary between
 * them. What they learn are DJL parameters, so that DJL's optimisers, savers and listeners work. F's gradient is DJL's, the
 * boundary's is mhc's own: {@link dev.mhc.djl.SegmentedGradientCollector} puts the two together, and
 * {@link dev.mhc.djl.SegmentedTrainer} is DJL's trainer with that collector.
 *
 * <p>{@link dev.mhc.djl.DjlTensors} passes arrays of DJL to mhc, and tensors of mhc to DJL, without a copy.
 *
 * <p>A trap of DJL 0.35 on PyTorch that an F in training should avoid: of {@code x.mul(0.5)} PyTorch's record keeps the 0.5,
 * but its memory is Java's and ends with the call, so that now and then, after a garbage collection, x gets a gradient times
 * something else. Write {@code x.mul(half)}, with an array that lives as long as the model. The same holds for {@code div}
 * and {@code pow}, and for any array made from Java values and closed before the backward.
 *
 * <p>On the CPU. Not thread-safe, as DJL's blocks are in training.
 */
@NullMarked
package dev.mhc.djl;

import org.jspecify.annotations.NullMarked;
