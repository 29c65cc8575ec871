// SPDX-License-Identifier: Apache-2.0
// What kernels are written in. Each word has two meanings: that of the GPU, and one for the tests, which run the same
// kernels on the CPU (tests/cuda/executor). Kernels touch global memory through these words alone, so that the tests can
// count what is moved.
//
//   MHC_KERNEL(threads)                  in front of a kernel with at most that many threads in a block
//   MHC_APART                            in front of a function whose registers are not to add to its caller's
//   MHC_CONSTANT T argument              of a kernel, read where it is
//   thread_index() block_threads() block_index() block_count() shared_memory()
//   sync_block() sync_threads(id, count) sync_warp()     sync_threads: count threads that name the same id, 1 to 15
//   arrive_threads(id, count)            counts as one of them, but does not wait
//   shuffle_xor(v, mask) shuffle(v, lane)                of a whole warp
//   load1(p) store1(p, v)                one element
//   load16(p) store16(p, v)              16 aligned bytes; load16_once, store16_once: not used again soon
//   load8(p) store8(p, v)                8 aligned bytes
//   prefetch(p)                          into the second-level cache
//   load_fresh(p)                        a float that another block wrote during this kernel
//   add_release(p, v) load_acquire(p)    of a counter between blocks: what was written before the one is seen after the other
//   fetch_add(p, v)                      adds, and returns what was there: both of the above
//   pause()                              while waiting for another block
//   mma_tf32(c, a, b)                    c += a b for a warp, m16n8k8; a and b are cut to TF32
//   bulk_copy(to, from, bytes, barrier)  into shared memory; 16-byte aligned, a multiple of 16 bytes. One thread:
//                                        bulk_start(barrier, bytes), for a later phase bulk_again(barrier, bytes); the copies
//                                        may come from others; all threads: bulk_wait(barrier, phase), the first being 0
//   has_bulk_copy()
//   AsyncCopies                          of a thread: copy<4, 8 or 16>(to, from) into shared memory, commit() makes a group of the
//                                        copies since the last; wait<n>(): for all groups but the last n. wait<0>() ends them
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/types.h"
#include "lanes/macros.h"

namespace mhc::cuda {

struct alignas(16) Bits16 {
  uint32_t word[4];
};
struct alignas(8) Bits8 {
  uint32_t word[2];
};

// In shared memory. A phase ends when its bytes are there, and the next begins when all threads have waited for it.
struct alignas(16) BulkBarrier {
  uint64_t state, expected;
};

}  // namespace mhc::cuda

#if defined(__CUDACC__)
#include "cuda/device_gpu.h"
#else
#include "executor/device_host.h"
#endif
