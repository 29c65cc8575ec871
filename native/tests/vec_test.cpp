// SPDX-License-Identifier: Apache-2.0
// The vector words of each tier: functions in units of the last place against long double, storage to the bit.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "support.h"
#include "vec_words.h"

using namespace mhc_test;

namespace {

using Function = void (*)(const float*, float*);
constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int kMostLanes = 16;

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The error in places of the exact value, whose last one is worth 2^-149 at least.
double places_off(float actual, long double exact) {
  if (std::isnan(exact)) return std::isnan(actual) ? 0 : kInfinity;
  const float near = static_cast<float>(exact);
  if (!std::isfinite(near) || !std::isfinite(actual)) return near == actual ? 0 : kInfinity;
  const int exponent = exact == 0 ? -126 : std::max(std::ilogb(exact), -126);
  return static_cast<double>(std::ldexp(std::fabs(actual - exact), 23 - exponent));
}

// Floats of every size and both signs in even steps of their bits, random ones between -110 and 95, and the edges.
std::vector<float> arguments() {
  std::vector<float> x = {0.0f, -0.0f, 0x1p-149f, -0x1p-149f, 0x1p-126f, -0x1p-126f, kInfinity, -kInfinity, kNaN,
                          -104.5f, -104.0f, -103.97f, -103.0f, -88.8f, -88.7f, -87.4f, -87.3f, 88.7f, 88.72283f, 88.7229f,
                          89.0f, 89.5f, 0.625f, -0.625f, std::nextafter(0.625f, 0.0f), 9.01f, 9.02f, 3e38f, -3e38f};
  const uint32_t step = full() ? 211 : 4099;
  for (uint32_t bits = 0; bits < 0x7f800000; bits += step) x.insert(x.end(), {float_of(bits), -float_of(bits)});
  Random random;
  for (int i = 0; i < 300000; ++i) x.push_back(static_cast<float>(random.integer(-110 << 20, 95 << 20)) * 0x1p-20f);
  while (x.size() % kMostLanes != 0) x.push_back(1.0f);
  return x;
}

class Vec : public testing::TestWithParam<int32_t> {
 protected:
  void SetUp() override { ASSERT_NE(words_, nullptr); }

  void expect_places(Function function, long double (*exact)(long double), double most) {
    const std::vector<float> x = arguments();
    float out[kMostLanes], worst_x = 0, worst_out = 0;
    double worst = 0;
    for (size_t i = 0; i < x.size(); i += words_->lanes) {
      function(&x[i], out);
      for (int lane = 0; lane < words_->lanes; ++lane) {
        const double off = places_off(out[lane], exact(x[i + lane]));
        if (!(off > worst)) continue;
        worst = off;
        worst_x = x[i + lane];
        worst_out = out[lane];
      }
    }
    EXPECT_LE(worst, most) << "at " << worst_x << " it is " << worst_out << ", expected " << exact(worst_x);
    RecordProperty("places", std::to_string(worst));
  }

