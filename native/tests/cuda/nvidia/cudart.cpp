// SPDX-License-Identifier: Apache-2.0
// What the library's callers use of the CUDA runtime, as libcudart.so.13: a device on the CPU. Signatures and numbers are
// NVIDIA's; handles are pointers of this file. Only for tests.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

#include "queues.h"

using namespace nvidia;

namespace {

constexpr int kVersion = 13000;
thread_local int last_error = 0;

int give(int code) {
  if (code != kSuccess && code != kNotReady) last_error = code;
  return code;
}

// Runs body with the device locked, unless the call is to fail.
template <class Body>
int call(const char* function, Body body) {
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  if (int code = device.failure(function)) return give(code);
  return give(body(device, lock));
}

double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Pool {
  int gpu;
  std::set<int> peers;  // other GPUs that may use its memory
  std::set<char*> blocks;
};

// GPUs that there seem to be, all of the same memory and streams: 1, unless MHC_STAND_IN_GPUS has another.
int gpus() {
  const char* wanted = std::getenv("MHC_STAND_IN_GPUS");
  return wanted ? std::atoi(wanted) : 1;
}

std::map<char*, Pool*>& owners() {
  static std::map<char*, Pool*> map;
  return map;
}

// A handle owns its event together with the work that is still to reach it.
std::shared_ptr<Event> event_of(void* handle) { return *static_cast<std::shared_ptr<Event>*>(handle); }

Work once(std::function<void()> body) {
  return [body = std::move(body)] {
    body();
    return true;
  };
}

int drain(Device& device, std::unique_lock<std::mutex>& lock, Stream* stream) {
  if (stream->capture) {  // as the runtime does: what is captured cannot be waited for
    stream->capture.reset();
    return kCaptureUnsupported;
  }
  device.wait(lock, [&] { return stream->work.empty(); });
  return device.sticky();
}

// Page-locked memory of the host, and its bytes.
std::map<const char*, size_t>& locked() {
  static std::map<const char*, size_t> map;
  return map;
}

bool is_locked(const void* memory) {
  const auto after = locked().upper_bound(static_cast<const char*>(memory));
  return after != locked().begin() && memory < std::prev(after)->first + std::prev(after)->second;
}

int copy(Device& device, void* to, const void* from, size_t bytes, void* stream) {
  if (bytes == 0) return kSuccess;
  if (!device.is_valid(to, bytes) || !device.is_valid(from, bytes)) return kInvalidValue;
  const Stream* place = device.stream(stream);
  if (device.owns(to) && !device.owns(from) && !is_locked(from) && place && !place->capture) {  // staged before the call returns
    const auto* start = static_cast<const char*>(from);
    return device.enqueue(stream, "memcpy", once([to, staged = std::vector<char>(start, start + bytes)] {
                            std::memcpy(to, staged.data(), staged.size());
                          }));
  }
  return device.enqueue(stream, "memcpy", once([=] { std::memmove(to, from, bytes); }));
}

struct Text {
  int code;
  const char *name, *text;
};
constexpr Text kTexts[] = {{0, "cudaSuccess", "no error"},
                           {1, "cudaErrorInvalidValue", "invalid argument"},
                           {2, "cudaErrorMemoryAllocation", "out of memory"},
                           {35, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
                           {100, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
                           {101, "cudaErrorInvalidDevice", "invalid device ordinal"},
                           {209, "cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device"},
                           {400, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
                           {600, "cudaErrorNotReady", "device not ready"},
                           {700, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
                           {719, "cudaErrorLaunchFailure", "unspecified launch failure"},
                           {900, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
                           {901, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
                           {904, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
                           {905, "cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"},
                           {910, "cudaErrorGraphExecUpdateFailure",
                            "the graph update was not performed because it included changes which violated constraints"}};

const Text& text_of(int code) {
  static constexpr Text unknown = {-1, "cudaErrorUnknown", "unknown error"};
  for (const Text& each : kTexts)
    if (each.code == code) return each;
  return unknown;
}

}  // namespace

// A kernel of the executor goes through its stream; an error's text, or nullptr.
MHC_STAND_IN_API const char* mhc_stand_in_launch(void* stream, const std::function<void()>* kernel) {
  const int code = call("kernel", [&](Device& device, auto&) { return device.enqueue(stream, "kernel", once(*kernel)); });
  if (code == kSuccess) return nullptr;
  static thread_local char said[256];  // as libmhc_cuda says it
  std::snprintf(said, sizeof said, "%s (%d): %s", text_of(code).name, code, text_of(code).text);
  return said;
}

// For tests: holds back all work, or lets it go on.
MHC_STAND_IN_API void mhc_stand_in_hold(int on) {
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  device.hold(on != 0);
  device.changed.notify_all();
}
// For tests: begins to note what is done, or ends that.
MHC_STAND_IN_API void mhc_stand_in_trace(int on) {
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  device.trace(on != 0);
}
// What was noted, as far as there is room, and a zero; its length.
MHC_STAND_IN_API size_t mhc_stand_in_traced(char* text, size_t bytes) {
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  if (bytes) std::snprintf(text, bytes, "%s", device.traced().c_str());
  return device.traced().size();
}

// ------------------------------------------------------------------------------------------------------------- device

MHC_STAND_IN_API int cudaRuntimeGetVersion(int* version) { return *version = kVersion, kSuccess; }
MHC_STAND_IN_API int cudaDriverGetVersion(int* version) { return *version = kVersion, kSuccess; }
MHC_STAND_IN_API const char* cudaGetErrorName(int code) { return text_of(code).name; }
MHC_STAND_IN_API const char* cudaGetErrorString(int code) { return text_of(code).text; }
MHC_STAND_IN_API int cudaGetLastError() {
  const int code = last_error;
  last_error = Device::get().sticky();
  return code;
}
MHC_STAND_IN_API int cudaGetDeviceCount(int* count) {
  return call("cudaGetDeviceCount", [&](Device&, auto&) { return *count = gpus(), kSuccess; });
}
MHC_STAND_IN_API int cudaGetDevice(int* device) { return *device = 0, kSuccess; }
MHC_STAND_IN_API int cudaSetDevice(int device) {
  return call("cudaSetDevice", [&](Device&, auto&) { return device >= 0 && device < gpus() ? kSuccess : kInvalidDevice; });
}
MHC_STAND_IN_API int cudaDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 16: return *value = 6, kSuccess;           // multiprocessors
    case 38: return *value = 1 << 20, kSuccess;     // bytes of L2
    case 75: return *value = Device::capability() / 10, kSuccess;
    case 76: return *value = Device::capability() % 10, kSuccess;
    case 97: return *value = 227 << 10, kSuccess;   // shared memory that a block may ask for
    case 115: return *value = !std::getenv("MHC_STAND_IN_NO_POOLS"), kSuccess;  // memory pools
    default: return give(kInvalidValue);
  }
}
MHC_STAND_IN_API int cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
  const bool known = device >= 0 && device < gpus();
  return known && std::snprintf(text, static_cast<size_t>(bytes), "0000:%02x:00.0", 0x18 + device) < bytes ? kSuccess
                                                                                                         : give(kInvalidValue);
}
MHC_STAND_IN_API int cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return *least = 0, *greatest = -5, kSuccess;
}
MHC_STAND_IN_API int cudaDeviceSynchronize() {
  return call("cudaDeviceSynchronize", [](Device& device, auto& lock) {
    device.wait(lock, [&] { return !device.advance(); });
    return device.sticky();
  });
}
MHC_STAND_IN_API int cudaMemGetInfo(size_t* free, size_t* total) {
  return call("cudaMemGetInfo", [&](Device& device, auto&) {
    *total = device.total();
    *free = device.total() - device.used();
    return kSuccess;
  });
}

// ------------------------------------------------------------------------------------------------------------- memory

MHC_STAND_IN_API int cudaMalloc(void** memory, size_t bytes) {
  return call("cudaMalloc", [&](Device& device, auto&) {
    *memory = device.allocate(bytes);
    return *memory ? kSuccess : kOutOfMemory;
  });
}
MHC_STAND_IN_API int cudaFree(void* memory) {
  return call("cudaFree", [&](Device& device, auto& lock) {
    if (!memory) return kSuccess;
    device.wait(lock, [&] { return !device.advance(); });
    if (!device.forget(static_cast<char*>(memory))) return kInvalidValue;
    device.recycle(static_cast<char*>(memory));
    return kSuccess;
  });
}
MHC_STAND_IN_API int cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  return call("cudaHostAlloc", [&](Device&, auto&) {
    *memory = std::aligned_alloc(4096, (bytes + 4096) / 4096 * 4096);
    if (*memory) locked()[static_cast<char*>(*memory)] = bytes;
    return *memory ? kSuccess : kOutOfMemory;
  });
}
MHC_STAND_IN_API int cudaFreeHost(void* memory) {
  return call("cudaFreeHost", [&](Device& device, auto& lock) {
    device.wait(lock, [&] { return !device.advance(); });
    locked().erase(static_cast<char*>(memory));
    std::free(memory);
    return kSuccess;
  });
}
MHC_STAND_IN_API int cudaMemcpy(void* to, const void* from, size_t bytes, int) {
  return call("cudaMemcpy", [&](Device& device, auto& lock) {
    if (int code = copy(device, to, from, bytes, nullptr)) return code;
    return drain(device, lock, device.stream(nullptr));
  });
}
MHC_STAND_IN_API int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int, void* stream) {
  return call("cudaMemcpyAsync", [&](Device& device, auto&) { return copy(device, to, from, bytes, stream); });
}
MHC_STAND_IN_API int cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                                       size_t height, int, void* stream) {
  return call("cudaMemcpy2DAsync", [&](Device& device, auto&) -> int {
    if (width > to_pitch || width > from_pitch) return kInvalidValue;
    if (width == 0 || height == 0) return kSuccess;
    if (!device.is_valid(to, (height - 1) * to_pitch + width) || !device.is_valid(from, (height - 1) * from_pitch + width))
      return kInvalidValue;
    return device.enqueue(stream, "memcpy2D", once([=] {
                            for (size_t row = 0; row < height; ++row)
                              std::memmove(static_cast<char*>(to) + row * to_pitch,
                                           static_cast<const char*>(from) + row * from_pitch, width);
                          }));
  });
}
MHC_STAND_IN_API int cudaMemsetAsync(void* memory, int value, size_t bytes, void* stream) {
  return call("cudaMemsetAsync", [&](Device& device, auto&) -> int {
    if (bytes == 0) return kSuccess;
    if (!device.is_valid(memory, bytes)) return kInvalidValue;
    return device.enqueue(stream, "memset", once([=] { std::memset(memory, value, bytes); }));
  });
}

