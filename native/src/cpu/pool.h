// SPDX-License-Identifier: Apache-2.0
// A context's threads. The caller works too; workers sleep between calls.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace mhc::cpu {

class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  int threads() const { return threads_; }

  // Calls task(worker, index) once for each index in [0, count), in any order, on up to threads() workers.
  // A worker runs one task at a time; worker is in [0, threads()).
  template <class Task>
  void parallel(int64_t count, const Task& task) {
    run(count, [](const void* context, int worker, int64_t index) {
      (*static_cast<const Task*>(context))(worker, index);
    }, &task);
  }

 private:
  using Function = void (*)(const void* context, int worker, int64_t index);
  void run(int64_t count, Function function, const void* context);
  void work(int worker);
  void sleep_and_serve(int worker);

  const int threads_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  uint64_t generation_ = 0;  // of the call being served
  int busy_ = 0;             // workers that have not finished this generation
  bool stop_ = false;
  Function function_ = nullptr;
  const void* context_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
};

}  // namespace mhc::cpu
