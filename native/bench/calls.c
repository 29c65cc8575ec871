/* SPDX-License-Identifier: Apache-2.0 */
/* What the same calls from Java are compared with: a loop in C, and JNI. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>

#define EXPORTED __attribute__((visibility("default")))

typedef int (*operation)(void* context, const void* args);

static int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Nanoseconds that the calls took; the negated status if one fails. */
EXPORTED int64_t mhc_repeat(operation call, void* context, const void* args, int64_t count) {
  int64_t start = nanoseconds();
  for (int64_t i = 0; i < count; ++i) {
    int status = call(context, args);
    if (status != 0) return -status;
  }
  return nanoseconds() - start;
}

/* The last result of so many calls. */
EXPORTED int64_t mhc_repeat_no_arguments(int32_t (*call)(void), int64_t count) {
  int32_t result = 0;
  for (int64_t i = 0; i < count; ++i) result = call();
  return result;
}

typedef void (*sgemm)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float* a,
                      int lda, const float* b, int ldb, float beta, float* d, int ldd);

/* Nanoseconds of products d = a b by a function like cblas_sgemm, of row-major matrices without gaps. */
EXPORTED int64_t mhc_repeat_sgemm(sgemm call, int32_t m, int32_t n, int32_t k, const float* a, const float* b, float* d,
                                  int64_t count) {
  enum { kRowMajor = 101, kNoTranspose = 111 }; /* as in cblas.h */
  int64_t start = nanoseconds();
  for (int64_t i = 0; i < count; ++i) {
    call(kRowMajor, kNoTranspose, kNoTranspose, m, n, k, 1, a, k, b, n, 0, d, n);
  }
  return nanoseconds() - start;
}

/* dev.mhc.bench.calls.Jni. Of jni.h they need only what jint and jlong are. */
EXPORTED int32_t Java_dev_mhc_bench_calls_Jni_noArguments(void* environment, void* class, int64_t function) {
  (void)environment, (void)class;
  return ((int32_t(*)(void))(intptr_t)function)();
}

EXPORTED int32_t Java_dev_mhc_bench_calls_Jni_operation(void* environment, void* class, int64_t function,
                                                        int64_t context, int64_t args) {
  (void)environment, (void)class;
  return ((operation)(intptr_t)function)((void*)(intptr_t)context, (const void*)(intptr_t)args);
}
