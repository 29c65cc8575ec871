// SPDX-License-Identifier: Apache-2.0
#include "cpu/pool.h"

#include <pthread.h>
#include <signal.h>

#include <chrono>

namespace mhc::cpu {
namespace {

// An operation may have several parallel parts, and to wake a thread that sleeps takes time.
constexpr std::chrono::microseconds kAwake{30};

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether it became true in that time.
template <class Condition>
bool soon(const Condition& condition) {
  const auto until = std::chrono::steady_clock::now() + kAwake;
  do {
    for (int k = 0; k < 16; ++k) {
      if (condition()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

}  // namespace

Pool::Pool(int threads) : threads_(threads), shares_(new Share[static_cast<size_t>(threads)]) {
  // Signals belong to the host program (the JVM), never to these threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (int worker = 1; worker < threads; ++worker) {
      workers_.emplace_back([this, worker] { serve(worker); });
    }
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    stop();
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Pool::~Pool() { stop(); }

void Pool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run(int64_t count, Function function, const void* context) {
  if (count <= 0) return;
  if (count == 1 || workers_.empty()) {
    for (int64_t index = 0; index < count; ++index) function(context, 0, index);
    return;
  }
  function_ = function;
  context_ = context;
  int64_t from = 0;
  for (int worker = 0; worker < threads_; ++worker) {
    shares_[worker].next.store(from, std::memory_order_relaxed);
    from += (count - from) / (threads_ - worker);
    shares_[worker].end = from;
  }
  busy_ = static_cast<int>(workers_.size());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ++generation_;
  }
  wake_.notify_all();
  work(0);
  auto finished = [this] { return busy_ == 0; };
  if (soon(finished)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, finished);
}

void Pool::work(int worker) {
  for (int k = 0; k < threads_; ++k) {
    Share& share = shares_[(worker + k) % threads_];
    for (int64_t index; (index = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) {
      function_(context_, worker, index);
    }
  }
}

void Pool::await_call(uint64_t served) {
  auto called = [&] { return stop_ || generation_ != served; };
  if (soon(called)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  wake_.wait(lock, called);
}

void Pool::serve(int worker) {
  for (uint64_t served = 0;; ++served) {
    await_call(served);
    if (stop_) return;
    work(worker);
    if (--busy_ == 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      done_.notify_one();
    }
  }
}

}  // namespace mhc::cpu
