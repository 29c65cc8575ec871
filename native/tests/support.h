// SPDX-License-Identifier: Apache-2.0
// What every test needs: tensors that end at a protected page, seeded random numbers, contexts, comparisons.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "mhc/mhc.h"
#include "oracle.h"

namespace mhc_test {

using oracle::Array;

// ------------------------------------------------------------------------------------------------------ element types

struct Element {
  const char* name;
  mhc_dtype dtype;
  size_t bytes;
  oracle::Type type;  // how values of it are rounded; exact where that is not asked

  bool operator==(const Element& other) const { return dtype.code == other.dtype.code && dtype.bits == other.dtype.bits; }
};
inline constexpr Element kBf16{"bf16", {MHC_DTYPE_BFLOAT, 16, 1}, 2, oracle::Type::bf16};
inline constexpr Element kFp16{"fp16", {MHC_DTYPE_FLOAT, 16, 1}, 2, oracle::Type::fp16};
inline constexpr Element kFp32{"fp32", {MHC_DTYPE_FLOAT, 32, 1}, 4, oracle::Type::fp32};
inline constexpr Element kE4m3{"e4m3", {MHC_DTYPE_FLOAT8_E4M3FN, 8, 1}, 1, oracle::Type::exact};
inline constexpr Element kE8m0{"e8m0", {MHC_DTYPE_FLOAT8_E8M0FNU, 8, 1}, 1, oracle::Type::exact};
inline constexpr Element kInt32{"int32", {MHC_DTYPE_INT, 32, 1}, 4, oracle::Type::exact};

double decode(const Element& element, const void* at);
// Rounds to nearest, ties to even.
void encode(const Element& element, double value, void* at);

// The pairs of (streams, layer) types that mhc.h allows.
struct Types {
  Element streams, layer;
};
inline const std::vector<Types> kTypes = {{kFp32, kFp32}, {kBf16, kBf16}, {kFp16, kFp16}, {kFp32, kBf16}, {kFp32, kFp16}};

// ------------------------------------------------------------------------------------------------------------- device

// MHC_TEST_DEVICE=cuda in the environment: contexts and tensors are the CUDA device's unless a test says otherwise.
bool on_cuda();
bool on_executor();  // which stands in for the CUDA device, on the CPU
mhc_device test_device();

// ------------------------------------------------------------------------------------------------------------- memory

// Bytes whose last one is the last of a page; the page behind and the page before cannot be touched.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t *mapping_, *data_;
  size_t mapped_, size_;
};

enum class Layout { compact, padded };

// A tensor with its memory. What lies between its elements holds a pattern that no operation may change.
class Tensor {
 public:
  Tensor(const Element& element, std::vector<int64_t> shape, Layout layout = Layout::compact);
  // A part of another tensor's memory.
  Tensor(const Tensor& whole, int64_t first_element, std::vector<int64_t> shape, std::vector<int64_t> strides);
  // Strides of one's own choice, in elements, over memory that just holds them.
  Tensor(const Element& element, std::vector<int64_t> shape, std::vector<int64_t> strides);

  mhc_tensor* get() { return &descriptor_; }
  const std::shared_ptr<GuardedMemory>& memory() const { return memory_; }
  const Element& element() const { return element_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  const std::vector<int64_t>& strides() const { return strides_; }
  int64_t count() const;

  // Where an element is, by its row-major number.
  uint8_t* at(int64_t index) const;
  void set(const Array& values);
  Array values() const;
  // Of the elements alone, row-major.
  std::vector<uint8_t> bytes() const;
  void set_bytes(const std::vector<uint8_t>& bytes);
  // Every byte, padding included, gets the pattern: as an element, a value that no test expects.
  void poison();
  bool is_poisoned() const;
  bool padding_intact() const;
  // Restores the descriptor after a test broke it.
  void repair();
  // Where it says to be; from the beginning the device of the tests.
  void set_device(mhc_device device);

  Tensor(Tensor&&) = delete;
  Tensor& operator=(const Tensor&) = delete;

 private:
  void describe();

  Element element_;
  std::vector<int64_t> shape_, strides_, shape_copy_, strides_copy_;
  std::shared_ptr<GuardedMemory> memory_;
  size_t first_byte_ = 0;
  mhc_device device_ = test_device();
  mhc_tensor descriptor_ = {};
};

// ------------------------------------------------------------------------------------------------------------- random

// MHC_TEST_SEED, or a fresh number; printed when a test fails. The executor's is the same unless MHC_EXECUTOR_SEED is set.
uint64_t seed();

// Numbers that depend on the seed, the running test and the order in which they are asked for.
class Random {
 public:
  Random();
  double normal(double deviation = 1, double mean = 0);
  Array normals(int64_t count, double deviation = 1, double mean = 0);
  double uniform(double low, double high);
  int64_t integer(int64_t low, int64_t high);

 private:
  std::mt19937_64 engine_;
};

// MHC_TEST_FULL=1: every shape of the design, not only the quick ones.
bool full();

// ------------------------------------------------------------------------------------------------------------ context

class Context {
 public:
  explicit Context(int32_t tier = MHC_CPU_TIER_AUTO, int32_t threads = 1);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  mhc_context* get() const { return context_; }

 private:
  mhc_context* context_ = nullptr;
};

// The vector tiers that this CPU can run, the counting one aside; or kCuda alone.
std::vector<int32_t> tiers();
inline constexpr int32_t kCuda = 1000;  // as a tier: the CUDA device
std::string tier_name(int32_t tier);
// Where the CUDA device is the executor on the CPU, the size of it that contexts get which are made while this lives.
class Executor {
 public:
  Executor(int multiprocessors, int shared_bytes);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
};

mhc_config preset(int32_t preset, int32_t streams);

// --------------------------------------------------------------------------------------------------------- comparison

// Each value has to be what rounding some number within exact +- slack to the tensor's type gives. With a slack that bounds
// the float32 work this is "correctly rounded, but for ties that float32 cannot see".
testing::AssertionResult rounds_to(const Tensor& actual, const Array& exact, const Array& slack);
// The same with slack = factor * 2^-24 * magnitude, magnitude being what the terms of a sum add up to without their signs.
testing::AssertionResult rounds_to(const Tensor& actual, const Array& exact, const Array& magnitude, double factor);
// The factor for a dot product of any length. Sums of many terms go through at least a vector's worth of partial sums, so
// the error grows with the root of the length at worst; 16 leaves room for 2^15 terms of one sign.
inline constexpr double kDotFactor = 16;
// |actual - expected| <= relative * |expected| + absolute
testing::AssertionResult is_near(const Tensor& actual, const Array& expected, double relative, double absolute = 0);
testing::AssertionResult same_bits(const Tensor& expected, const Tensor& actual);

Array absolute(Array values);
double largest(const Array& values);

// Arrays by the name of their operand.
using Named = std::map<std::string, Array>;
// Exact results, and how far float32 arithmetic may be from each: margin times the most that it or a neighbour moves in eight
// runs of the oracle that err as float32 does, and a place of its own.
struct Known {
  Named exact, slack;
};
Known known(const std::function<Named()>& oracle, Random& random, double margin = 16);

}  // namespace mhc_test
