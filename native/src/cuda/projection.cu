// SPDX-License-Identifier: Apache-2.0
#include "cuda/projection.h"

#include "cuda/sums.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t tokens, width;
  int streams, outputs;
  int32_t rms_eps_mode;
  float rms_eps;
  Array<const float> projection, norm;
  Array<float> mix, inv_rms;
};

constexpr int kWarps = kThreads / 32, kAtOnce = 8;  // outputs in registers

// A token to a block: every thread takes channels 256 apart.
template <class X>
MHC_KERNEL(kThreads) projection_kernel(const Arguments a, const Array<const X> x) {
  float* parts = reinterpret_cast<float*>(shared_memory());  // [output][warp], the squares last
  const int warp = thread_index() / 32, lane = thread_index() % 32;
  for (int64_t token = block_index(); token < a.tokens; token += block_count()) {
    for (int first = 0; first <= a.outputs; first += kAtOnce) {
      float sum[kAtOnce] = {};
      for (int i = 0; i < a.streams; ++i) {
        for (int64_t c = thread_index(); c < a.width; c += kThreads) {
          const float value = widened(load1(x.at(token, i, c)));
          const float weighted = a.norm ? value * load1(a.norm.at() + i * a.width + c) : value;
#pragma unroll
          for (int k = 0; k < kAtOnce; ++k) {
            const int o = first + k;
            if (o < a.outputs) sum[k] = fmaf(weighted, load1(a.projection.at(o) + i * a.width + c), sum[k]);
            if (o == a.outputs) sum[k] = fmaf(value, value, sum[k]);
          }
        }
      }
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const float total = over_warp(sum[k], Adding{});
        if (lane == 0 && first + k <= a.outputs) parts[(first + k) * kWarps + warp] = total;
      }
    }
    sync_block();
    auto total_of = [&](int o) MHC_INLINE {
      float total = parts[o * kWarps];
      for (int w = 1; w < kWarps; ++w) total += parts[o * kWarps + w];
      return total;
    };
    const float inv_rms = inv_rms_of(total_of(a.outputs), a.streams * a.width, a.rms_eps_mode, a.rms_eps);
    for (int o = thread_index(); o < a.outputs; o += kThreads) store1(a.mix.at(token, o), total_of(o) * inv_rms);
    if (thread_index() == 0 && a.inv_rms) store1(a.inv_rms.at(token), inv_rms);
    sync_block();
  }
}

}  // namespace

void project(const Sizes& sizes, const mhc_config& config, int64_t outputs, const View& projection, const View& norm, const View& x,
             const Array<float>& mix, const View& inv_rms, Job& job) {
  const Arguments a{sizes.tokens, sizes.width, sizes.streams, static_cast<int>(outputs), config.rms_eps_mode, config.rms_eps,
                    Array<const float>(projection), Array<const float>(norm), mix, Array<float>(inv_rms)};
  const int64_t most = int64_t{8} * job.device.multiprocessors;
  const Grid grid{sizes.tokens < most ? sizes.tokens : most, kThreads, sizeof(float) * kWarps * static_cast<size_t>(outputs + 1)};
  with_row_type(x.type, [&](auto type) {
    using X = decltype(type);
    job.launch(grid, projection_kernel<X>, a, Array<const X>(x));
  });
}

}  // namespace mhc::cuda
