// SPDX-License-Identifier: Apache-2.0
#include "cuda/mix_backward.h"
#include "cuda/mixes.h"
#include "cuda/pass_backward.h"
#include "cuda/sums.h"
#include "cuda/weight_gradients.h"

namespace mhc::cuda {
namespace {

constexpr int kN = kAnyStreams, kWarps = kThreads / 32;
constexpr int kDots = kMaxStreams * kMaxStreams + 2 * kMaxStreams;

struct Arguments {
  MixBackward mix;
  int64_t tokens, width;
  int n;
  bool post, layer, norm, scan, in_out, accumulate;
  float norm_eps;
  Array<const float> post_mix, res_mix, projection, projection_norm, norm_weight;
  Array<float> d_post_mix, d_res_mix, d_shifted_pre_mix;
};

template <class X, class H>
MHC_FN void entering(const BackwardRows<X, H>& rows, int64_t token, int64_t c, int n, float* values) {
  for (int i = 0; i < n; ++i) values[i] = widened(load1(rows.x.at(token, i, c)));
}

template <class X>
MHC_FN void next_of(const PostMix<kN>* mix, const float* x, float f, int n, float* next) {
  for (int o = 0; o < n; ++o) next[o] = mix ? rounded<X>(mix->next(o, [&](auto i) { return x[i]; }, f, n)) : x[o];
}

// What a block keeps of its token.
struct Shared {
  PostMix<kN> mix;
  float parts[kDots * kWarps];
};

template <class X, class H>
class Token {
 public:
  MHC_FN Token(const Arguments& a, const BackwardRows<X, H>& rows, Shared& s, int64_t token)
      : a_(a), rows_(rows), s_(s), token_(token), record_(a.mix, token), n_(a.n) {}

  MHC_FN void run() {
    bring_mix();
    if (a_.scan) scan();
    if (rows_.d_x) apply();
  }

 private:
  MHC_FN void bring_mix() {
    for (int k = thread_index(); a_.post && k < n_ * n_; k += kThreads) {
      const int o = k / n_, i = k % n_;
      s_.mix.res[o * kMaxStreams + i] = load1(a_.res_mix.at(token_, a_.in_out ? i : o, a_.in_out ? o : i));
      if (i == 0) s_.mix.post[o] = load1(a_.post_mix.at(token_, o));
    }
    for (int i = 0; a_.layer && i < n_; ++i) pre_[i] = load1(record_.pre() + i);
    sync_block();
  }

  MHC_FN void values(int64_t c) {
    entering(rows_, token_, c, n_, x_);
    f_ = a_.post ? rows_.f.value(token_, c) : 0.0f;
    next_of<X>(a_.post ? &s_.mix : nullptr, x_, f_, n_, next_);
    gradient_ = a_.layer ? widened(load1(rows_.d_h.at(token_, c))) : 0.0f;
    if (!a_.norm) return;
    gradient_ = gradient_ * load1(a_.norm_weight.at() + c);
    h_ = rounded<H>(pre_value<kN>([&](auto i) { return pre_[i]; }, [&](auto i) { return next_[i]; }, n_));
  }

  // The sums over channels that dh and d_pre_mix need.
  MHC_FN void scan() {
    float sums[64] = {};
    float *along = sums, *across = sums + n_, *squares = sums + 2 * n_, *inner = squares + 1;
    for (int64_t c = thread_index(); c < a_.width; c += kThreads) {
      values(c);
      for (int o = 0; o < n_; ++o) along[o] = fmaf(next_[o], gradient_, along[o]);
      if (!a_.norm) continue;
      for (int o = 0; o < n_; ++o) across[o] = fmaf(next_[o], h_, across[o]);
      *squares = fmaf(h_, h_, *squares);
      *inner = fmaf(gradient_, h_, *inner);
    }
    put_parts<kWarps>(sums, s_.parts);
    if (thread_index() == 0) {
      for (int k = 0; k < 2 * n_ + 2; ++k) sums[k] = total_of<kWarps>(s_.parts, k);
      F d_pre[kMaxStreams];
      const float r = a_.norm ? inv_rms_of(*squares, a_.width, MHC_RMS_EPS_INSIDE, a_.norm_eps) : 1.0f;
      const float k = a_.norm ? r * r * (*inner / static_cast<float>(a_.width)) : 0.0f;
      for (int o = 0; o < n_; ++o) d_pre[o] = set(a_.norm ? r * (along[o] - k * across[o]) : along[o]);
      store1(record_.inv_rms(), r);
      store1(record_.inner(), k);
      if (a_.mix.pre_from_layer) finish_pre<kN>(a_.mix, token_, d_pre);
    }
    sync_block();
  }

