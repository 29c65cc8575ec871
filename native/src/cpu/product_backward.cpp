// SPDX-License-Identifier: Apache-2.0
#include "cpu/product_backward.h"


namespace mhc::cpu::MHC_TIER {
namespace {

// Registers: kOutputs scalars meet kTokens vectors.
constexpr int kScalars = kOutputs, kVectors = kTokens;
// Tiles that a thread takes at a time where whole tensors are converted: several lines of a row of the caller's.
constexpr int64_t kTileRun = 8;

template <int T, int V>
inline void rows_tile(const float* g, const Tiles& tiles, const float* tile, float* out, int64_t out_step) {
  F sum[T][V];
  repeat<T>(T, [&](auto t) MHC_INLINE { repeat<V>(V, [&](auto v) MHC_INLINE { sum[t][v] = zero(); }); });
  const int64_t row_step = tiles.n * W, m = tiles.m;
  for (int64_t j = 0; j < m; ++j, tile += row_step) {
    F row[V];
    repeat<V>(V, [&](auto v) MHC_INLINE { row[v] = load(tile + v * W); });
    repeat<T>(T, [&](auto t) MHC_INLINE {
      const F scalar = kept(set(g[t * m + j]));
      repeat<V>(V, [&](auto v) MHC_INLINE { sum[t][v] = fma(scalar, row[v], sum[t][v]); });
    });
  }
  repeat<T>(T, [&](auto t) MHC_INLINE {
    repeat<V>(V, [&](auto v) MHC_INLINE { store(out + t * out_step + v * W, sum[t][v]); });
  });
}

template <class X, int J, int V>
inline void projection_tile(const float* g, const X* x, int64_t x_step, int64_t tokens, const Tiles& tiles,
                            bool fresh, float* tile) {
  F sum[J][V];
  const int64_t row_step = tiles.n * W, m = tiles.m;
  repeat<J>(J, [&](auto j) MHC_INLINE {
    repeat<V>(V, [&](auto v) MHC_INLINE { sum[j][v] = fresh ? zero() : load(tile + j * row_step + v * W); });
  });
  for (int64_t t = 0; t < tokens; ++t, x += tiles.n * x_step, g += m) {
    F row[V];
    repeat<V>(V, [&](auto v) MHC_INLINE { row[v] = load(x + v * x_step); });
    repeat<J>(J, [&](auto j) MHC_INLINE {
      const F scalar = kept(set(g[j]));
      repeat<V>(V, [&](auto v) MHC_INLINE { sum[j][v] = fma(scalar, row[v], sum[j][v]); });
    });
  }
  repeat<J>(J, [&](auto j) MHC_INLINE {
    repeat<V>(V, [&](auto v) MHC_INLINE { store(tile + j * row_step + v * W, sum[j][v]); });
  });
}

// body(std::integral_constant) of count, which is 1 ... Most.
template <int Most, class Body>
inline void with_count(int64_t count, const Body& body) {
  if constexpr (Most > 1) {
    if (count < Most) return with_count<Most - 1>(count, body);
  }
  body(std::integral_constant<int, Most>{});
}

// body(first, count) over [0, total) in runs of Most and a shorter last one, count known while compiling.
template <int Most, class Body>
inline void in_runs(int64_t total, const Body& body) {
  int64_t i = 0;
  for (; i + Most <= total; i += Most) body(i, std::integral_constant<int, Most>{});
  if (i < total) with_count<Most>(total - i, [&](auto count) { body(i, count); });
}

}  // namespace

void to_tiles(const ParameterViews& parameters, const Sizes& sizes, Pool& pool, float* base) {
  Tiles tiles(sizes);
  for_token_blocks(pool, tiles.count, kTileRun, [&](int, int64_t first, int64_t last) {
    for (int64_t j = 0; j < tiles.m; ++j) {
      for (int i = 0; i < tiles.n; ++i) {
        const float* row = parameters.projection.at<float>(j) + i * sizes.width;
        const float* weight = parameters.norm_weight ? parameters.norm_weight.at<float>() + i * sizes.width : nullptr;
        for (int64_t v = first; v < last; ++v) {
          int64_t c = v * W, left = sizes.width - c;
          F value = load_upto(row + c, left);
          if (weight) value = value * load_upto(weight + c, left);
          store(tiles.at(base, v) + (j * tiles.n + i) * W, value);
        }
      }
    }
  });
}

void back_to_rows(const float* g, int64_t tokens, const Tiles& tiles, const float* tile, float* out,
                  int64_t out_step) {
  in_runs<kVectors>(tiles.n, [&](int64_t i, auto vectors) {
    in_runs<kScalars>(tokens, [&](int64_t t, auto count) {
      rows_tile<count, vectors>(g + t * tiles.m, tiles, tile + i * W, out + t * out_step + i * W, out_step);
    });
  });
}

template <class X>
void back_to_projection(const float* g, const X* x, int64_t x_step, int64_t tokens, const Tiles& tiles, bool fresh,
                        float* tile) {
  in_runs<kVectors>(tiles.n, [&](int64_t i, auto vectors) {
    in_runs<kScalars>(tiles.m, [&](int64_t j, auto count) {
      projection_tile<X, count, vectors>(g + j, x + i * x_step, x_step, tokens, tiles, fresh,
                                         tile + (j * tiles.n + i) * W);
    });
  });
}
template void back_to_projection(const float*, const bf16*, int64_t, int64_t, const Tiles&, bool, float*);
template void back_to_projection(const float*, const f16*, int64_t, int64_t, const Tiles&, bool, float*);
template void back_to_projection(const float*, const float*, int64_t, int64_t, const Tiles&, bool, float*);

void from_tiles(const ParameterViews& parameters, const ParameterViews& d_parameters, const Sizes& sizes,
                bool accumulate, float* slab_tiles, int64_t slab_step, int64_t slabs, Pool& pool) {
  Tiles tiles(sizes);
  auto put = [&](float* p, F value, int64_t left) {
    if (accumulate) value = value + load_upto(p, left);
    store_upto(p, value, left);
  };
  for_token_blocks(pool, tiles.count, kTileRun, [&](int, int64_t first, int64_t last) {
    float* sums = tiles.at(slab_tiles, first);  // slab 0 becomes the sum
    for (int64_t k = 0; k < (last - first) * tiles.floats_each(); k += W) {
      F total = slabs > 0 ? load(sums + k) : zero();
      for (int64_t s = 1; s < slabs; ++s) total = total + load(sums + s * slab_step + k);
      store(sums + k, total);
    }
    for (int i = 0; i < tiles.n; ++i) {
      const float* weight = parameters.norm_weight ? parameters.norm_weight.at<float>() + i * sizes.width : nullptr;
      F d_weight[kTileRun];
      for (F& value : d_weight) value = zero();
      for (int64_t j = 0; j < tiles.m; ++j) {
        for (int64_t v = first; v < last; ++v) {
          int64_t c = v * W, left = sizes.width - c;
          F total = load(tiles.at(slab_tiles, v) + (j * tiles.n + i) * W);
          if (d_parameters.norm_weight) {
            F row = load_upto(parameters.projection.at<float>(j) + i * sizes.width + c, left);
            d_weight[v - first] = fma(total, row, d_weight[v - first]);
          }
          if (d_parameters.projection) {
            if (weight) total = total * load_upto(weight + c, left);
            put(d_parameters.projection.at<float>(j) + i * sizes.width + c, total, left);
          }
        }
      }
      if (!d_parameters.norm_weight) continue;
      for (int64_t v = first; v < last; ++v) {
        int64_t c = v * W;
        put(d_parameters.norm_weight.at<float>() + i * sizes.width + c, d_weight[v - first], sizes.width - c);
      }
    }
  });
}

}  // namespace mhc::cpu::MHC_TIER
