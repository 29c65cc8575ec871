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
 * <p>On the CPU. Not thread-safe, as DJL's blocks are in training.
 */
@NullMarked
package dev.mhc.djl;

import org.jspecify.annotations.NullMarked;
