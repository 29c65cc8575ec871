// SPDX-License-Identifier: Apache-2.0
// How times are taken: every contestant once in each round, so that other work on the machine meets all alike.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace mhc::bench {

struct Contestant {
  std::string name;
  double bytes;                // that it reads and writes of its rows, or 0
  double multiply_adds;        // that it does, or 0
  std::function<double()> run;  // seconds that one run took
  std::vector<double> seconds = {};

  double median() const {
    std::vector<double> sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    size_t n = sorted.size();
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }
  double least() const { return *std::min_element(seconds.begin(), seconds.end()); }
  double most() const { return *std::max_element(seconds.begin(), seconds.end()); }
};

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Work>
double seconds_of(Work work) {
  double start = now();
  work();
  return now() - start;
}

inline void run_rounds(std::vector<Contestant>& contestants, int warm_up, int rounds) {
  for (int round = -warm_up; round < rounds; ++round) {
    for (Contestant& each : contestants) {
      double seconds = each.run();
      if (round >= 0) each.seconds.push_back(seconds);
    }
  }
}

}  // namespace mhc::bench
