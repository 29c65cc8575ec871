// SPDX-License-Identifier: Apache-2.0

/** {@code scripts/train}: a byte-level transformer with hyper-connections, trained in DJL, and the report on it. */
@NullMarked
package dev.mhc.train;

import org.jspecify.annotations.NullMarked;
