// SPDX-License-Identifier: Apache-2.0
#include "golden.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace golden {
namespace {

oracle::Type type_of(const std::string& name) {
  if (name == "bf16") return oracle::Type::bf16;
  if (name == "fp16") return oracle::Type::fp16;
  if (name == "fp32") return oracle::Type::fp32;
  throw std::runtime_error("no such dtype: " + name);
}

Tensor read_tensor(std::istringstream& head, const std::string& line) {
  Tensor tensor;
  size_t rank, count = 1;
  head >> rank;
  for (size_t i = 0; i < rank; ++i) {
    int64_t extent;
    head >> extent;
    tensor.shape.push_back(extent);
    count *= extent;
  }
  const char* at = line.c_str();
  for (size_t i = 0; i < count; ++i) {
    char* end;
    tensor.values.push_back(std::strtod(at, &end));
    if (end == at) throw std::runtime_error("golden file: a tensor has too few values");
    at = end;
  }
  return tensor;
}

// Where the tests were built, or what MHC_GOLDEN_DIR says.
std::string folder() {
  const char* given = std::getenv("MHC_GOLDEN_DIR");
  return given ? given : MHC_GOLDEN_DIR;
}

}  // namespace

Case::Case(const std::string& name) : name_(name) {
  std::ifstream file(folder() + "/" + name + ".txt");
  if (!file) throw std::runtime_error("no golden file " + name);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream head(line);
    std::string kind, key;
    head >> kind >> key;
    if (kind == "attr") {
      head >> attrs_[key];
    } else {
      std::getline(file, line);
      tensors_[key] = read_tensor(head, line);
    }
  }
}

const std::string& Case::text(const std::string& key) const {
  const auto found = attrs_.find(key);
  if (found == attrs_.end()) throw std::runtime_error(name_ + " has no attribute " + key);
  return found->second;
}

int64_t Case::integer(const std::string& key) const { return std::stoll(text(key)); }
double Case::number(const std::string& key) const { return std::strtod(text(key).c_str(), nullptr); }

const Tensor& Case::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw std::runtime_error(name_ + " has no tensor " + name);
  return found->second;
}

oracle::Array Case::values(const std::string& name) const { return has(name) ? tensor(name).values : oracle::Array{}; }

mhc_config Case::config() const {
  mhc_config c = {};
  c.struct_size = sizeof c;
  c.streams = (int32_t)integer("streams");
  c.mode = (int32_t)integer("mode");
  c.is_static = (int32_t)integer("is_static");
  c.shifted = (int32_t)integer("shifted");
  c.iterations = (int32_t)integer("iterations");
  c.sinkhorn_start = (int32_t)integer("sinkhorn_start");
  c.sinkhorn_order = (int32_t)integer("sinkhorn_order");
  c.sinkhorn_eps_mode = (int32_t)integer("sinkhorn_eps_mode");
  c.orientation = (int32_t)integer("orientation");
  c.rms_eps_mode = (int32_t)integer("rms_eps_mode");
  c.sinkhorn_eps = (float)number("sinkhorn_eps");
  c.rms_eps = (float)number("rms_eps");
  c.pre_eps = (float)number("pre_eps");
  c.post_multiplier = (float)number("post_multiplier");
  return c;
}

oracle::Type Case::stream_type() const { return type_of(text("dtype")); }
oracle::Type Case::layer_type() const { return type_of(text("layer_dtype")); }

std::vector<std::string> cases(const std::string& operation) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() != ".txt") continue;
    const std::string name = entry.path().stem().string();
    if (Case(name).text("operation") == operation) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace golden
