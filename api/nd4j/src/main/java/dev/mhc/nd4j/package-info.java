// SPDX-License-Identifier: Apache-2.0

/** Hyper-connections beside ND4J: its arrays and the tensors of mhc on the same memory, on the CPU. */
@NullMarked
package dev.mhc.nd4j;

import org.jspecify.annotations.NullMarked;