  const VecWords* words_ = find_vec_words(GetParam());
};

TEST_P(Vec, exp) {
  expect_places(words_->exp, [](long double x) { return std::exp(x); }, 1.5);
}

// A place is 2^-24 to 2^-23 of a value, so an error in places can double on its way to the result: the 1.5 of exp, and the
// half of each rounding but the last.
TEST_P(Vec, sigmoid) {
  expect_places(words_->sigmoid, [](long double x) { return 1 / (1 + std::exp(-x)); }, 2 * (1.5 + 0.5) + 0.5);
}

TEST_P(Vec, sigmoid_slope) {
  expect_places(words_->sigmoid_slope, [](long double x) {
    const long double t = std::exp(-std::fabs(x));
    return t / ((1 + t) * (1 + t));
  }, 2 * (1.5 + 2 * (0.5 + 0.5) + 0.5) + 0.5);
}

// 1 - u with u = 2 / (e^2x + 1) at most 0.446 of a result from 0.55 on, whose places are all 2^-24.
TEST_P(Vec, tanh) {
  expect_places(words_->tanh, [](long double x) { return std::tanh(x); }, 0.446 * 2 * (1.5 + 0.5 + 0.5) + 0.5);
}

TEST_P(Vec, sqrt) {
  expect_places(words_->sqrt, [](long double x) { return std::sqrt(x); }, 0.5);
}

TEST_P(Vec, round_even_up_to_2_to_the_22nd) {
  Random random;
  for (int i = 0; i < 100000; ++i) {
    float x[kMostLanes], out[kMostLanes];
    for (float& value : x) value = static_cast<float>(random.integer(-(1 << 22), 1 << 22)) * (i % 2 ? 0.5f : 0x1p-19f);
    words_->round_even(x, out);
    for (int lane = 0; lane < words_->lanes; ++lane) ASSERT_EQ(out[lane], std::nearbyint(x[lane])) << x[lane];
  }
}

TEST_P(Vec, min_and_max_give_the_second_if_either_is_nan) {
  const float values[] = {-kInfinity, -1, 0, 0x1p-149f, 2, kInfinity, kNaN};
  for (float a : values)
    for (float b : values) {
      float as[kMostLanes], bs[kMostLanes], least[kMostLanes], most[kMostLanes];
      std::fill_n(as, kMostLanes, a);
      std::fill_n(bs, kMostLanes, b);
      words_->min(as, bs, least);
      words_->max(as, bs, most);
      for (int lane = 0; lane < words_->lanes; ++lane) {
        EXPECT_EQ(bits_of(least[lane]), bits_of(a < b ? a : b)) << a << ", " << b;
        EXPECT_EQ(bits_of(most[lane]), bits_of(a > b ? a : b)) << a << ", " << b;
      }
    }
}

TEST_P(Vec, scale2_is_ldexp) {
  Random random;
  float x[kMostLanes], k[kMostLanes], out[kMostLanes];
  for (int power = -126; power <= 127; ++power) {
    for (float& value : x) value = static_cast<float>(random.normal());
    std::fill_n(k, kMostLanes, static_cast<float>(power));
    k[0] = kNaN;
    words_->scale2(x, k, out);
    EXPECT_TRUE(std::isnan(out[0]));
    for (int lane = 1; lane < words_->lanes; ++lane) EXPECT_EQ(out[lane], std::ldexp(x[lane], power));
  }
}

TEST_P(Vec, sum_and_max_take_every_lane_once) {
  Random random;
  for (int i = 0; i < 1000; ++i) {
    float x[kMostLanes];
    double total = 0;
    for (int lane = 0; lane < words_->lanes; ++lane) {
      x[lane] = static_cast<float>(random.integer(-100000, 100000));  // such sums are exact
      total += x[lane];
    }
    EXPECT_EQ(words_->sum(x), total);
    EXPECT_EQ(words_->max_of(x), *std::max_element(x, x + words_->lanes));
  }
}

TEST_P(Vec, transpose) {
  const int lanes = words_->lanes;
  std::vector<float> x(lanes * lanes);
  for (int i = 0; i < lanes * lanes; ++i) x[i] = static_cast<float>(i);
  words_->transpose(x.data());
  for (int i = 0; i < lanes; ++i)
    for (int j = 0; j < lanes; ++j) EXPECT_EQ(x[i * lanes + j], static_cast<float>(j * lanes + i));
}

// The storage types as the tests know them, in the tables' order.
const Element* const kElements[] = {&kFp32, &kFp16, &kBf16};

bool flushes(int32_t tier, const Element& element) {
  return tier == MHC_CPU_TIER_AVX512_BF16 && element == kBf16;  // as mhc.h says
}

// What storing a float and loading it again should give.
float stored(int32_t tier, const Element& element, float value) {
  if (std::isnan(value)) return value;
  if (flushes(tier, element) && std::fabs(value) < 0x1p-126f) return std::copysign(0.0f, value);
  return static_cast<float>(oracle::rounded(element.type, value));
}

bool same(float a, float b) { return bits_of(a) == bits_of(b) || (std::isnan(a) && std::isnan(b)); }

TEST_P(Vec, rounds_to_storage) {
  std::vector<float> x = arguments();
  for (float middle : {1.0f, 0x1p-14f, 0x1p-24f, 0x1p-126f, 0x1p-133f, 65504.0f, 3.3895314e38f})  // ties, and their neighbours
    for (float units : {0x1p-9f, 3 * 0x1p-9f, 0x1p-12f, 3 * 0x1p-12f, 0.25f, 0.5f, 0.0f}) {
      const float tie = middle + middle * units;
      for (float near : {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, kInfinity)}) x.insert(x.end(), {near, -near});
    }
  while (x.size() % kMostLanes != 0) x.push_back(1.0f);
  for (int e = 0; e < 3; ++e) {
    float out[kMostLanes];
    for (size_t i = 0; i < x.size(); i += words_->lanes) {
      words_->storage[e].rounded(&x[i], out);
      for (int lane = 0; lane < words_->lanes; ++lane)
        ASSERT_TRUE(same(out[lane], stored(GetParam(), *kElements[e], x[i + lane])))
            << kElements[e]->name << ": " << x[i + lane] << " gives " << out[lane];
    }
  }
}

// At the end of readable memory, and with a known value behind what may be written.
TEST_P(Vec, loads_and_stores_tails) {
  Random random;
  for (int e = 0; e < 3; ++e)
    for (int n = 1; n <= words_->lanes; ++n) {
      const Element& element = *kElements[e];
      SCOPED_TRACE(std::string(element.name) + ", " + std::to_string(n));
      const VecWords::Storage& storage = words_->storage[e];
      Tensor from(element, {n}), to(element, {n});
      float x[kMostLanes], loaded[kMostLanes];
      for (float& value : x) value = static_cast<float>(random.normal());
      storage.store(x, from.at(0), n);
      storage.load(from.at(0), loaded, n);
      for (int lane = 0; lane < words_->lanes; ++lane)
        EXPECT_EQ(loaded[lane], lane < n ? stored(GetParam(), element, x[lane]) : 0.0f);
      storage.store(loaded, to.at(0), n);
      EXPECT_TRUE(same_bits(from, to));

      Tensor whole(element, {words_->lanes + 1});
      whole.poison();
      const std::vector<uint8_t> before = whole.bytes();
      storage.store(x, whole.at(0), n);
      const std::vector<uint8_t> after = whole.bytes();
      EXPECT_TRUE(std::equal(before.begin() + n * element.bytes, before.end(), after.begin() + n * element.bytes));

      storage.copy(from.at(0), whole.at(0), n);
      const Array copied = whole.values();
      for (int lane = 0; lane < words_->lanes; ++lane) EXPECT_EQ(copied[lane], loaded[lane]);
    }
}

