// SPDX-License-Identifier: Apache-2.0
#include "support.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace mhc_test {
namespace {

constexpr uint8_t kPattern = 0xA5;

// Sign, exponent and mantissa of a value that the format holds exactly.
uint16_t fp16_bits(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return sign | 0x7e00;
  if (std::isinf(value)) return sign | 0x7c00;
  const double size = std::fabs(value);
  if (size < 0x1p-14) return sign | (uint16_t)std::ldexp(size, 24);
  const int exponent = std::ilogb(size);
  return sign | (uint16_t)((exponent + 15) << 10) | (uint16_t)(std::ldexp(size, 10 - exponent) - 1024);
}

double fp16_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  double size = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 31) size = mantissa ? NAN : INFINITY;
  return bits & 0x8000 ? -size : size;
}

template <class T>
T load(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void store(void* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

class SeedPrinter : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo& info) override {
    if (!info.result()->Failed()) return;
    std::printf("to repeat: MHC_TEST_SEED=%llu MHC_EXECUTOR_SEED=%s, and the tests before it\n", (unsigned long long)seed(),
                std::getenv("MHC_EXECUTOR_SEED"));
  }
};
const bool listening = [] {
  setenv("MHC_EXECUTOR_SEED", std::to_string(seed()).c_str(), 0);  // before the library that reads it is opened
  testing::UnitTest::GetInstance()->listeners().Append(new SeedPrinter);
  return true;
}();

}  // namespace

double decode(const Element& element, const void* at) {
  if (element == kFp32) return load<float>(at);
  if (element == kBf16) {
    const uint32_t bits = (uint32_t)load<uint16_t>(at) << 16;
    return load<float>(&bits);
  }
  if (element == kFp16) return fp16_value(load<uint16_t>(at));
  if (element == kE4m3) return oracle::e4m3_value(load<uint8_t>(at));
  if (element == kE8m0) return std::ldexp(1.0, load<uint8_t>(at) - 127);
  if (element == kInt32) return load<int32_t>(at);
  throw std::logic_error("decode: no such element");
}

void encode(const Element& element, double value, void* at) {
  const double near = oracle::rounded(element.type, value);
  if (element == kFp32) return store(at, (float)near);
  if (element == kBf16) {
    const float single = std::isnan(near) ? NAN : (float)near;
    return store(at, (uint16_t)(load<uint32_t>(&single) >> 16));
  }
  if (element == kFp16) return store(at, fp16_bits(near));
  if (element == kE4m3) return store(at, oracle::e4m3_from(value));
  if (element == kE8m0) return store(at, (uint8_t)(std::ilogb(value) + 127));
  if (element == kInt32) return store(at, (int32_t)value);
  throw std::logic_error("encode: no such element");
}

