/* SPDX-License-Identifier: Apache-2.0 */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES 64
#define MAX_RANK 4

const mhc_dtype fp32 = {MHC_DTYPE_FLOAT, 32, 1};
const mhc_dtype fp8 = {MHC_DTYPE_FLOAT8_E4M3FN, 8, 1};

typedef struct values {
  const char* name;
  int32_t rank;
  int64_t shape[MAX_RANK];
  int64_t count;
  double* at;
} values;

typedef struct made_tensor {
  mhc_tensor tensor;
  int64_t shape[MAX_RANK];
  struct made_tensor* before;
} made_tensor;

struct golden {
  const char* name;
  char* text; /* the file; names and values of attributes point into it */
  const char* attributes[MAX_ENTRIES][2];
  int attribute_count;
  values tensors[MAX_ENTRIES];
  int tensor_count;
  made_tensor* made; /* the latest */
};

static void* must(void* memory) {
  if (memory == NULL) {
    fputs("out of memory\n", stderr);
    exit(EXIT_FAILURE);
  }
  return memory;
}

static void broken(const char* name, const char* what, const char* which) {
  fprintf(stderr, "golden case %s: %s %s\n", name, what, which);
  exit(EXIT_FAILURE);
}

static char* read_file(const char* directory, const char* name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.txt", directory, name);
  FILE* file = fopen(path, "rb");
  if (file == NULL) broken(name, "cannot open", path);
  size_t size = 0, room = 1 << 16;
  char* text = must(malloc(room));
  for (;;) {
    size += fread(text + size, 1, room - size - 1, file);
    if (feof(file)) break;
    if (ferror(file)) broken(name, "cannot read", path);
    if (size + 1 == room) text = must(realloc(text, room *= 2));
  }
  fclose(file);
  text[size] = '\0';
  return text;
}

/* tensor <name> <rank> <dim> ...; the values are the next line. */
static void read_tensor(golden* g, const char* line) {
  if (g->tensor_count == MAX_ENTRIES) broken(g->name, "has too many", "tensors");
  values* v = &g->tensors[g->tensor_count++];
  v->name = strtok(NULL, " ");
  v->rank = (int32_t)strtol(strtok(NULL, " "), NULL, 10);
  if (v->rank < 0 || v->rank > MAX_RANK) broken(g->name, "has a wrong rank for", v->name);
  v->count = 1;
  for (int32_t i = 0; i < v->rank; ++i) {
    v->shape[i] = strtoll(strtok(NULL, " "), NULL, 10);
    v->count *= v->shape[i];
  }
  v->at = must(malloc((size_t)v->count * sizeof *v->at + 1));
  for (int64_t i = 0; i < v->count; ++i) {
    char* end;
    v->at[i] = strtod(line, &end); /* it reads 0x1.8p+1 too */
    if (end == line) broken(g->name, "has too few values for", v->name);
    line = end;
  }
}

golden* golden_open(const char* directory, const char* name) {
  golden* g = must(calloc(1, sizeof *g));
  g->name = name;
  g->text = read_file(directory, name);
  for (char* line = g->text; line != NULL && *line != '\0';) {
    char* next = strchr(line, '\n');
    if (next != NULL) *next++ = '\0';
    const char* kind = strtok(line, " ");
    if (kind != NULL && strcmp(kind, "attr") == 0) {
      if (g->attribute_count == MAX_ENTRIES) broken(name, "has too many", "attributes");
      const char** attribute = g->attributes[g->attribute_count++];
      attribute[0] = strtok(NULL, " ");
      attribute[1] = strtok(NULL, " ");
    } else if (kind != NULL && strcmp(kind, "tensor") == 0 && next != NULL) {
      char* after = strchr(next, '\n');
      if (after != NULL) *after++ = '\0';
      read_tensor(g, next);
      next = after;
    } else {
      broken(name, "has an unknown line", line);
    }
    line = next;
  }
  return g;
}