TEST_P(Vec, streams_and_packs_wherever_it_is_put) {
  Random random;
  for (int e = 0; e < 3; ++e)
    for (int offset = 0; offset < 33; ++offset) {
      const Element& element = *kElements[e];
      const VecWords::Storage& storage = words_->storage[e];
      Tensor expected(element, {words_->lanes}), room(element, {33 + words_->lanes}), packed(element, {33 + words_->lanes});
      float x[kMostLanes];
      for (float& value : x) value = static_cast<float>(random.normal());
      storage.store(x, expected.at(0), words_->lanes);
      storage.stream(x, room.at(offset));
      EXPECT_TRUE(same_bits(expected, Tensor(room, offset, {words_->lanes}, {1}))) << element.name << ", " << offset;
      storage.through_packed(room.at(offset), packed.at(offset));
      EXPECT_TRUE(same_bits(expected, Tensor(packed, offset, {words_->lanes}, {1}))) << element.name << ", " << offset;
    }
}

// Two vectors by Pairs are as one and one by the words for one.
TEST_P(Vec, takes_two_vectors_as_one_and_one) {
  Random random;
  const int lanes = words_->lanes;
  for (int e = 0; e < 3; ++e)
    for (int offset = 0; offset < 65; ++offset) {
      const Element& element = *kElements[e];
      const VecWords::Storage& storage = words_->storage[e];
      Tensor y(element, {2 * lanes}), expected(element, {2 * lanes}), stored(element, {65 + 2 * lanes}), streamed(element, {65 + 2 * lanes});
      float x[2 * kMostLanes], terms[2 * kMostLanes];
      for (int half : {0, lanes}) {
        for (int lane = half; lane < half + lanes; ++lane) terms[lane] = static_cast<float>(random.normal());
        storage.store(terms + half, y.at(half), lanes);
        storage.load(y.at(half), terms + half, lanes);
        for (int lane = half; lane < half + lanes; ++lane) x[lane] = static_cast<float>(random.normal());
        if (offset == 0) x[half + 1] = kNaN, x[half + 2] = kInfinity, x[half + 4] = -kInfinity, x[half + 5] = 3.4e38f;
        for (int lane = half; lane < half + lanes; ++lane) terms[lane] += x[lane];
        storage.store(terms + half, expected.at(half), lanes);
      }
      storage.pair_sum(x, y.at(0), stored.at(offset));
      storage.pair_sum_streamed(x, y.at(0), streamed.at(offset));
      EXPECT_TRUE(same_bits(expected, Tensor(stored, offset, {2 * lanes}, {1}))) << element.name << ", " << offset;
      EXPECT_TRUE(same_bits(expected, Tensor(streamed, offset, {2 * lanes}, {1}))) << element.name << ", " << offset;
      storage.pair_copy(y.at(0), stored.at(offset));
      storage.pair_copy_streamed(y.at(0), streamed.at(offset));
      EXPECT_TRUE(same_bits(y, Tensor(stored, offset, {2 * lanes}, {1}))) << element.name << ", " << offset;
      EXPECT_TRUE(same_bits(y, Tensor(streamed, offset, {2 * lanes}, {1}))) << element.name << ", " << offset;
    }
}

INSTANTIATE_TEST_SUITE_P(tiers, Vec, testing::ValuesIn(tiers()), [](const auto& info) { return mhc_cpu_tier_name(info.param); });

}  // namespace

#define TIER(name)                    \
  namespace mhc::cpu::name {          \
  extern const VecWords vec_words;    \
  }
TIER(plain)
#if defined(__x86_64__)
TIER(avx2)
TIER(avx512)
TIER(avx512_bf16)
#elif defined(__aarch64__)
TIER(neon)
#endif
#undef TIER

const VecWords* mhc_test::find_vec_words(int tier) {
  switch (tier) {
    case MHC_CPU_TIER_PLAIN: return &mhc::cpu::plain::vec_words;
#if defined(__x86_64__)
    case MHC_CPU_TIER_AVX2: return &mhc::cpu::avx2::vec_words;
    case MHC_CPU_TIER_AVX512: return &mhc::cpu::avx512::vec_words;
    case MHC_CPU_TIER_AVX512_BF16: return &mhc::cpu::avx512_bf16::vec_words;
#elif defined(__aarch64__)
    case MHC_CPU_TIER_NEON: return &mhc::cpu::neon::vec_words;
#endif
    default: return nullptr;
  }
}