// -------------------------------------------------------------------------------------------------------------- pools

struct PoolLocation {
  int type, id;
};
struct PoolProperties {
  int allocation, handles;
  PoolLocation location;
};
struct PoolAccess {
  PoolLocation location;
  int flags;
};

MHC_STAND_IN_API int cudaDeviceCanAccessPeer(int* can, int gpu, int peer) {
  return call("cudaDeviceCanAccessPeer", [&](Device&, auto&) -> int {
    if (gpu == peer || gpu < 0 || peer < 0 || gpu >= gpus() || peer >= gpus()) return kInvalidDevice;
    return *can = !std::getenv("MHC_STAND_IN_NO_PEERS"), kSuccess;
  });
}
MHC_STAND_IN_API int cudaMemPoolSetAccess(void* handle, const PoolAccess* list, size_t count) {
  return call("cudaMemPoolSetAccess", [&](Device&, auto&) -> int {
    auto* pool = static_cast<Pool*>(handle);
    for (const PoolAccess* each = list; each != list + count; ++each) {
      const int gpu = each->location.id;
      if (each->location.type != 1 || gpu == pool->gpu || gpu < 0 || gpu >= gpus()) return kInvalidValue;
      if (each->flags == 3) {  // read and write
        if (std::getenv("MHC_STAND_IN_NO_PEERS")) return kInvalidDevice;
        pool->peers.insert(gpu);
      } else {
        pool->peers.erase(gpu);
      }
    }
    return kSuccess;
  });
}
// Whether a GPU may use memory of a pool.
MHC_STAND_IN_API int mhc_stand_in_can_access(const void* memory, int gpu) {
  std::unique_lock lock(Device::get().mutex);
  const Pool* pool = owners().at(static_cast<char*>(const_cast<void*>(memory)));
  return pool->gpu == gpu || pool->peers.count(gpu);
}
MHC_STAND_IN_API int cudaMemPoolCreate(void** pool, const PoolProperties* properties) {
  return call("cudaMemPoolCreate", [&](Device&, auto&) { return *pool = new Pool{properties->location.id, {}, {}}, kSuccess; });
}
MHC_STAND_IN_API int cudaMemPoolDestroy(void* handle) {
  return call("cudaMemPoolDestroy", [&](Device& device, auto& lock) {
    auto* pool = static_cast<Pool*>(handle);
    device.wait(lock, [&] { return !device.advance(); });
    if (!pool->blocks.empty()) return kInvalidValue;  // a leak: stricter than the runtime
    delete pool;
    return kSuccess;
  });
}
MHC_STAND_IN_API int cudaMemPoolSetAttribute(void*, int attribute, void*) {
  return attribute == 4 ? kSuccess : give(kInvalidValue);  // the release threshold: nothing is kept here
}
MHC_STAND_IN_API int cudaMemPoolGetAttribute(void* handle, int attribute, void* value) {
  return call("cudaMemPoolGetAttribute", [&](Device& device, auto&) {
    if (attribute != 7) return kInvalidValue;  // bytes in use
    uint64_t used = 0;
    for (char* block : static_cast<Pool*>(handle)->blocks) used += device.bytes_of(block);
    std::memcpy(value, &used, sizeof used);
    return kSuccess;
  });
}
MHC_STAND_IN_API int cudaMemPoolTrimTo(void*, size_t) { return kSuccess; }
MHC_STAND_IN_API int cudaMallocFromPoolAsync(void** memory, size_t bytes, void* pool, void* stream) {
  return call("cudaMallocFromPoolAsync", [&](Device& device, auto&) -> int {
    Stream* place = device.stream(stream);
    if (!place) return kInvalidHandle;
    if (place->capture) return kCaptureUnsupported;  // a graph's own memory is not part of the stand-in
    char* block = device.allocate(bytes);
    if (!block) return kOutOfMemory;
    static_cast<Pool*>(pool)->blocks.insert(block);
    owners()[block] = static_cast<Pool*>(pool);
    *memory = block;
    return kSuccess;
  });
}
MHC_STAND_IN_API int cudaFreeAsync(void* memory, void* stream) {
  return call("cudaFreeAsync", [&](Device& device, auto&) -> int {
    auto* block = static_cast<char*>(memory);
    if (!device.forget(block)) return kInvalidValue;
    return device.enqueue(stream, "free", once([=, &device] {
                            if (Pool* pool = owners()[block]) pool->blocks.erase(block);
                            owners().erase(block);
                            device.recycle(block);
                          }));
  });
}

