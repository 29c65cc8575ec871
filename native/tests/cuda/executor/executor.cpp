// SPDX-License-Identifier: Apache-2.0
#include "executor.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define MHC_ASAN 1
#endif

extern "C" void mhc_executor_switch(void** save, void* to);

// Saves the registers that a function has to keep on this stack, and goes on with those of another.
asm(R"(
.text
.p2align 4
.type mhc_executor_switch, @function
mhc_executor_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size mhc_executor_switch, . - mhc_executor_switch
)");

namespace mhc::executor {
namespace {

constexpr size_t kStack = 128 << 10;
constexpr uint64_t kMostSpins = 200'000'000;

[[noreturn]] void die(const char* why) {
  std::fprintf(stderr, "executor: %s\n", why);
  std::abort();
}

// Stacks are kept for the thread's next block; a page before each cannot be touched.
class Stacks {
 public:
  Stacks() = default;
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  ~Stacks() {  // or the mappings of threads that have ended would add up to more than a process may have
    for (char* stack : free_) munmap(stack - 4096, kStack + 4096);
  }
  char* take() {
    if (free_.empty()) {
      void* memory = mmap(nullptr, kStack + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (memory == MAP_FAILED) die("no memory for a stack");
      mprotect(memory, 4096, PROT_NONE);
      free_.push_back(static_cast<char*>(memory) + 4096);
    }
    char* stack = free_.back();
    free_.pop_back();
#if MHC_ASAN
    ASAN_UNPOISON_MEMORY_REGION(stack, kStack);  // whoever had it ended without leaving its functions
#endif
    return stack;
  }
  void give(char* stack) { free_.push_back(stack); }

 private:
  std::vector<char*> free_;
};

// The shared memory of a block: it ends where a page ends, and the pages beside it cannot be touched. What is left of its first
// page and, as it begins at 16 bytes, of the last 16, AddressSanitizer guards.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes) : bytes_(bytes), inside_((bytes + kPage - 1) / kPage * kPage) {
    void* memory = mmap(nullptr, inside_ + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) die("no shared memory");
    first_ = static_cast<char*>(memory) + kPage;
    if (inside_ > 0 && mprotect(first_, inside_, PROT_READ | PROT_WRITE) != 0) die("no shared memory");
    renew();
#if MHC_ASAN
    ASAN_POISON_MEMORY_REGION(first_, inside_);
    ASAN_UNPOISON_MEMORY_REGION(data(), bytes_);
#endif
  }
  ~SharedMemory() {
#if MHC_ASAN
    ASAN_UNPOISON_MEMORY_REGION(first_, inside_);
#endif
    munmap(first_ - kPage, inside_ + 2 * kPage);
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // A block finds nothing that it could use there.
  void renew() { std::memset(data(), 0xa5, bytes_); }
  char* data() const { return first_ + inside_ - (bytes_ + 15) / 16 * 16; }

 private:
  static constexpr size_t kPage = 4096;
  const size_t bytes_, inside_;
  char* first_;
};

struct Barrier {
  int arrived = 0;
  std::vector<int> waiting;
};

struct Warp {
  void* operands[32];
  int arrived = 0;
  std::vector<int> waiting;
};

struct Block {
  int64_t index;
  int left;  // threads that have not ended
  std::unique_ptr<SharedMemory> shared;
  Barrier barriers[16];
  std::vector<Warp> warps;
};

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  Block* block = nullptr;
  int thread = 0;
  uint64_t priority = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
};

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  volatile uint64_t* done;
};

class Run;
thread_local Run* running = nullptr;
uint64_t& next_seed() {
  static uint64_t seed = [] {
    const char* given = std::getenv("MHC_EXECUTOR_SEED");
    return given ? std::strtoull(given, nullptr, 10) : uint64_t{1};
  }();
  return seed;
}

