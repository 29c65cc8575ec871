// SPDX-License-Identifier: Apache-2.0
// How functions are marked that run on a GPU as well.
#pragma once

#if defined(__CUDACC__)
#define MHC_HOST_DEVICE __host__ __device__
#define MHC_FN __device__ __forceinline__  // in front of every function that handles an F
#define MHC_LARGE_FN MHC_FN                // of a template that is worth a call on a CPU
#define MHC_INLINE                         // behind the parameters of a lambda that does
#define MHC_TABLE __constant__ constexpr
#else
#define MHC_HOST_DEVICE
#define MHC_LARGE_FN
#if defined(__SANITIZE_ADDRESS__)  // written out, and checked at each access, they take GCC minutes
#define MHC_FN inline
#define MHC_INLINE
#else
#define MHC_FN __attribute__((always_inline)) inline
#define MHC_INLINE __attribute__((always_inline))
#endif
#define MHC_TABLE constexpr
#endif