void golden_close(golden* g) {
  if (g == NULL) return;
  for (made_tensor* m = g->made; m != NULL;) {
    made_tensor* before = m->before;
    free(m->tensor.data);
    free(m);
    m = before;
  }
  for (int i = 0; i < g->tensor_count; ++i) free(g->tensors[i].at);
  free(g->text);
  free(g);
}

static const char* find_attribute(const golden* g, const char* attribute) {
  for (int i = 0; i < g->attribute_count; ++i)
    if (strcmp(g->attributes[i][0], attribute) == 0) return g->attributes[i][1];
  return NULL;
}

static const char* text(const golden* g, const char* attribute) {
  const char* found = find_attribute(g, attribute);
  if (found == NULL) broken(g->name, "has no attribute", attribute);
  return found;
}

int32_t golden_integer(const golden* g, const char* attribute) { return (int32_t)strtol(text(g, attribute), NULL, 10); }

float golden_number(const golden* g, const char* attribute) {
  const char* found = find_attribute(g, attribute);
  return found == NULL ? 0 : strtof(found, NULL);
}

mhc_dtype golden_dtype(const golden* g, const char* attribute) {
  const char* name = text(g, attribute);
  mhc_dtype dtype = fp32;
  if (strcmp(name, "fp32") != 0) dtype.bits = 16;
  if (strcmp(name, "bf16") == 0) dtype.code = MHC_DTYPE_BFLOAT;
  return dtype;
}

mhc_config golden_config(const golden* g) {
  mhc_config config = {
      .struct_size = sizeof config,
      .streams = golden_integer(g, "streams"),
      .mode = golden_integer(g, "mode"),
      .is_static = golden_integer(g, "is_static"),
      .shifted = golden_integer(g, "shifted"),
      .iterations = golden_integer(g, "iterations"),
      .sinkhorn_start = golden_integer(g, "sinkhorn_start"),
      .sinkhorn_order = golden_integer(g, "sinkhorn_order"),
      .sinkhorn_eps_mode = golden_integer(g, "sinkhorn_eps_mode"),
      .orientation = golden_integer(g, "orientation"),
      .rms_eps_mode = golden_integer(g, "rms_eps_mode"),
      .sinkhorn_eps = golden_number(g, "sinkhorn_eps"),
      .rms_eps = golden_number(g, "rms_eps"),
      .pre_eps = golden_number(g, "pre_eps"),
      .post_multiplier = golden_number(g, "post_multiplier"),
  };
  return config;
}

static const values* find_tensor(const golden* g, const char* name) {
  for (int i = 0; i < g->tensor_count; ++i)
    if (strcmp(g->tensors[i].name, name) == 0) return &g->tensors[i];
  return NULL;
}

/* ------------------------------------------------------------------------------------------------ storage types */

/* Significant bits and the smallest exponent of a narrow floating-point type, as frexp counts it. */
static void limits(mhc_dtype dtype, int* bits, int* smallest) {
  const int half = dtype.code == MHC_DTYPE_FLOAT && dtype.bits == 16;
  const int wide = dtype.bits == 32;
  *bits = wide ? 24 : half ? 11 : dtype.bits == 8 ? 4 : 8;
  *smallest = half ? -13 : dtype.bits == 8 ? -5 : -125;
}

/* The bits of a value that the type holds exactly. */
static uint32_t encode(double value, mhc_dtype dtype) {
  uint32_t word;
  const float single = (float)value;
  memcpy(&word, &single, sizeof word);
  if (dtype.bits == 32) return word;
  if (dtype.code == MHC_DTYPE_BFLOAT) return word >> 16;
  int exponent;
  const double fraction = frexp(fabs(value), &exponent); /* float16 */
  const uint32_t sign = signbit(value) ? 0x8000u : 0;
  if (fraction == 0 || exponent < -13) return sign | (uint32_t)ldexp(fabs(value), 24);
  return sign | (((uint32_t)(exponent + 13) << 10) + (uint32_t)ldexp(fraction, 11));
}