uint64_t mixed(uint64_t v) {
  v = (v + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
  v = (v ^ v >> 29) * 0x94d049bb133111eb;
  return v ^ v >> 32;
}

class Run {
 public:
  Run(const Grid& grid, const std::function<void()>& body) : grid_(grid), body_(body), random_(mixed(next_seed()++) | 1), unfair_(choose(2) == 0) {}

  void all() {
    std::vector<int64_t> order(static_cast<size_t>(grid_.blocks));
    for (int64_t b = 0; b < grid_.blocks; ++b) order[static_cast<size_t>(b)] = b;
    for (size_t b = order.size(); b > 1; --b) std::swap(order[b - 1], order[choose(b)]);
    size_t at_once = grid_.cooperative ? order.size() : 1;
    for (size_t b = 0; b < order.size(); b += at_once) together(order.data() + b, std::min(at_once, order.size() - b));
  }

  Fiber& fiber() { return fibers_[static_cast<size_t>(current_)]; }
  const Grid& grid() const { return grid_; }

  void barrier(int id, int count) {
    Barrier& barrier = fiber().block->barriers[id];
    if (++barrier.arrived < count) {
      barrier.waiting.push_back(current_);
      return block();
    }
    barrier.arrived = 0;
    for (int id : barrier.waiting) prefer(id);
    prefer(current_);
    ++draw_;
    wake(barrier.waiting);
  }

  void arrive(int id, int count) {
    Barrier& barrier = fiber().block->barriers[id];
    if (++barrier.arrived < count) return pause();
    barrier.arrived = 0;
    wake(barrier.waiting);
  }

  void collective(void* operand, WarpWork work) {
    Warp& warp = fiber().block->warps[static_cast<size_t>(fiber().thread / 32)];
    warp.operands[fiber().thread % 32] = operand;
    if (++warp.arrived < 32) {
      warp.waiting.push_back(current_);
      return block();
    }
    warp.arrived = 0;
    work(warp.operands);
    wake(warp.waiting);
  }

  void pause() {
    if (++spins_ > kMostSpins) die("threads wait for something that does not happen");
    ready_.push_back(current_);
    fiber().priority = 0;  // it is others that it needs
    block();
  }

  void copy_later(const Copy& copy) { copies_.push_back(copy); }

  void start_fiber() {  // on the fiber's own stack
    finish_switch(nullptr);
    body_();
    Fiber& ended = fiber();
    --ended.block->left;
    leave(nullptr);
  }

 private:
  size_t choose(size_t count) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return static_cast<size_t>((random_ >> 11) % count);
  }

  // Where all are as likely as each other, no warp ever is far behind. In every second run some warps are preferred, others
  // among them after each barrier.
  void prefer(int id) {
    fibers_[static_cast<size_t>(id)].priority = mixed(draw_ + static_cast<uint64_t>(id) / 32 * 0x10001) | 1;
  }
  size_t next() {
    size_t best = choose(ready_.size());
    for (int others = unfair_ ? 3 : 0; others > 0; --others) {
      const size_t other = choose(ready_.size());
      if (priority(other) > priority(best)) best = other;
    }
    return best;
  }
  uint64_t priority(size_t place) const { return fibers_[static_cast<size_t>(ready_[place])].priority; }

  void together(const int64_t* indices, size_t count) {
    std::vector<std::unique_ptr<Block>> blocks;
    fibers_.resize(count * static_cast<size_t>(grid_.threads));
    int id = 0;
    for (size_t b = 0; b < count; ++b) {
      blocks.push_back(make_block(indices[b]));
      for (int t = 0; t < grid_.threads; ++t, ++id) {
        fibers_[static_cast<size_t>(id)] = {nullptr, nullptr, blocks.back().get(), t, 0, nullptr};
        prefer(id);
        ready_.push_back(id);
      }
    }
    schedule();
    for (const auto& block : blocks) {
      if (block->left > 0) die("all threads that are left wait at barriers which others have left or never reach");
    }
    while (!copies_.empty()) finish_copy(0);
    for (const auto& block : blocks) shared_.push_back(std::move(block->shared));
  }

  std::unique_ptr<Block> make_block(int64_t index) {
    auto block = std::make_unique<Block>();
    block->index = index;
    block->left = grid_.threads;
    block->warps.resize(static_cast<size_t>((grid_.threads + 31) / 32));
    if (shared_.empty()) {
      block->shared = std::make_unique<SharedMemory>(grid_.shared_bytes);
    } else {
      block->shared = std::move(shared_.back());
      shared_.pop_back();
      block->shared->renew();
    }
    return block;
  }

  void schedule() {
    while (!ready_.empty()) {
      if (!copies_.empty() && choose(8) == 0) finish_copy(choose(copies_.size()));
      size_t pick = next();
      current_ = ready_[pick];
      ready_[pick] = ready_.back();
      ready_.pop_back();
      enter();
    }
  }

  void finish_copy(size_t which) {
    Copy copy = copies_[which];
    copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(which));
    std::memcpy(copy.to, copy.from, copy.bytes);
    *copy.done = *copy.done + copy.bytes;
    spins_ = 0;
  }

  void wake(std::vector<int>& waiting) {
    ready_.insert(ready_.end(), waiting.begin(), waiting.end());
    waiting.clear();
    spins_ = 0;
    // The one that came last may also be overtaken by those it waited for.
    ready_.push_back(current_);
    block();
  }

  void enter();
  void block() { leave(&fiber().fake_stack); }
  void leave(void** fake_stack);
  void start_switch([[maybe_unused]] void** fake, [[maybe_unused]] const void* bottom, [[maybe_unused]] size_t size) {
#if MHC_ASAN
    __sanitizer_start_switch_fiber(fake, bottom, size);
#endif
  }
  void finish_switch([[maybe_unused]] void* fake) {
#if MHC_ASAN
    __sanitizer_finish_switch_fiber(fake, &scheduler_bottom_, &scheduler_size_);
#endif
  }

  const Grid grid_;
  const std::function<void()>& body_;
  uint64_t random_;
  const bool unfair_;
  uint64_t draw_ = random_, spins_ = 0;
  std::vector<Fiber> fibers_;
  std::vector<int> ready_;
  std::vector<Copy> copies_;
  std::vector<std::unique_ptr<SharedMemory>> shared_;  // of blocks that have ended
  int current_ = 0;
  void* scheduler_ = nullptr;
  const void* scheduler_bottom_ = nullptr;
  size_t scheduler_size_ = 0;
  Stacks& stacks_ = [] () -> Stacks& {
    static thread_local Stacks stacks;
    return stacks;
  }();
};

