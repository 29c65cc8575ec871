// SPDX-License-Identifier: Apache-2.0
#include "cpu/counter.h"

namespace mhc::cpu {

thread_local Counter* Counter::active = nullptr;

void Counter::start(const Arguments& arguments) {
  traffic_ = {};
  arguments.for_each([this](const Arguments::Item& item) {
    if (!item.view || !item.view.data) return;
    size_t span = size_of(item.view.type);
    for (int i = 0; i < item.view.rank; ++i) {
      span += static_cast<size_t>((item.view.shape[i] - 1) * item.view.stride[i]) * size_of(item.view.type);
    }
    ranges_.push_back({item.view.data, item.view.data + span, item.traffic});
  });
  active = this;
}

void Counter::stop(size_t scratch_bytes, mhc_traffic* traffic) {
  active = nullptr;
  ranges_ = {};
  traffic_.struct_size = sizeof traffic_;
  traffic_.scratch_bytes = scratch_bytes;
  *traffic = traffic_;
}

void Counter::note(const void* address, size_t bytes, bool written) {
  Counter* counter = active;
  if (!counter) return;
  const char* first = static_cast<const char*>(address);
  for (const Range& range : counter->ranges_) {
    if (first < range.first || first >= range.last) continue;
    mhc_traffic& t = counter->traffic_;
    switch (range.traffic) {
      case Traffic::Row: (written ? t.row_bytes_written : t.row_bytes_read) += bytes; return;
      case Traffic::Coefficient: (written ? t.coefficient_bytes_written : t.coefficient_bytes_read) += bytes; return;
      case Traffic::Parameter: (written ? t.parameter_bytes_written : t.parameter_bytes_read) += bytes; return;
    }
  }
}

}  // namespace mhc::cpu