// ------------------------------------------------------------------------------------------------------------- streams

MHC_STAND_IN_API int cudaStreamCreateWithPriority(void** stream, unsigned, int priority) {
  return call("cudaStreamCreateWithPriority", [&](Device& device, auto&) { return *stream = device.create(priority), kSuccess; });
}
MHC_STAND_IN_API int cudaStreamGetPriority(void* handle, int* priority) {
  return call("cudaStreamGetPriority", [&](Device& device, auto&) -> int {
    const Stream* stream = device.stream(handle);
    return stream ? (*priority = stream->priority, kSuccess) : kInvalidHandle;
  });
}
MHC_STAND_IN_API int cudaStreamDestroy(void* handle) {
  return call("cudaStreamDestroy", [&](Device& device, auto& lock) -> int {
    Stream* stream = device.stream(handle);
    if (!handle || !stream) return kInvalidHandle;
    device.wait(lock, [&] { return stream->work.empty(); });
    device.destroy(stream);
    return kSuccess;
  });
}
MHC_STAND_IN_API int cudaStreamSynchronize(void* handle) {
  return call("cudaStreamSynchronize", [&](Device& device, auto& lock) -> int {
    Stream* stream = device.stream(handle);
    return stream ? drain(device, lock, stream) : kInvalidHandle;
  });
}
MHC_STAND_IN_API int cudaStreamQuery(void* handle) {
  return call("cudaStreamQuery", [&](Device& device, auto&) -> int {
    Stream* stream = device.stream(handle);
    if (!stream) return kInvalidHandle;
    if (stream->capture) return kCaptureUnsupported;
    device.advance();
    return stream->work.empty() ? kSuccess : kNotReady;
  });
}
MHC_STAND_IN_API int cudaStreamWaitEvent(void* handle, void* marker, unsigned) {
  return call("cudaStreamWaitEvent", [&](Device& device, auto&) -> int {
    Stream* stream = device.stream(handle);
    const std::shared_ptr<Event> event = event_of(marker);
    if (!stream) return kInvalidHandle;
    if (event->capture) {  // the stream joins the capture
      if (stream->capture && stream->capture != event->capture) return kCaptureInvalidated;
      if (!stream->capture) stream->nodes_before.clear();
      stream->capture = event->capture;
      for (const auto& [other, count] : event->nodes_before) stream->nodes_before[other] = std::max(stream->nodes_before[other], count);
      return kSuccess;
    }
    if (stream->capture) return kCaptureIsolation;
    const uint64_t awaited = event->recorded;
    return device.enqueue(handle, "wait", [=] { return event->reached >= awaited; });
  });
}

