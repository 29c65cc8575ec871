// SPDX-License-Identifier: Apache-2.0
// device.h on a GPU.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define MHC_APART __device__ __noinline__
#define MHC_CONSTANT const __grid_constant__
#define MHC_KERNEL(threads) __global__ void __launch_bounds__(threads)

namespace mhc::cuda {

MHC_FN int thread_index() { return static_cast<int>(threadIdx.x); }
MHC_FN int block_threads() { return static_cast<int>(blockDim.x); }
MHC_FN int64_t block_index() { return blockIdx.x; }
MHC_FN int64_t block_count() { return gridDim.x; }
MHC_FN char* shared_memory() {
  extern __shared__ __align__(128) char memory[];
  return memory;
}

MHC_FN void sync_block() { __syncthreads(); }
MHC_FN void sync_threads(int id, int count) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(count) : "memory"); }
MHC_FN void arrive_threads(int id, int count) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(count) : "memory"); }
MHC_FN void sync_warp() { __syncwarp(); }
MHC_FN float shuffle_xor(float v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
MHC_FN float shuffle(float v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }

template <class T>
MHC_FN T load1(const T* p) {
  return *p;
}
template <class T>
MHC_FN void store1(T* p, T v) {
  *p = v;
}
MHC_FN Bits16 bits_of(uint4 v) { return {{v.x, v.y, v.z, v.w}}; }
MHC_FN uint4 uint4_of(const Bits16& b) { return make_uint4(b.word[0], b.word[1], b.word[2], b.word[3]); }
MHC_FN Bits16 load16(const void* p) { return bits_of(*static_cast<const uint4*>(p)); }
MHC_FN Bits16 load16_once(const void* p) { return bits_of(__ldcs(static_cast<const uint4*>(p))); }
MHC_FN void store16(void* p, const Bits16& v) { *static_cast<uint4*>(p) = uint4_of(v); }
MHC_FN void store16_once(void* p, const Bits16& v) { __stcs(static_cast<uint4*>(p), uint4_of(v)); }
MHC_FN Bits8 load8(const void* p) {
  const uint2 v = *static_cast<const uint2*>(p);
  return {{v.x, v.y}};
}
MHC_FN void store8(void* p, const Bits8& v) { *static_cast<uint2*>(p) = make_uint2(v.word[0], v.word[1]); }
MHC_FN void prefetch(const void* p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }
MHC_FN float load_fresh(const float* p) { return __ldcg(p); }

MHC_FN void add_release(uint32_t* p, uint32_t v) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
MHC_FN uint32_t load_acquire(const uint32_t* p) {
  uint32_t v;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
MHC_FN uint32_t fetch_add(uint32_t* p, uint32_t v) {
  uint32_t old;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(old) : "l"(p), "r"(v) : "memory");
  return old;
}
MHC_FN void pause() { __nanosleep(32); }

MHC_FN void mma_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
        "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

MHC_FN uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

struct AsyncCopies {
  template <int kBytes>
  MHC_FN void copy(void* to, const void* from) {
    if constexpr (kBytes == 16) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
    } else {
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(shared_address(to)), "l"(from), "n"(kBytes) : "memory");
    }
  }
  MHC_FN void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int kLeft>
  MHC_FN void wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
  }
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
MHC_FN constexpr bool has_bulk_copy() { return true; }
MHC_FN void bulk_again(BulkBarrier* barrier, uint32_t bytes) {
  uint32_t at = shared_address(&barrier->state);
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
}
MHC_FN void bulk_start(BulkBarrier* barrier, uint32_t bytes) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&barrier->state)) : "memory");
  bulk_again(barrier, bytes);
}
MHC_FN void bulk_copy(void* to, const void* from, uint32_t bytes, BulkBarrier* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(to)),
               "l"(from), "r"(bytes), "r"(shared_address(&barrier->state))
               : "memory");
}
// After a sync_block() behind bulk_start.
MHC_FN void bulk_wait(BulkBarrier* barrier, int phase) {
  asm volatile(
      "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra again;\n}" ::"r"(
          shared_address(&barrier->state)),
      "r"(phase & 1)
      : "memory");
}
#else
MHC_FN constexpr bool has_bulk_copy() { return false; }
MHC_FN void bulk_start(BulkBarrier*, uint32_t) {}
MHC_FN void bulk_again(BulkBarrier*, uint32_t) {}
MHC_FN void bulk_copy(void*, const void*, uint32_t, BulkBarrier*) {}
MHC_FN void bulk_wait(BulkBarrier*, int) {}
#endif

MHC_FN float widened(bf16 a) { return __uint_as_float(static_cast<uint32_t>(a.bits) << 16); }
MHC_FN float widened(f16 a) { return __half2float(__ushort_as_half(a.bits)); }
MHC_FN float widened(float a) { return a; }
MHC_FN void narrowed(float v, bf16& out) { out.bits = __bfloat16_as_ushort(__float2bfloat16_rn(v)); }
MHC_FN void narrowed(float v, f16& out) { out.bits = __half_as_ushort(__float2half_rn(v)); }
MHC_FN void narrowed(float v, float& out) { out = v; }
MHC_FN float float_from_bits(uint32_t bits) { return __uint_as_float(bits); }
MHC_FN uint32_t bits_from_float(float v) { return __float_as_uint(v); }

}  // namespace mhc::cuda
