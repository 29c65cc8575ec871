// SPDX-License-Identifier: Apache-2.0
#include "cpu/tiers.h"

#include <initializer_list>

namespace mhc::cpu {

// Weak: a build may leave some out (MHC_TIERS).
#define MHC_DECLARE_TIER(name)             \
  namespace name {                         \
  [[gnu::weak]] extern const Tier tier;    \
  }
MHC_DECLARE_TIER(plain)
MHC_DECLARE_TIER(counting)
#if defined(__x86_64__)
MHC_DECLARE_TIER(avx2)
MHC_DECLARE_TIER(avx512)
MHC_DECLARE_TIER(avx512_bf16)
#elif defined(__aarch64__)
MHC_DECLARE_TIER(neon)
#endif
#undef MHC_DECLARE_TIER

const Tier* find_tier(mhc_cpu_tier wanted) {
  switch (wanted) {
    case MHC_CPU_TIER_PLAIN: return &plain::tier;
    case MHC_CPU_TIER_COUNTING: return &counting::tier;
#if defined(__x86_64__)
    case MHC_CPU_TIER_AVX2: return &avx2::tier;
    case MHC_CPU_TIER_AVX512: return &avx512::tier;
    case MHC_CPU_TIER_AVX512_BF16: return &avx512_bf16::tier;
#elif defined(__aarch64__)
    case MHC_CPU_TIER_NEON: return &neon::tier;
#endif
    default: return nullptr;
  }
}

bool cpu_can_run(mhc_cpu_tier tier) {
#if defined(__x86_64__)
  __builtin_cpu_init();  // also asks the operating system whether it saves the wide registers
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  switch (tier) {
    case MHC_CPU_TIER_AVX2: return avx2;
    case MHC_CPU_TIER_AVX512: return avx512;
    case MHC_CPU_TIER_AVX512_BF16: return avx512 && __builtin_cpu_supports("avx512bf16");
    default: break;
  }
#endif
  return find_tier(tier) != nullptr;
}

mhc_cpu_tier choose_tier(mhc_cpu_tier wanted) {
  if (wanted != MHC_CPU_TIER_AUTO) return find_tier(wanted) && cpu_can_run(wanted) ? wanted : MHC_CPU_TIER_AUTO;
  for (mhc_cpu_tier tier : {MHC_CPU_TIER_AVX512_BF16, MHC_CPU_TIER_AVX512, MHC_CPU_TIER_AVX2, MHC_CPU_TIER_NEON}) {
    if (find_tier(tier) && cpu_can_run(tier)) return tier;
  }
  return MHC_CPU_TIER_PLAIN;
}

}  // namespace mhc::cpu

uint32_t mhc_cpu_tiers(void) {
  uint32_t bits = 0;
  for (int tier = MHC_CPU_TIER_PLAIN; tier <= MHC_CPU_TIER_COUNTING; ++tier) {
    auto candidate = static_cast<mhc_cpu_tier>(tier);
    if (mhc::cpu::find_tier(candidate) && mhc::cpu::cpu_can_run(candidate)) bits |= 1u << tier;
  }
  return bits;
}

const char* mhc_cpu_tier_name(int32_t tier) {
  constexpr const char* kNames[] = {"auto", "plain", "neon", "avx2", "avx512", "avx512_bf16", "counting"};
  return tier >= 0 && tier <= MHC_CPU_TIER_COUNTING ? kNames[tier] : "unknown";
}