  // D, and what follows from it.
  MHC_FN void apply() {
    float dots[kDots] = {};  // of post_mix, H_res and shifted_pre_mix
    const int count = n_ * n_ + 2 * n_;
    for (int64_t c = thread_index(); c < a_.width; c += kThreads) {
      values(c);
      float dh = gradient_, d[kMaxStreams];
      if (a_.norm) dh = load1(record_.inv_rms()) * (gradient_ - load1(record_.inner()) * h_);
      gradient_of_next(c, dh, d);
      for (int o = 0; a_.layer && o < n_; ++o) dots[n_ + n_ * n_ + o] = fmaf(next_[o], dh, dots[n_ + n_ * n_ + o]);
      if (!a_.post) {
        for (int o = 0; o < n_; ++o) put(rows_.d_x.at(token_, o, c), d[o]);
        continue;
      }
      float d_f = 0.0f;
      for (int o = 0; o < n_; ++o) {
        d_f = fmaf(s_.mix.post[o], d[o], d_f);
        dots[o] = fmaf(d[o], f_, dots[o]);
        for (int i = 0; i < n_; ++i) dots[n_ + o * n_ + i] = fmaf(d[o], x_[i], dots[n_ + o * n_ + i]);
      }
      put(rows_.d_f.at(token_, c), d_f);
      for (int i = 0; i < n_; ++i) {
        float d_x = 0.0f;
        for (int o = 0; o < n_; ++o) d_x = fmaf(s_.mix.res[o * kMaxStreams + i], d[o], d_x);
        put(rows_.d_x.at(token_, i, c), d_x);
      }
    }
    if (!a_.post && !a_.d_shifted_pre_mix) return;
    put_parts<kWarps>(dots, s_.parts);
    for (int k = thread_index(); k < count; k += kThreads) put_dot(k, total_of<kWarps>(s_.parts, k));
  }

  MHC_FN void gradient_of_next(int64_t c, float dh, float* d) {
    const float along = a_.mix.product ? load1(record_.c()) : 0.0f;
    for (int o = 0; o < n_; ++o) {
      float value = rows_.d_x_next ? widened(load1(rows_.d_x_next.at(token_, o, c))) : 0.0f;
      if (a_.layer) value = fmaf(pre_[o], dh, value);
      if (a_.mix.product) {
        float product = 0.0f;
        for (int j = 0; j < a_.mix.m; ++j) product = fmaf(load1(record_.g + j), load1(a_.projection.at(j) + o * a_.width + c), product);
        if (a_.projection_norm) product = product * load1(a_.projection_norm.at() + o * a_.width + c);
        value = value + fmaf(along, next_[o], product);
      }
      d[o] = value;
    }
  }

  template <class T>
  MHC_FN void put(T* to, float value) const {
    T e;
    narrowed(a_.accumulate ? widened(load1(to)) + value : value, e);
    store1(to, e);
  }
  MHC_FN void put_dot(int k, float value) const {
    if (k < n_) {
      if (a_.d_post_mix) store1(a_.d_post_mix.at(token_, k), value);
    } else if (k < n_ + n_ * n_) {
      const int o = (k - n_) / n_, i = (k - n_) % n_;
      if (a_.d_res_mix) store1(a_.d_res_mix.at(token_, a_.in_out ? i : o, a_.in_out ? o : i), value);
    } else if (a_.d_shifted_pre_mix) {
      store1(a_.d_shifted_pre_mix.at(token_, k - n_ - n_ * n_), value);
    }
  }

