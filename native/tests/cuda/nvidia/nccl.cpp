// SPDX-License-Identifier: Apache-2.0
// What the library uses of NCCL, as libnccl.so.2: ranks of one process, on streams of the stand-in's device. A collective is
// done when it has come to the front of the streams of all its ranks; who does not call it leaves the others waiting, as with
// the real one. The first collective, and the first message to a rank, connect the ranks: that call returns once the others
// have made theirs, or the communicator is aborted. Of a group with a call that fails nothing is begun. Only for tests.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>

#include "numbers.h"
#include "queues.h"

using namespace nvidia;

namespace {

enum Result { kOk = 0, kCudaError = 1, kInvalidArgument = 4, kInvalidUsage = 5, kRemoteError = 6, kInProgress = 7 };

struct UniqueId {
  char bytes[128];
};

struct Comm;

// What one rank asks of a collective.
struct Part {
  const char* name;
  Comm* comm;
  const void* send;
  void* receive;
  size_t count;
  int type, op, root;
};

// One collective: what the ranks that have come to it ask. Or one message, of two ranks.
struct Meeting {
  size_t expected;
  std::vector<Part> parts;
  bool done = false;
};

struct World {
  int ranks;
  std::vector<Comm*> members;
  std::map<uint64_t, std::shared_ptr<Meeting>> collectives;
  std::map<std::string, std::shared_ptr<Meeting>> messages;
  std::map<std::string, std::set<int>> connected;  // ranks that have made a first call: of a collective, or of a message
  int joined = 0;
  bool broken = false;
};

struct Comm {
  std::shared_ptr<World> world;
  int rank;
  uint64_t calls = 0;
  std::map<std::string, uint64_t> messages;
  int error = kOk;
  bool aborted = false;
};

std::map<std::string, std::shared_ptr<World>>& worlds() {
  static std::map<std::string, std::shared_ptr<World>> map;
  return map;
}

Type type_of(int type) {
  switch (type) {
    case 2: return Type::int32;
    case 6: return Type::fp16;
    case 7: return Type::fp32;
    case 9: return Type::bf16;
    case 10: return Type::e4m3;
    default: return Type::uint8;
  }
}

// 2.30.7, unless MHC_STAND_IN_NCCL says another, such as 22304.
int version() {
  const char* wanted = std::getenv("MHC_STAND_IN_NCCL");
  return wanted ? std::atoi(wanted) : 23007;
}

// FP8 came with 2.24.
bool known(int type) { return type >= 0 && type < (version() < 22400 ? 10 : 12); }

double combine(int op, double a, double b) {
  switch (op) {
    case 2: return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b);
    case 3: return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b);
    default: return a + b;
  }
}

// Element at of the combination of all ranks' parts.
double combined(const std::vector<Part>& parts, int64_t at) {
  double sum = load(type_of(parts[0].type), parts[0].send, at);
  for (size_t rank = 1; rank < parts.size(); ++rank) {
    sum = combine(parts[0].op, sum, load(type_of(parts[0].type), parts[rank].send, at));
    if (parts[0].type != 2) sum = static_cast<float>(sum);
  }
  return parts[0].op == 4 ? sum / static_cast<double>(parts.size()) : sum;
}

// All have come; they are in the order of the ranks.
void perform(const std::vector<Part>& parts) {
  const Part& first = parts[0];
  const size_t bytes = first.count * bytes_of(type_of(first.type));
  const std::string name = first.name;
  std::vector<std::vector<char>> results(parts.size());
  for (size_t rank = 0; rank < parts.size(); ++rank) {
    std::vector<char>& out = results[rank];
    if (name == "ncclAllReduce" || name == "ncclReduceScatter") {
      out.resize(bytes);
      const int64_t start = name == "ncclAllReduce" ? 0 : static_cast<int64_t>(rank * first.count);
      for (size_t i = 0; i < first.count; ++i) {
        store(type_of(first.type), out.data(), static_cast<int64_t>(i), combined(parts, start + static_cast<int64_t>(i)));
      }
    } else if (name == "ncclAllGather") {
      for (const Part& part : parts) {
        out.insert(out.end(), static_cast<const char*>(part.send), static_cast<const char*>(part.send) + bytes);
      }
    } else {  // broadcast
      const auto* from = static_cast<const char*>(parts[first.root].send);
      out.assign(from, from + bytes);
    }
  }
  for (size_t rank = 0; rank < parts.size(); ++rank)
    if (!results[rank].empty()) std::memcpy(parts[rank].receive, results[rank].data(), results[rank].size());
}

bool agree(const std::vector<Part>& parts) {
  return std::all_of(parts.begin(), parts.end(), [&](const Part& part) {
    return !std::strcmp(part.name, parts[0].name) && part.count == parts[0].count && part.type == parts[0].type &&
           part.op == parts[0].op && part.root == parts[0].root;
  });
}

