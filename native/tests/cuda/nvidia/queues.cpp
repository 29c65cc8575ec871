// SPDX-License-Identifier: Apache-2.0
#include "queues.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace nvidia {
namespace {

constexpr size_t kAlignment = 256;
constexpr unsigned char kRedZone = 0xfd, kFresh = 0xcd, kFreed = 0xdd;

char* arena = nullptr;
size_t arena_bytes = 0;
int access_depth = 0;

void protect(int protection) {
  if (mprotect(arena, arena_bytes, protection) != 0) {
    std::perror("stand-in: mprotect");
    std::abort();
  }
}

}  // namespace

Access::Access() {
  if (access_depth++ == 0) protect(PROT_READ | PROT_WRITE);
}
Access::~Access() {
  if (--access_depth == 0) protect(PROT_NONE);
}

Device& Device::get() {
  static Device* device = new Device;  // never destroyed: threads may still be waiting when the process ends
  return *device;
}

Device::Device() {
  const char* bytes = std::getenv("MHC_STAND_IN_MEMORY");
  bytes_ = bytes ? std::strtoull(bytes, nullptr, 10) : size_t{1} << 30;
  base_ = static_cast<char*>(mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (base_ == MAP_FAILED) {
    std::perror("stand-in: mmap");
    std::abort();
  }
  arena = base_;
  arena_bytes = bytes_;
  if (const char* seed = std::getenv("MHC_STAND_IN_SEED")) {
    deferred_ = true;
    random_.seed(std::strtoull(seed, nullptr, 10));
  }
  if (const char* fail = std::getenv("MHC_STAND_IN_FAIL")) {
    const std::string text = fail;
    const size_t first = text.find(':'), second = text.find(':', first + 1);
    fail_function_ = text.substr(0, first);
    fail_at_ = std::atoi(text.c_str() + first + 1);
    fail_code_ = std::atoi(text.c_str() + second + 1);
  }
  streams_.push_back(std::make_unique<Stream>());  // the default stream
}

// ------------------------------------------------------------------------------------------------------------- memory

char* Device::allocate(size_t bytes) {
  const size_t room = (bytes + kAlignment) / kAlignment * kAlignment;  // at least a byte of red zone
  char* place = base_;
  for (const auto& [start, block] : blocks_) {  // the first gap that is large enough
    if (static_cast<size_t>(start - place) >= room) break;
    place = start + block.room;
  }
  if (place + room > base_ + bytes_) return nullptr;
  blocks_[place] = {bytes, room, true};
  used_ += bytes;
  Access access;
  std::memset(place, kFresh, bytes);
  std::memset(place + bytes, kRedZone, room - bytes);
  return place;
}

bool Device::forget(char* block) {
  auto found = blocks_.find(block);
  if (found == blocks_.end() || !found->second.valid) return false;
  found->second.valid = false;
  return true;
}

void Device::recycle(char* block) {
  auto found = blocks_.find(block);
  const Block freed = found->second;
  Access access;
  for (size_t i = freed.bytes; i < freed.room; ++i)
    if (static_cast<unsigned char>(block[i]) != kRedZone) {
      std::fprintf(stderr, "stand-in: a block of %zu bytes of device memory was written %zu bytes behind its end\n", freed.bytes,
                   i - freed.bytes);
      std::abort();
    }
  std::memset(block, kFreed, freed.bytes);
  used_ -= freed.bytes;
  blocks_.erase(found);
}

const Device::Block* Device::block_of(const char* memory, size_t bytes) const {
  auto after = blocks_.upper_bound(const_cast<char*>(memory));
  if (after == blocks_.begin()) return nullptr;
  const auto& [block, extent] = *std::prev(after);
  return memory + bytes <= block + extent.bytes ? &extent : nullptr;
}

bool Device::is_valid(const void* memory, size_t bytes) const {
  const char* start = static_cast<const char*>(memory);
  if (start + bytes <= base_ || start >= base_ + bytes_) return true;
  const Block* block = block_of(start, bytes);
  return block && block->valid;
}

bool Device::is_there(const void* memory, size_t bytes) const {
  return owns(memory) && block_of(static_cast<const char*>(memory), bytes);
}

// ------------------------------------------------------------------------------------------------------------- streams

Stream* Device::stream(void* handle) {
  if (!handle) return streams_[0].get();
  for (const auto& stream : streams_)
    if (stream.get() == handle) return stream.get();
  return nullptr;
}

Stream* Device::create(int priority) {
  streams_.push_back(std::make_unique<Stream>());
  streams_.back()->priority = priority;
  return streams_.back().get();
}

void Device::destroy(Stream* stream) {
  streams_.erase(std::find_if(streams_.begin(), streams_.end(), [&](const auto& s) { return s.get() == stream; }));
}

bool Device::has_joined(const Stream& origin) const {
  for (const auto& stream : streams_) {
    if (stream->capture != origin.capture) continue;
    for (const auto& [other, count] : stream->nodes_before) {
      const auto found = origin.nodes_before.find(other);
      if (found == origin.nodes_before.end() || found->second < count) return false;
    }
  }
  return true;
}

void Device::end_capture(const std::shared_ptr<Graph>& graph) {
  const std::shared_ptr<Graph> ended = graph;  // it may be that of a stream
  for (const auto& stream : streams_)
    if (stream->capture == ended) stream->capture.reset();
}

int Device::enqueue(void* handle, const char* kind, Work work) {
  Stream* stream = this->stream(handle);
  if (!stream) return kInvalidHandle;
  if (stream->capture) {
    stream->capture->nodes.push_back({kind, std::move(work)});
    ++stream->nodes_before[stream];
    return kSuccess;
  }
  stream->work.push_back({kind, std::move(work)});
  maybe_advance();
  changed.notify_all();
  return kSuccess;
}

bool Device::step(Stream& stream) {
  if (stream.work.empty()) return false;
  Access access;
  if (!sticky_ && !stream.work.front().work()) return false;
  if (tracing_) trace_ += std::to_string(stream.priority) + " " + stream.work.front().kind + "\n";
  stream.work.pop_front();
  return true;
}

// Lets one stream go on by one piece of work: one of the highest priority among those that can.
bool Device::step() {
  if (held_) return false;
  std::vector<Stream*> order;
  for (const auto& stream : streams_)
    if (!stream->work.empty()) order.push_back(stream.get());
  if (deferred_) std::shuffle(order.begin(), order.end(), random_);
  std::stable_sort(order.begin(), order.end(), [](const Stream* a, const Stream* b) { return a->priority < b->priority; });
  return std::any_of(order.begin(), order.end(), [&](Stream* stream) { return step(*stream); });
}

bool Device::advance() {
  bool any = false;
  while (step()) any = true;
  if (any) changed.notify_all();
  return any;
}

void Device::maybe_advance() {
  if (!deferred_) {
    advance();
  } else if (random_() % 4 == 0) {
    step();
  }
}

void Device::wait(std::unique_lock<std::mutex>& lock, const std::function<bool()>& condition) {
  while (!condition()) {
    if (!advance() && !condition()) changed.wait_for(lock, std::chrono::milliseconds(5));
  }
}

int Device::capability() {
  const char* wanted = std::getenv("MHC_STAND_IN_CAPABILITY");
  return wanted ? std::atoi(wanted) : 90;
}

int Device::failure(const char* function) {
  if (sticky_) return sticky_;
  if (fail_function_ != function || --fail_at_ != 0) return kSuccess;
  if (fail_code_ >= kIllegalAddress) sticky_ = fail_code_;
  return fail_code_;
}

}  // namespace nvidia