  const Arguments& a_;
  const BackwardRows<X, H>& rows_;
  Shared& s_;
  const int64_t token_;
  const Record record_;
  const int n_;
  float pre_[kMaxStreams], x_[kMaxStreams], next_[kMaxStreams], f_ = 0.0f, gradient_ = 0.0f, h_ = 0.0f;
};

template <class X, class H>
MHC_KERNEL(kThreads) tokens_kernel(MHC_CONSTANT Arguments a, MHC_CONSTANT BackwardRows<X, H> rows) {
  Shared& s = *reinterpret_cast<Shared*>(shared_memory());
  for (int64_t token = block_index(); token < a.tokens; token += block_count()) {
    Token<X, H>(a, rows, s, token).run();
    sync_block();
  }
}

// Tokens of slab s: [s * slab, (s + 1) * slab).
struct Slabs {
  int64_t tokens;
  int count;
  int64_t slab;
};

// One channel c of next of one token, as the weights' kernels want it.
template <class X, class H>
MHC_FN void next_at(const Arguments& a, const BackwardRows<X, H>& rows, int64_t token, int64_t c, PostMix<kN>& mix, float* next) {
  float x[kMaxStreams], f = 0.0f;
  entering(rows, token, c, a.n, x);
  if (a.post) {
    mix.load(a.post_mix, a.res_mix, a.in_out, token, a.n);
    f = rows.f.value(token, c);
  }
  next_of<X>(a.post ? &mix : nullptr, x, f, a.n, next);
}

// part[j][i][c] = sum over a slab of g[j] next[i][c]; a thread has a channel of a slab, and eight j at a time.
template <class X, class H>
MHC_KERNEL(kThreads) projection_kernel(MHC_CONSTANT Arguments a, MHC_CONSTANT BackwardRows<X, H> rows, const Slabs slabs,
                                       const WeightParts parts) {
  constexpr int kAtOnce = 8;
  const int groups = (a.mix.m + kAtOnce - 1) / kAtOnce;
  for_each_of(a.width * slabs.count * groups, [&](int64_t index) {
    const int64_t c = index % a.width, slab = index / a.width % slabs.count;
    const int first = static_cast<int>(index / a.width / slabs.count) * kAtOnce;
    PostMix<kN> mix;
    float sum[kAtOnce][kMaxStreams] = {}, next[kMaxStreams];
    const int64_t last = (slab + 1) * slabs.slab < a.tokens ? (slab + 1) * slabs.slab : a.tokens;
    for (int64_t token = slab * slabs.slab; token < last; ++token) {
      next_at(a, rows, token, c, mix, next);
      const Record record(a.mix, token);
      for (int k = 0; k < kAtOnce && first + k < a.mix.m; ++k) {
        const float g = load1(record.g + first + k);
        for (int i = 0; i < a.n; ++i) sum[k][i] = fmaf(g, next[i], sum[k][i]);
      }
    }
    for (int k = 0; k < kAtOnce && first + k < a.mix.m; ++k) {
      for (int i = 0; i < a.n; ++i) {
        store1(parts.projection + ((slab * a.mix.m + first + k) * a.n + i) * parts.pitch + c, sum[k][i]);
      }
    }
  });
}

template <class X, class H>
MHC_KERNEL(kThreads) norm_kernel(MHC_CONSTANT Arguments a, MHC_CONSTANT BackwardRows<X, H> rows, const Slabs slabs,
                                 const WeightParts parts) {
  for_each_of(a.width * slabs.count, [&](int64_t index) {
    const int64_t c = index % a.width, slab = index / a.width;
    PostMix<kN> mix;
    float sum = 0.0f, next[kMaxStreams];
    const int64_t last = (slab + 1) * slabs.slab < a.tokens ? (slab + 1) * slabs.slab : a.tokens;
    for (int64_t token = slab * slabs.slab; token < last; ++token) {
      next_at(a, rows, token, c, mix, next);
      const Record record(a.mix, token);
      const float h = rounded<H>(pre_value<kN>([&](auto i) { return load1(record.pre() + i); }, [&](auto i) { return next[i]; }, a.n));
      sum = fmaf(widened(load1(rows.d_h.at(token, c))) * load1(record.inv_rms()), h, sum);
    }
    store1(parts.norm + slab * parts.pitch + c, sum);
  });
}

// Enough slabs to find threads for, as long as their parts take no more than half a GiB.
Slabs slabs_of(const BoundaryBackwardProblem& p) {
  const int64_t tokens = p.sizes.tokens, bytes = p.sizes.mix_count * p.sizes.streams * p.sizes.width * int64_t{4};
  int64_t count = tokens / 128, most = (int64_t{1} << 29) / (bytes > 0 ? bytes : 1);
  count = count > 16 ? 16 : count;
  count = count > most ? most : count;
  if (count < 1) count = 1;
  const int64_t slab = (tokens + count - 1) / count;
  return {tokens, slab > 0 ? static_cast<int>((tokens + slab - 1) / slab) : 0, slab};
}

struct Space {
  char* mix;
  WeightParts parts;
  size_t bytes;

