// SPDX-License-Identifier: Apache-2.0
// The stand-in's device: memory that the host cannot touch, and streams that do their work in order, some time before
// somebody waits for it. MHC_STAND_IN_SEED lets chance choose when and which stream goes first, so that a synchronisation
// that is missing shows; without it work is done as soon as its stream allows. Of streams that can go on, those of the
// highest priority do.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#define MHC_STAND_IN_API extern "C" __attribute__((visibility("default")))
#define MHC_STAND_IN_SHARED __attribute__((visibility("default")))

namespace nvidia {

// Numbers of cudaError that the stand-in gives.
enum Error {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kInvalidDevice = 101,
  kInvalidHandle = 400,
  kNotReady = 600,
  kIllegalAddress = 700,
  kCaptureUnsupported = 900,
  kCaptureInvalidated = 901,
  kCaptureUnjoined = 904,
  kCaptureIsolation = 905,
  kUpdateFailure = 910,
};

// Done a step at a time: true once there is nothing left to do. It is asked again until then.
using Work = std::function<bool()>;

struct Node {
  const char* kind;  // "kernel", "memcpy" ...
  Work work;
};

struct Graph {
  std::vector<Node> nodes;  // in the order of capture, which is a legal order of execution
};

struct Stream;
// In a capture: how many nodes of each stream come before.
using NodesBefore = std::map<const Stream*, size_t>;

struct Stream {
  int priority = 0;  // the lower, the sooner
  std::deque<Node> work;
  std::shared_ptr<Graph> capture;  // what is being captured, if anything is
  bool begins_capture = false;     // and it was begun here
  NodesBefore nodes_before;        // in it: before what comes next here
};

struct Event {
  bool timed = true;
  uint64_t recorded = 0, reached = 0;  // how many records were asked for, and which was last reached
  double milliseconds = 0;             // of the clock when it was reached
  std::shared_ptr<Graph> capture;      // recorded in a stream under capture
  NodesBefore nodes_before;            // in that
};

class MHC_STAND_IN_SHARED Device {
 public:
  static Device& get();

  std::mutex mutex;
  std::condition_variable changed;

  // --- memory; call with the mutex held
  char* allocate(size_t bytes);
  // The block is no longer valid for calls; its memory stays until recycle.
  bool forget(char* block);
  void recycle(char* block);
  // Whether all of it is in one block that is valid, or none of it is device memory.
  bool is_valid(const void* memory, size_t bytes) const;
  // For work that has begun: or in one whose turn to be freed has not come.
  bool is_there(const void* memory, size_t bytes) const;
  // Whether it is device memory.
  bool owns(const void* memory) const { return memory >= base_ && memory < base_ + bytes_; }
  size_t bytes_of(char* block) const { return blocks_.at(block).bytes; }
  size_t used() const { return used_; }
  size_t total() const { return bytes_; }

  // --- streams; call with the mutex held
  Stream* stream(void* handle);
  Stream* create(int priority);
  void destroy(Stream* stream);
  // Whether all that was captured in other streams comes before what would come next in this one.
  bool has_joined(const Stream& origin) const;
  void end_capture(const std::shared_ptr<Graph>& graph);
  // Puts work behind what the stream has; an Error.
  int enqueue(void* stream, const char* kind, Work work);
  // Waits until the condition holds, doing the work that can be done.
  void wait(std::unique_lock<std::mutex>& lock, const std::function<bool()>& condition);
  // Lets every stream go on as far as it can; whether anything was done.
  bool advance();
  // Nothing is done while it is held: what is put on the streams piles up.
  void hold(bool on) { held_ = on; }
  // Notes from now on what is done: a line each, of the stream's priority and the kind of work.
  void trace(bool on) { tracing_ = on, trace_.clear(); }
  const std::string& traced() const { return trace_; }

  // --- properties
  // Compute capability, times ten: 90, unless MHC_STAND_IN_CAPABILITY has another.
  static int capability();

  // --- errors
  // The error that a call is to give: an earlier one that stays, or one that MHC_STAND_IN_FAIL asks for:
  // "function:n:code" fails the n-th call of the function, or the n-th kernel; codes from 700 stay.
  int failure(const char* function);
  void break_context(int code) { sticky_ = code; }
  int sticky() const { return sticky_; }

 private:
  struct Block {
    size_t bytes, room;
    bool valid;
  };

  Device();
  // In which all of it is, or null.
  const Block* block_of(const char* memory, size_t bytes) const;
  bool step(Stream& stream);
  bool step();
  void maybe_advance();

  char* base_;
  size_t bytes_, used_ = 0;
  std::map<char*, Block> blocks_;
  std::vector<std::unique_ptr<Stream>> streams_;
  bool deferred_ = false, held_ = false, tracing_ = false;
  std::string trace_;
  std::mt19937_64 random_;
  int sticky_ = 0;
  std::string fail_function_;
  int fail_at_ = 0, fail_code_ = 0;
};

// The host may touch device memory while one lives: device work is being done.
class MHC_STAND_IN_SHARED Access {
 public:
  Access();
  ~Access();
};

}  // namespace nvidia
