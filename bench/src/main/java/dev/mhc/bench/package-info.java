// SPDX-License-Identifier: Apache-2.0
/** Benchmarks of the library on the CPU, and what they share with the demo: a boundary to measure, and how to measure. */
package dev.mhc.bench;