void finish(Meeting& meeting, World& world) {
  meeting.done = true;
  std::vector<Part>& parts = meeting.parts;
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.comm->rank < b.comm->rank; });
  if (meeting.expected == 2 && std::strcmp(parts[0].name, parts[1].name) != 0) {  // a message
    const Part& from = parts[0].send ? parts[0] : parts[1];
    const Part& to = parts[0].send ? parts[1] : parts[0];
    if (from.count == to.count && from.type == to.type) {
      std::memcpy(to.receive, from.send, from.count * bytes_of(type_of(from.type)));
      return;
    }
  } else if (agree(parts)) {
    return perform(parts);
  }
  for (Comm* member : world.members)
    if (member) member->error = kInvalidUsage;
}

// The work of one rank in a stream: it comes to the meeting, and leaves when all have.
Work attend(const Part& part, std::shared_ptr<Meeting> meeting) {
  auto present = std::make_shared<bool>(false);
  const std::shared_ptr<World> world = part.comm->world;
  return [part, meeting, present, world] {
    if (part.comm->aborted) return true;
    if (!*present) {
      *present = true;
      meeting->parts.push_back(part);
    }
    if (!meeting->done && meeting->parts.size() == meeting->expected && !world->broken) finish(*meeting, *world);
    return meeting->done;
  };
}

struct Queued {
  Work work;
  void* stream;
};
thread_local int group_depth = 0;
thread_local std::vector<Queued> group;
thread_local std::vector<std::function<bool()>> joins;  // communicators that a group makes: true once all have come

thread_local std::vector<Comm*> callers;               // ranks that wait in a group until the others have called
thread_local std::vector<std::function<bool()>> first_calls;
thread_local int group_error = kOk;

// Puts what a group has gathered on its streams: what goes to one stream goes on side by side.
int launch() {
  int result = kOk;
  while (!group.empty()) {
    void* stream = group.front().stream;
    std::vector<Work> together;
    for (auto each = group.begin(); each != group.end();) {
      if (each->stream == stream) {
        together.push_back(std::move(each->work));
        each = group.erase(each);
      } else {
        ++each;
      }
    }
    auto rest = std::make_shared<std::vector<Work>>(std::move(together));
    if (Device::get().enqueue(stream, "nccl", [rest] {
          rest->erase(std::remove_if(rest->begin(), rest->end(), [](const Work& work) { return work(); }), rest->end());
          return rest->empty();
        }))
      result = kCudaError;
  }
  return result;
}

// The end of the outermost group.
int finish_group(std::unique_lock<std::mutex>& lock) {
  Device& device = Device::get();
  int result = group_error;
  const auto broken = [] { return std::any_of(callers.begin(), callers.end(), [](Comm* c) { return c->world->broken; }); };
  for (const auto& all_here : joins) device.wait(lock, all_here);
  for (const auto& others_called : first_calls)
    if (!result) device.wait(lock, [&] { return others_called() || broken(); });
  if (!result && broken()) result = kRemoteError;
  if (!result) result = launch();
  joins.clear(), first_calls.clear(), callers.clear(), group.clear();
  group_error = kOk;
  return result;
}

int fail(int code) {
  if (group_depth > 0) group_error = code;
  return code;
}

// A call of a rank; together with others, expected in all, it is about what the key says.
int submit(const Part& part, std::shared_ptr<Meeting>& meeting, size_t expected, const std::string& key, void* stream,
           std::unique_lock<std::mutex>& lock) {
  if (!meeting) meeting = std::make_shared<Meeting>(Meeting{expected, {}});
  const std::shared_ptr<World> world = part.comm->world;
  world->connected[key].insert(part.comm->rank);
  Device::get().changed.notify_all();
  first_calls.push_back([world, key, expected] { return world->connected[key].size() == expected; });
  callers.push_back(part.comm);
  group.push_back({attend(part, meeting), stream});
  return group_depth > 0 ? kOk : finish_group(lock);
}

int collective(const Part& part, void* stream) {
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  if (!part.comm || !known(part.type)) return fail(kInvalidArgument);
  if (device.failure(part.name)) return fail(kCudaError);
  if (part.comm->error) return fail(part.comm->error);
  World& world = *part.comm->world;
  return submit(part, world.collectives[part.comm->calls++], static_cast<size_t>(world.ranks), "collective", stream, lock);
}

int message(const Part& part, int peer, void* stream) {
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  if (!part.comm || !known(part.type)) return fail(kInvalidArgument);
  if (device.failure(part.name)) return fail(kCudaError);
  if (part.comm->error) return fail(part.comm->error);
  const bool sends = !std::strcmp(part.name, "ncclSend");  // of no elements too, which have no address
  const int from = sends ? part.comm->rank : peer, to = sends ? peer : part.comm->rank;
  const std::string pair = std::to_string(from) + ">" + std::to_string(to);
  const std::string key = pair + "#" + std::to_string(part.comm->messages[pair]++);
  return submit(part, part.comm->world->messages[key], 2, pair, stream, lock);
}

}  // namespace

