/* SPDX-License-Identifier: Apache-2.0 */
/* Reads native/tests/golden/<case>.txt, whose format make_golden.py there describes, and hands its tensors to mhc.
 * Whatever is wrong with a file ends the program with a message. */
#ifndef MHC_EXAMPLES_GOLDEN_H
#define MHC_EXAMPLES_GOLDEN_H

#include <mhc/mhc.h>

typedef struct golden golden;

golden* golden_open(const char* directory, const char* name);
/* Frees the case and every tensor that was made of it. NULL does nothing. */
void golden_close(golden* g);

int32_t golden_integer(const golden* g, const char* attribute);
/* 0 if the case has no such attribute. */
float golden_number(const golden* g, const char* attribute);
/* The type that the attribute "dtype" (of streams) or "layer_dtype" (of layer tensors) names. */
mhc_dtype golden_dtype(const golden* g, const char* attribute);
/* The mhc_config that the attributes spell out. */
mhc_config golden_config(const golden* g);

/* A tensor of the case in this type, which holds its values exactly. NULL if the case has none of that name: what mhc.h
 * calls "not given". */
mhc_tensor* golden_input(golden* g, const char* name, mhc_dtype dtype);
/* Zeros in the shape of an expected result. NULL if the case has none of that name: "not wanted". */
mhc_tensor* golden_output(golden* g, const char* name, mhc_dtype dtype);

/* Compares a result with the case's tensor of that name: each element may be off by one rounding to its type and by
 * tolerance times the largest expected magnitude; E4M3 only by the latter. Prints a line. Returns 1 if all is well or the
 * result is NULL. */
int golden_check(const golden* g, const char* name, const mhc_tensor* result, double tolerance);

extern const mhc_dtype fp32, fp8;

#endif