static double decode(uint32_t word, mhc_dtype dtype) {
  if (dtype.bits == 32 || dtype.code == MHC_DTYPE_BFLOAT) {
    float single;
    if (dtype.bits == 16) word <<= 16;
    memcpy(&single, &word, sizeof single);
    return single;
  }
  /* float16 has 10 bits of fraction and bias 15, E4M3 has 3 and 7 */
  const int fraction_bits = dtype.bits == 16 ? 10 : 3, bias = dtype.bits == 16 ? 15 : 7;
  const uint32_t magnitude = word & (dtype.bits == 16 ? 0x7fffu : 0x7fu);
  const int exponent = (int)(magnitude >> fraction_bits);
  const double fraction = magnitude & ((1u << fraction_bits) - 1);
  const double value = exponent == 0 ? ldexp(fraction, 1 - bias - fraction_bits)
                                     : ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
  if (dtype.bits == 8 && magnitude == 0x7f) return NAN;
  if (dtype.bits == 16 && exponent == 31) return fraction == 0 ? INFINITY : NAN;
  return word == magnitude ? value : -value;
}

static double element(const mhc_tensor* t, int64_t index) {
  uint32_t word = 0; /* little-endian, as all platforms of mhc are */
  memcpy(&word, (const char*)t->data + index * (t->dtype.bits / 8), t->dtype.bits / 8);
  return decode(word, t->dtype);
}

/* ------------------------------------------------------------------------------------------------------- tensors */

mhc_tensor* golden_output(golden* g, const char* name, mhc_dtype dtype) {
  const values* v = find_tensor(g, name);
  if (v == NULL) return NULL;
  made_tensor* m = must(calloc(1, sizeof *m));
  m->before = g->made;
  g->made = m;
  memcpy(m->shape, v->shape, sizeof m->shape);
  m->tensor.data = must(calloc((size_t)v->count + 1, dtype.bits / 8));
  m->tensor.device.device_type = MHC_DEVICE_CPU;
  m->tensor.ndim = v->rank;
  m->tensor.dtype = dtype;
  m->tensor.shape = m->shape;
  m->tensor.strides = NULL; /* compact */
  return &m->tensor;
}

mhc_tensor* golden_input(golden* g, const char* name, mhc_dtype dtype) {
  mhc_tensor* t = golden_output(g, name, dtype);
  if (t == NULL) return NULL;
  const values* v = find_tensor(g, name);
  for (int64_t i = 0; i < v->count; ++i) {
    const uint32_t word = encode(v->at[i], dtype);
    memcpy((char*)t->data + i * (dtype.bits / 8), &word, dtype.bits / 8);
  }
  return t;
}

int golden_check(const golden* g, const char* name, const mhc_tensor* result, double tolerance) {
  if (result == NULL) return 1;
  const values* v = find_tensor(g, name);
  if (v == NULL) broken(g->name, "has no tensor", name);
  int bits, smallest;
  limits(result->dtype, &bits, &smallest);
  double largest = 0, worst = 0;
  for (int64_t i = 0; i < v->count; ++i) largest = fmax(largest, fabs(v->at[i]));
  for (int64_t i = 0; i < v->count; ++i) {
    int exponent;
    frexp(v->at[i], &exponent);
    /* of E4M3 the files hold the values themselves, not what was rounded to them */
    const double rounding = bits == 4 ? 0 : ldexp(0.5, (exponent < smallest ? smallest : exponent) - bits);
    const double given = element(result, i), off = fabs(given - v->at[i]);
    if (!(off <= rounding + tolerance * largest)) {
      printf("  WRONG  %s[%lld]: %.9g, expected %.9g\n", name, (long long)i, given, v->at[i]);
      return 0;
    }
    worst = fmax(worst, (off - rounding) / (largest > 0 ? largest : 1));
  }
  printf("  ok     %-24s off by at most %.1e beyond one rounding\n", name, fmax(worst, 0));
  return 1;
}