  Space(const BoundaryBackwardProblem& p, const DeviceProperties& device, char* base) {
    Pieces pieces(base);
    const Slabs slabs = slabs_of(p);
    mix = pieces.take<char>(static_cast<int64_t>(mix_backward_space(p, device)));
    parts = {slabs.count, p.sizes.width, nullptr, nullptr};
    if (wants_projection(p)) parts.projection = pieces.take<float>(slabs.count * p.sizes.mix_count * p.sizes.streams * p.sizes.width);
    if (p.d_norm_weight) parts.norm = pieces.take<float>(slabs.count * p.sizes.width);
    bytes = pieces.used();
  }
};

}  // namespace

size_t backward_in_steps_space(const BoundaryBackwardProblem& p, const DeviceProperties& device) {
  return Space(p, device, nullptr).bytes;
}

void backward_in_steps(const BoundaryBackwardProblem& p, Job& job) {
  const Space space(p, job.device, job.workspace);
  Arguments a = {};
  a.mix = mix_backward_of(p, job.device, space.mix);
  a.tokens = p.sizes.tokens;
  a.width = p.sizes.width;
  a.n = p.sizes.streams;
  a.post = p.f.given;
  a.layer = p.d_h.given;
  a.norm = p.norm_weight.given;
  a.scan = a.layer && (a.norm || a.mix.pre_from_layer);
  a.in_out = p.config.orientation == MHC_IN_OUT;
  a.accumulate = p.accumulate_inputs;
  a.norm_eps = p.norm_eps;
  a.post_mix = Array<const float>(p.post_mix);
  a.res_mix = Array<const float>(p.res_mix);
  a.projection = Array<const float>(p.parameters.projection);
  a.projection_norm = Array<const float>(p.parameters.norm_weight);
  a.norm_weight = Array<const float>(p.norm_weight);
  a.d_post_mix = Array<float>(p.d_post_mix);
  a.d_res_mix = Array<float>(p.d_res_mix);
  a.d_shifted_pre_mix = Array<float>(p.d_shifted_pre_mix);
  const Slabs slabs = slabs_of(p);
  start_mix_backward(p, a.mix, space.mix, job);
  with_rows(p, [&]<class X, class H>(const BackwardRows<X, H>& rows) {
    const int64_t most = int64_t{4} * job.device.multiprocessors;
    job.launch({a.tokens < most ? a.tokens : most, kThreads, sizeof(Shared)}, tokens_kernel<X, H>, a, rows);
    const int64_t channels = a.width * slabs.count;
    if (space.parts.projection) {
      job.launch(share(channels * ((a.mix.m + 7) / 8), job.device), projection_kernel<X, H>, a, rows, slabs, space.parts);
    }
    if (space.parts.norm) job.launch(share(channels, job.device), norm_kernel<X, H>, a, rows, slabs, space.parts);
  });
  finish_mix_backward(p, a.mix, job);
  sum_weight_gradients(p, space.parts, job);
}

}  // namespace mhc::cuda