// -------------------------------------------------------------------------------------------------------------- events

MHC_STAND_IN_API int cudaEventCreateWithFlags(void** event, unsigned flags) {
  return call("cudaEventCreateWithFlags", [&](Device&, auto&) {
    auto made = std::make_shared<Event>();
    made->timed = !(flags & 2);
    return *event = new std::shared_ptr<Event>(std::move(made)), kSuccess;
  });
}
MHC_STAND_IN_API int cudaEventDestroy(void* event) {
  return call("cudaEventDestroy", [&](Device&, auto&) { return delete static_cast<std::shared_ptr<Event>*>(event), kSuccess; });
}
MHC_STAND_IN_API int cudaEventRecord(void* marker, void* handle) {
  return call("cudaEventRecord", [&](Device& device, auto&) -> int {
    Stream* stream = device.stream(handle);
    if (!stream) return kInvalidHandle;
    const std::shared_ptr<Event> event = event_of(marker);
    event->capture = stream->capture;
    event->nodes_before = stream->nodes_before;
    if (stream->capture) return kSuccess;
    const uint64_t number = ++event->recorded;
    return device.enqueue(handle, "record", once([=] {
                            event->reached = std::max(event->reached, number);
                            event->milliseconds = now();
                          }));
  });
}
MHC_STAND_IN_API int cudaEventQuery(void* marker) {
  return call("cudaEventQuery", [&](Device& device, auto&) {
    const std::shared_ptr<Event> event = event_of(marker);
    if (event->capture) return kCaptureUnsupported;
    device.advance();
    return event->reached >= event->recorded ? kSuccess : kNotReady;
  });
}
MHC_STAND_IN_API int cudaEventSynchronize(void* marker) {
  return call("cudaEventSynchronize", [&](Device& device, auto& lock) -> int {
    const std::shared_ptr<Event> event = event_of(marker);
    if (event->capture) return kCaptureUnsupported;
    device.wait(lock, [&] { return event->reached >= event->recorded; });
    return device.sticky();
  });
}
MHC_STAND_IN_API int cudaEventElapsedTime(float* milliseconds, void* first, void* second) {
  return call("cudaEventElapsedTime", [&](Device&, auto&) {
    const auto start = event_of(first), end = event_of(second);
    if (!start->timed || !end->timed || !start->recorded || !end->recorded) return kInvalidHandle;
    if (start->reached < start->recorded || end->reached < end->recorded) return kNotReady;
    return *milliseconds = static_cast<float>(end->milliseconds - start->milliseconds), kSuccess;
  });
}

