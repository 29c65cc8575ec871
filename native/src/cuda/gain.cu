// SPDX-License-Identifier: Apache-2.0
// Up to four streams a token to a thread, whose numbers are interleaved with those of the other threads; beyond that a token
// to a warp.
#include "lanes/gain.h"

#include "cuda/crew.h"
#include "cuda/rows.h"

namespace mhc::cuda {
namespace {

constexpr int kBlockThreads = 128, kFew = 4;

struct Gained {
  Array<float> forward, backward, contraction;
  MHC_HOST_DEVICE explicit operator bool() const { return forward || backward || contraction; }
};
struct Arguments {
  int64_t layers, tokens;
  int streams;
  bool in_out;
  Array<const float> res_mix;
  Gained single, composite;
};

template <class Crew>
MHC_FN void gain_token(const Arguments& a, int64_t token, const Crew& crew, double* numbers, int step) {
  Gains<Crew> gains(crew, a.streams, numbers, step);
  for (int64_t l = 0; l < a.layers; ++l) {
    gains.enter([&](int o, int i) MHC_INLINE { return load1(a.res_mix.at(l, token, a.in_out ? i : o) + (a.in_out ? o : i)); });
    auto put = [&](const Array<float>& to, double value) MHC_INLINE {
      if (crew.leads()) store1(to.at(l, token), static_cast<float>(value));
    };
    auto write = [&](const double* h, const Gained& to) MHC_INLINE {
      if (to.forward) put(to.forward, gains.largest_row_sum(h));
      if (to.backward) put(to.backward, gains.largest_column_sum(h));
      if (to.contraction) put(to.contraction, gains.contraction(h));
    };
    write(gains.layer(), a.single);
    if (!a.composite) continue;
    gains.multiply(l == 0);
    write(gains.product(), a.composite);
  }
}

MHC_KERNEL(kBlockThreads) few_streams_kernel(MHC_CONSTANT Arguments a) {
  double* numbers = reinterpret_cast<double*>(shared_memory()) + thread_index();
  for_each_of(a.tokens, [&](int64_t token) { gain_token(a, token, Alone{}, numbers, kBlockThreads); });
}

MHC_KERNEL(kBlockThreads) many_streams_kernel(MHC_CONSTANT Arguments a) {
  const int warp = thread_index() / 32, warps = kBlockThreads / 32;
  double* numbers = reinterpret_cast<double*>(shared_memory()) + warp * Gains<WarpCrew>::numbers(a.streams);
  for (int64_t token = block_index() * warps + warp; token < a.tokens; token += block_count() * warps) {
    gain_token(a, token, WarpCrew{}, numbers, 1);
  }
}

}  // namespace

size_t gain_space(const GainProblem&, const DeviceProperties&) { return 0; }

void gain(const GainProblem& p, Job& job) {
  const Arguments a{p.layers, p.tokens, p.streams, p.orientation == MHC_IN_OUT, Array<const float>(p.res_mix),
                    {Array<float>(p.forward), Array<float>(p.backward), Array<float>(p.contraction)},
                    {Array<float>(p.composite_forward), Array<float>(p.composite_backward), Array<float>(p.composite_contraction)}};
  const bool few = p.streams <= kFew;
  const int at_once = few ? kBlockThreads : kBlockThreads / 32;
  const size_t shared = static_cast<size_t>(at_once * Gains<Alone>::numbers(p.streams)) * sizeof(double);
  const int64_t blocks = (p.tokens + at_once - 1) / at_once, most = int64_t{16} * job.device.multiprocessors;
  job.launch({blocks < most ? blocks : most, kBlockThreads, shared}, few ? few_streams_kernel : many_streams_kernel, a);
}

}  // namespace mhc::cuda