MHC_STAND_IN_API int ncclGetVersion(int* number) { return *number = version(), kOk; }
MHC_STAND_IN_API const char* ncclGetErrorString(int code) {
  static constexpr const char* texts[] = {"no error", "unhandled cuda error", "unhandled system error", "internal error",
                                          "invalid argument", "invalid usage", "remote process exited or there was a network error",
                                          "NCCL operation in progress"};
  return code >= 0 && code < 8 ? texts[code] : "unknown result code";
}
MHC_STAND_IN_API const char* ncclGetLastError(void*) { return ""; }
MHC_STAND_IN_API int ncclGetUniqueId(UniqueId* id) {
  static int next = 0;
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  std::memset(id, 0, sizeof *id);
  std::snprintf(id->bytes, sizeof id->bytes, "stand-in-%d", next++);
  return kOk;
}

MHC_STAND_IN_API int ncclCommInitRank(void** handle, int ranks, UniqueId id, int rank) {
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  if (device.failure("ncclCommInitRank")) return kCudaError;
  const std::string name(id.bytes, strnlen(id.bytes, sizeof id.bytes));
  if (name.rfind("stand-in-", 0) != 0 || rank < 0 || rank >= ranks) return kInvalidArgument;
  std::shared_ptr<World>& world = worlds()[name];
  if (!world) world = std::make_shared<World>(World{ranks, std::vector<Comm*>(ranks), {}, {}, {}});
  if (world->ranks != ranks || world->members[rank]) return kInvalidUsage;
  auto* comm = new Comm;
  comm->world = world;
  comm->rank = rank;
  world->members[rank] = comm;
  world->joined++;
  *handle = comm;
  device.changed.notify_all();
  const std::shared_ptr<World> joined = world;
  if (group_depth > 0) {
    joins.push_back([joined] { return joined->joined == joined->ranks; });
  } else {
    device.wait(lock, [&] { return joined->joined == joined->ranks; });
  }
  return kOk;
}

MHC_STAND_IN_API int ncclCommDestroy(void* handle) {
  auto* comm = static_cast<Comm*>(handle);
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  comm->world->members[comm->rank] = nullptr;  // the Comm stays: work in streams may still lead to it
  return kOk;
}
MHC_STAND_IN_API int ncclCommFinalize(void*) { return kOk; }
MHC_STAND_IN_API int ncclCommAbort(void* handle) {
  auto* comm = static_cast<Comm*>(handle);
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  comm->aborted = true;
  comm->world->broken = true;
  comm->world->members[comm->rank] = nullptr;
  for (Comm* member : comm->world->members)
    if (member && !member->error) member->error = kRemoteError;
  device.changed.notify_all();
  return kOk;
}
MHC_STAND_IN_API int ncclCommGetAsyncError(void* handle, int* error) {
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  return *error = static_cast<Comm*>(handle)->error, kOk;
}
MHC_STAND_IN_API int ncclCommCount(void* handle, int* count) { return *count = static_cast<Comm*>(handle)->world->ranks, kOk; }
MHC_STAND_IN_API int ncclCommCuDevice(void*, int* device) { return *device = 0, kOk; }
MHC_STAND_IN_API int ncclCommUserRank(void* handle, int* rank) { return *rank = static_cast<Comm*>(handle)->rank, kOk; }

MHC_STAND_IN_API int ncclGroupStart() { return ++group_depth, kOk; }
MHC_STAND_IN_API int ncclGroupEnd() {
  if (group_depth == 0) return kInvalidUsage;
  if (--group_depth > 0) return kOk;
  std::unique_lock lock(Device::get().mutex);
  return finish_group(lock);
}

MHC_STAND_IN_API int ncclAllReduce(const void* send, void* receive, size_t count, int type, int op, void* comm, void* stream) {
  return collective({"ncclAllReduce", static_cast<Comm*>(comm), send, receive, count, type, op, 0}, stream);
}
MHC_STAND_IN_API int ncclReduceScatter(const void* send, void* receive, size_t count, int type, int op, void* comm, void* stream) {
  return collective({"ncclReduceScatter", static_cast<Comm*>(comm), send, receive, count, type, op, 0}, stream);
}
MHC_STAND_IN_API int ncclAllGather(const void* send, void* receive, size_t count, int type, void* comm, void* stream) {
  return collective({"ncclAllGather", static_cast<Comm*>(comm), send, receive, count, type, 0, 0}, stream);
}
MHC_STAND_IN_API int ncclBroadcast(const void* send, void* receive, size_t count, int type, int root, void* comm, void* stream) {
  return collective({"ncclBroadcast", static_cast<Comm*>(comm), send, receive, count, type, 0, root}, stream);
}
MHC_STAND_IN_API int ncclSend(const void* send, size_t count, int type, int peer, void* comm, void* stream) {
  return message({"ncclSend", static_cast<Comm*>(comm), send, nullptr, count, type, 0, peer}, peer, stream);
}
MHC_STAND_IN_API int ncclRecv(void* receive, size_t count, int type, int peer, void* comm, void* stream) {
  return message({"ncclRecv", static_cast<Comm*>(comm), nullptr, receive, count, type, 0, peer}, peer, stream);
}

// For tests: how many communicators there are.
MHC_STAND_IN_API int mhc_stand_in_communicators() {
  std::unique_lock lock(Device::get().mutex);
  int count = 0;
  for (const auto& [name, world] : worlds())
    for (const Comm* member : world->members) count += member != nullptr;
  return count;
}
