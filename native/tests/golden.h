// SPDX-License-Identifier: Apache-2.0
// Reads the golden files; golden/make_golden.py describes their format.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "oracle.h"

namespace golden {

struct Tensor {
  std::vector<int64_t> shape;
  oracle::Array values;
};

class Case {
 public:
  explicit Case(const std::string& name);

  const std::string& name() const { return name_; }
  const std::string& text(const std::string& key) const;
  int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  bool has_attr(const std::string& key) const { return attrs_.count(key) > 0; }

  bool has(const std::string& tensor) const { return tensors_.count(tensor) > 0; }
  const Tensor& tensor(const std::string& name) const;
  // The values; empty if the case has no such tensor.
  oracle::Array values(const std::string& name) const;
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }

  // The config that the attributes spell out, made without mhc_config_init.
  mhc_config config() const;
  oracle::Type stream_type() const;
  oracle::Type layer_type() const;

 private:
  std::string name_;
  std::map<std::string, std::string> attrs_;
  std::map<std::string, Tensor> tensors_;
};

// Names of all cases whose operation is this one.
std::vector<std::string> cases(const std::string& operation);

}  // namespace golden