GuardedMemory::GuardedMemory(size_t bytes) : size_(bytes) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE), inside = (bytes + page - 1) / page * page;
  mapped_ = inside + 2 * page;
  void* mapping = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<uint8_t*>(mapping);
  if (inside > 0 && mprotect(mapping_ + page, inside, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  data_ = mapping_ + page + inside - bytes;
}

GuardedMemory::~GuardedMemory() { munmap(mapping_, mapped_); }

Tensor::Tensor(const Element& element, std::vector<int64_t> shape, Layout layout) : element_(element), shape_(std::move(shape)) {
  const bool padded = layout == Layout::padded;
  strides_.resize(shape_.size());
  int64_t stride = 1;
  for (size_t i = shape_.size(); i-- > 0;) {
    strides_[i] = stride;
    stride = stride * std::max<int64_t>(shape_[i], 1) + (padded ? 3 + 2 * (int64_t)i : 0);
  }
  int64_t last = 0;
  for (size_t i = 0; i < shape_.size(); ++i) last += (shape_[i] - 1) * strides_[i];
  first_byte_ = padded ? 5 * element_.bytes : 0;
  memory_ = std::make_shared<GuardedMemory>(first_byte_ + (count() > 0 ? (size_t)(last + 1) * element_.bytes : 0));
  poison();
  describe();
}

Tensor::Tensor(const Tensor& whole, int64_t first_element, std::vector<int64_t> shape, std::vector<int64_t> strides)
    : element_(whole.element_), shape_(std::move(shape)), strides_(std::move(strides)), memory_(whole.memory_),
      first_byte_(whole.first_byte_ + (size_t)first_element * element_.bytes) {
  describe();
}

Tensor::Tensor(const Element& element, std::vector<int64_t> shape, std::vector<int64_t> strides)
    : element_(element), shape_(std::move(shape)), strides_(std::move(strides)) {
  int64_t last = 0;
  for (size_t i = 0; i < shape_.size(); ++i) last += (shape_[i] - 1) * strides_[i];
  memory_ = std::make_shared<GuardedMemory>(count() > 0 ? (size_t)(last + 1) * element_.bytes : 0);
  poison();
  describe();
}

void Tensor::describe() {
  shape_copy_ = shape_;
  strides_copy_ = strides_;
  descriptor_ = {memory_->data(), device_, (int32_t)shape_.size(), element_.dtype,
                 shape_copy_.data(), strides_copy_.data(), first_byte_};
}

void Tensor::repair() { describe(); }

void Tensor::set_device(mhc_device device) { device_ = descriptor_.device = device; }

int64_t Tensor::count() const {
  int64_t count = 1;
  for (int64_t extent : shape_) count *= extent;
  return count;
}

uint8_t* Tensor::at(int64_t index) const {
  int64_t offset = 0;
  for (size_t i = shape_.size(); i-- > 0;) {
    offset += index % shape_[i] * strides_[i];
    index /= shape_[i];
  }
  return memory_->data() + first_byte_ + (size_t)offset * element_.bytes;
}

void Tensor::set(const Array& values) {
  if ((int64_t)values.size() != count()) throw std::logic_error("Tensor::set: wrong number of values");
  for (int64_t i = 0; i < count(); ++i) encode(element_, values[i], at(i));
}

Array Tensor::values() const {
  Array values(count());
  for (int64_t i = 0; i < count(); ++i) values[i] = decode(element_, at(i));
  return values;
}

std::vector<uint8_t> Tensor::bytes() const {
  std::vector<uint8_t> bytes(count() * element_.bytes);
  for (int64_t i = 0; i < count(); ++i) std::memcpy(&bytes[i * element_.bytes], at(i), element_.bytes);
  return bytes;
}

void Tensor::set_bytes(const std::vector<uint8_t>& bytes) {
  if (bytes.size() != count() * element_.bytes) throw std::logic_error("Tensor::set_bytes: wrong number of bytes");
  for (int64_t i = 0; i < count(); ++i) std::memcpy(at(i), &bytes[i * element_.bytes], element_.bytes);
}

void Tensor::poison() { std::memset(memory_->data(), kPattern, memory_->size()); }

bool Tensor::is_poisoned() const {
  return std::all_of(memory_->data(), memory_->data() + memory_->size(), [](uint8_t b) { return b == kPattern; });
}

bool Tensor::padding_intact() const {
  std::vector<bool> used(memory_->size());
  for (int64_t i = 0; i < count(); ++i)
    std::fill_n(used.begin() + (at(i) - memory_->data()), element_.bytes, true);
  for (size_t i = 0; i < used.size(); ++i)
    if (!used[i] && memory_->data()[i] != kPattern) return false;
  return true;
}

uint64_t seed() {
  static const uint64_t value = [] {
    const char* given = std::getenv("MHC_TEST_SEED");
    return given ? std::strtoull(given, nullptr, 10) : (uint64_t)std::random_device{}();
  }();
  return value;
}

Random::Random() {
  uint64_t hash = seed();
  const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
  if (info)
    for (const char* part : {info->test_suite_name(), info->name()})
      for (; *part; ++part) hash = (hash ^ (uint8_t)*part) * 0x100000001b3;
  engine_.seed(hash);
}

double Random::normal(double deviation, double mean) { return std::normal_distribution<double>(mean, deviation)(engine_); }

Array Random::normals(int64_t count, double deviation, double mean) {
  Array values(count);
  for (double& v : values) v = normal(deviation, mean);
  return values;
}

double Random::uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(engine_); }