void first_entry() {
  running->start_fiber();
  die("an ended thread was resumed");
}

void Run::enter() {
  Fiber& next = fiber();
  if (!next.stack) {
    next.stack = stacks_.take();
    void** top = reinterpret_cast<void**>(next.stack + kStack - 64);
    *--top = nullptr;                                     // where first_entry would return to
    *--top = reinterpret_cast<void*>(&first_entry);       // where the switch returns to
    for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
    next.stack_pointer = top;
  }
  void* fake = nullptr;
  start_switch(&fake, next.stack, kStack);
  mhc_executor_switch(&scheduler_, next.stack_pointer);
#if MHC_ASAN
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Run::leave(void** fake_stack) {
  Fiber& self = fiber();
  bool ends = fake_stack == nullptr;
  if (ends) {
    stacks_.give(self.stack);  // nobody else runs before the switch below is done
    self.stack = nullptr;
  }
  start_switch(fake_stack, scheduler_bottom_, scheduler_size_);
  mhc_executor_switch(&self.stack_pointer, scheduler_);
  finish_switch(self.fake_stack);
}

}  // namespace

void run(const Grid& grid, const std::function<void()>& body) {
  if (grid.threads < 1 || grid.threads > 1024 || grid.blocks < 0) die("a grid that no GPU would take");
  Run run(grid, body);
  Run* outer = running;
  running = &run;
  run.all();
  running = outer;
}

void set_seed(uint64_t seed) { next_seed() = seed; }

int thread_index() { return running->fiber().thread; }
int block_threads() { return running->grid().threads; }
int64_t block_index() { return running->fiber().block->index; }
int64_t block_count() { return running->grid().blocks; }
char* shared_memory() { return running->fiber().block->shared->data(); }
void block_barrier() { running->barrier(0, running->grid().threads); }
void block_barrier(int id, int count) { running->barrier(id, count); }
void block_arrive(int id, int count) { running->arrive(id, count); }
void pause() { running->pause(); }
void warp_collective(void* operand, WarpWork work) { running->collective(operand, work); }
void copy_later(void* to, const void* from, size_t bytes, volatile uint64_t* done) {
  running->copy_later({to, from, bytes, done});
}

}  // namespace mhc::executor
