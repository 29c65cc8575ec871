// SPDX-License-Identifier: Apache-2.0

/** Finds and loads libmhc and the libraries of others, and makes the restricted calls that the generated bindings do not make. */
package dev.mhc.bindings;