int64_t Random::integer(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine_); }

bool full() {
  const char* wanted = std::getenv("MHC_TEST_FULL");
  return wanted && std::strcmp(wanted, "1") == 0;
}

bool on_cuda() {
  const char* device = std::getenv("MHC_TEST_DEVICE");
  return device && std::strcmp(device, "cuda") == 0;
}

bool on_executor() {
  static const bool answer = [] {
    mhc_context_info info = {};
    info.struct_size = sizeof info;
    if (on_cuda() && mhc_context_get_info(Context().get(), &info) != MHC_OK) throw std::runtime_error(mhc_last_error());
    return std::strncmp(info.name, "executor", 8) == 0;
  }();
  return answer;
}

mhc_device test_device() { return {on_cuda() ? MHC_DEVICE_CUDA : MHC_DEVICE_CPU, 0}; }

Context::Context(int32_t tier, int32_t threads) {
  mhc_context_options options = {};
  options.struct_size = sizeof options;
  if (tier == kCuda || (tier == MHC_CPU_TIER_AUTO && on_cuda())) {
    options.device = {MHC_DEVICE_CUDA, 0};
  } else {
    options.threads = threads;
    options.cpu_tier = tier;
  }
  if (mhc_context_create(&options, &context_) != MHC_OK) throw std::runtime_error(mhc_last_error());
}

Context::~Context() { mhc_context_destroy(context_); }

Executor::Executor(int multiprocessors, int shared_bytes) {
  setenv("MHC_EXECUTOR_MULTIPROCESSORS", std::to_string(multiprocessors).c_str(), 1);
  setenv("MHC_EXECUTOR_SHARED_BYTES", std::to_string(shared_bytes).c_str(), 1);
}
Executor::~Executor() {
  unsetenv("MHC_EXECUTOR_MULTIPROCESSORS");
  unsetenv("MHC_EXECUTOR_SHARED_BYTES");
}

std::string tier_name(int32_t tier) { return tier == kCuda ? "cuda" : mhc_cpu_tier_name(tier); }

std::vector<int32_t> tiers() {
  if (on_cuda()) return {kCuda};
  std::vector<int32_t> available;
  for (int32_t tier = MHC_CPU_TIER_PLAIN; tier < MHC_CPU_TIER_COUNTING; ++tier)
    if (mhc_cpu_tiers() >> tier & 1) available.push_back(tier);
  return available;
}

mhc_config preset(int32_t preset, int32_t streams) {
  mhc_config config;
  if (mhc_config_init(&config, preset, streams) != MHC_OK) throw std::runtime_error(mhc_last_error());
  return config;
}

