// SPDX-License-Identifier: Apache-2.0
// A context's threads. The caller works too; workers wait awake for a moment after a call, then sleep.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace mhc::cpu {

class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  int threads() const { return threads_; }

  // Calls task(worker, index) once for each index in [0, count), on up to threads() workers. A worker takes a run of indices
  // in order, so that it may prepare for the next one, and then helps the others. It runs one task at a time; worker is in
  // [0, threads()).
  template <class Task>
  void parallel(int64_t count, const Task& task) {
    run(count, [](const void* context, int worker, int64_t index) {
      (*static_cast<const Task*>(context))(worker, index);
    }, &task);
  }

 private:
  using Function = void (*)(const void* context, int worker, int64_t index);

  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  void run(int64_t count, Function function, const void* context);
  void work(int worker);
  void serve(int worker);
  void await_call(uint64_t served);
  void stop();

  const int threads_;
  std::unique_ptr<Share[]> shares_;  // a worker's
  std::vector<std::thread> workers_;
  std::mutex mutex_;  // of what sleeps and what wakes it
  std::condition_variable wake_, done_;
  std::atomic<uint64_t> generation_{0};  // of the call being served
  std::atomic<int> busy_{0};             // workers that have not finished this generation
  std::atomic<bool> stop_{false};
  Function function_ = nullptr;
  const void* context_ = nullptr;
};

}  // namespace mhc::cpu
