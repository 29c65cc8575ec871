/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine can do at most. Each runs once, on that many threads, and returns nanoseconds. */
#ifndef MHC_BENCH_LIMITS_H
#define MHC_BENCH_LIMITS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MHC_LIMIT_API __attribute__((visibility("default")))

/* memcpy. */
MHC_LIMIT_API int64_t mhc_limit_copy(void* to, const void* from, int64_t bytes, int32_t threads);
/* By stores that go past the caches, where the CPU has them in vectors; -1 where it has not. Buffers are aligned to 64. */
MHC_LIMIT_API int64_t mhc_limit_stream(void* to, const void* from, int64_t bytes, int32_t threads);
/* Loads alone, from a buffer aligned to 64. */
MHC_LIMIT_API int64_t mhc_limit_read(const void* from, int64_t bytes, int32_t threads);
/* Independent chains of fp32 multiply-adds in registers, on the CPU's widest vectors; how many of them in *count. */
MHC_LIMIT_API int64_t mhc_limit_multiply_adds(int32_t threads, int64_t* count);

#ifdef __cplusplus
}
#endif
#endif