namespace {

std::string where(const Tensor& tensor, int64_t index) {
  std::string text = "]";
  for (size_t i = tensor.shape().size(); i-- > 0;) {
    text = (i > 0 ? ", " : "[") + std::to_string(index % tensor.shape()[i]) + text;
    index /= tensor.shape()[i];
  }
  return text;
}

bool same_value(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

}  // namespace

testing::AssertionResult rounds_to(const Tensor& actual, const Array& exact, const Array& slack) {
  const Array values = actual.values();
  if (values.size() != exact.size() || values.size() != slack.size())
    return testing::AssertionFailure() << "sizes differ: " << values.size() << ", " << exact.size() << ", " << slack.size();
  int64_t wrong = 0, first = -1;
  for (size_t i = 0; i < values.size(); ++i) {
    const double low = oracle::rounded(actual.element().type, exact[i] - slack[i]);
    const double high = oracle::rounded(actual.element().type, exact[i] + slack[i]);
    if (same_value(values[i], exact[i]) || (low <= values[i] && values[i] <= high)) continue;
    ++wrong;
    if (first < 0) first = (int64_t)i;
  }
  if (wrong == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << wrong << " of " << values.size() << " values are wrong; at " << where(actual, first)
                                     << " it is " << values[first] << ", expected " << exact[first] << " +- "
                                     << slack[first] << " rounded to " << actual.element().name << " (off by "
                                     << values[first] - exact[first] << ")";
}

testing::AssertionResult rounds_to(const Tensor& actual, const Array& exact, const Array& magnitude, double factor) {
  Array slack = magnitude;
  for (double& s : slack) s = s * factor * 0x1p-24 + 0x1p-140;
  return rounds_to(actual, exact, slack);
}

testing::AssertionResult is_near(const Tensor& actual, const Array& expected, double relative, double absolute) {
  const Array values = actual.values();
  if (values.size() != expected.size())
    return testing::AssertionFailure() << "sizes differ: " << values.size() << ", " << expected.size();
  int64_t wrong = 0, worst = 0;
  double worst_ratio = 1;
  for (size_t i = 0; i < values.size(); ++i) {
    if (same_value(values[i], expected[i])) continue;
    const double ratio = std::fabs(values[i] - expected[i]) / (relative * std::fabs(expected[i]) + absolute);
    if (ratio <= 1) continue;
    if (++wrong == 1 || ratio > worst_ratio) {
      worst = (int64_t)i;
      worst_ratio = ratio;
    }
  }
  if (wrong == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << wrong << " of " << values.size() << " values are wrong; worst at "
                                     << where(actual, worst) << " is " << values[worst] << ", expected " << expected[worst]
                                     << ", " << worst_ratio << " times the tolerance";
}

testing::AssertionResult same_bits(const Tensor& expected, const Tensor& actual) {
  const std::vector<uint8_t> a = expected.bytes(), b = actual.bytes();
  if (a == b) return testing::AssertionSuccess();
  if (a.size() != b.size()) return testing::AssertionFailure() << "sizes differ";
  const size_t bytes = expected.element().bytes;
  size_t different = 0, first = 0;
  for (size_t i = a.size() / bytes; i-- > 0;)
    if (std::memcmp(&a[i * bytes], &b[i * bytes], bytes) != 0) {
      ++different;
      first = i;
    }
  return testing::AssertionFailure() << different << " of " << a.size() / bytes << " values differ, first at "
                                     << where(expected, (int64_t)first) << ": " << decode(expected.element(), &a[first * bytes])
                                     << " and " << decode(actual.element(), &b[first * bytes]);
}

Array absolute(Array values) {
  for (double& v : values) v = std::fabs(v);
  return values;
}

double largest(const Array& values) {
  double largest = 0;
  for (double v : values) largest = std::max(largest, std::fabs(v));
  return largest;
}

Known known(const std::function<Named()>& oracle, Random& random, double margin) {
  constexpr size_t kNeighbours = 4;  // to each side: one alone may be lucky
  Known out;
  out.exact = oracle();
  Named spread;
  for (const auto& [name, exact] : out.exact) spread[name] = Array(exact.size());
  for (int i = 0; i < 8; ++i) {
    oracle::Float32Noise noise((uint64_t)random.integer(0, INT64_MAX));
    const Named moved = oracle();
    for (auto& [name, most] : spread)
      for (size_t k = 0; k < most.size(); ++k) most[k] = std::max(most[k], std::fabs(moved.at(name)[k] - out.exact[name][k]));
  }
  for (const auto& [name, most] : spread) {
    Array& slack = out.slack[name] = Array(most.size());
    for (size_t k = 0; k < most.size(); ++k) {
      const auto first = most.begin() + (k - std::min(k, kNeighbours)), last = most.begin() + std::min(most.size(), k + kNeighbours + 1);
      slack[k] = margin * *std::max_element(first, last) + 0x1p-23 * std::fabs(out.exact[name][k]) + 0x1p-140;
    }
  }
  return out;
}

}  // namespace mhc_test