// -------------------------------------------------------------------------------------------------------------- graphs

MHC_STAND_IN_API int cudaStreamBeginCapture(void* handle, int) {
  return call("cudaStreamBeginCapture", [&](Device& device, auto&) -> int {
    Stream* stream = device.stream(handle);
    if (!handle || !stream) return kInvalidHandle;
    if (stream->capture) return kInvalidValue;
    stream->capture = std::make_shared<Graph>();
    stream->nodes_before.clear();
    stream->begins_capture = true;
    return kSuccess;
  });
}
MHC_STAND_IN_API int cudaStreamIsCapturing(void* handle, int* status) {
  return call("cudaStreamIsCapturing", [&](Device& device, auto&) -> int {
    Stream* stream = device.stream(handle);
    return stream ? (*status = stream->capture ? 1 : 0, kSuccess) : kInvalidHandle;
  });
}
MHC_STAND_IN_API int cudaStreamEndCapture(void* handle, void** graph) {
  return call("cudaStreamEndCapture", [&](Device& device, auto&) -> int {
    Stream* stream = device.stream(handle);
    *graph = nullptr;
    if (!stream || !stream->begins_capture) return kInvalidValue;
    stream->begins_capture = false;
    if (!stream->capture) return kCaptureInvalidated;  // something forbidden was done meanwhile
    const bool joined = device.has_joined(*stream);
    if (joined) *graph = new Graph(*stream->capture);
    device.end_capture(stream->capture);
    return joined ? kSuccess : kCaptureUnjoined;
  });
}
MHC_STAND_IN_API int cudaGraphGetNodes(void* graph, void** nodes, size_t* count) {
  if (nodes) return give(kInvalidValue);  // only counted
  return *count = static_cast<Graph*>(graph)->nodes.size(), kSuccess;
}
MHC_STAND_IN_API int cudaGraphInstantiate(void** exec, void* graph, unsigned long long) {
  return call("cudaGraphInstantiate", [&](Device&, auto&) { return *exec = new Graph(*static_cast<Graph*>(graph)), kSuccess; });
}
MHC_STAND_IN_API int cudaGraphExecUpdate(void* exec, void* graph, void*) {
  return call("cudaGraphExecUpdate", [&](Device& device, auto& lock) {
    auto *old = static_cast<Graph*>(exec), *next = static_cast<Graph*>(graph);
    if (old->nodes.size() != next->nodes.size()) return kUpdateFailure;
    for (size_t i = 0; i < old->nodes.size(); ++i)
      if (std::strcmp(old->nodes[i].kind, next->nodes[i].kind) != 0) return kUpdateFailure;
    device.wait(lock, [&] { return !device.advance(); });
    *old = *next;
    return kSuccess;
  });
}
MHC_STAND_IN_API int cudaGraphLaunch(void* exec, void* stream) {
  return call("cudaGraphLaunch", [&](Device& device, auto&) -> int {
    for (const Node& node : static_cast<Graph*>(exec)->nodes)
      if (int code = device.enqueue(stream, node.kind, node.work)) return code;
    return kSuccess;
  });
}
MHC_STAND_IN_API int cudaGraphExecDestroy(void* exec) { return delete static_cast<Graph*>(exec), kSuccess; }
MHC_STAND_IN_API int cudaGraphDestroy(void* graph) { return delete static_cast<Graph*>(graph), kSuccess; }
