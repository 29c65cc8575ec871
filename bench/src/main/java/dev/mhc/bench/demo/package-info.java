// SPDX-License-Identifier: Apache-2.0
/** The demo: real text through a deep stack of hyper-connections, and what it costs. */
package dev.mhc.bench.demo;
