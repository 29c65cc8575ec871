// SPDX-License-Identifier: Apache-2.0
/** What is measured on a GPU: kernels by graph replay beside the copy bandwidth of the same run, and matrix products. */
@NullMarked
package dev.mhc.bench.gpu;

import org.jspecify.annotations.NullMarked;
