// SPDX-License-Identifier: Apache-2.0

/** Hyper-connections beside ONNX Runtime: its tensors and those of mhc on the same memory, for inference on the CPU. */
@NullMarked
package dev.mhc.onnxruntime;

import org.jspecify.annotations.NullMarked;
