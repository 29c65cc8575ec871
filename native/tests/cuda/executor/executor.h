// SPDX-License-Identifier: Apache-2.0
// Runs CUDA kernels on the CPU: every GPU thread is a fiber, and whenever one waits, another is chosen at random, in every
// second run some warps rather than others, so that code which relies on an order that no barrier gives sees other orders with
// other seeds. MHC_EXECUTOR_SEED chooses: the tests set it to a fresh number, and print it when one fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace mhc::executor {

struct Grid {
  int64_t blocks;
  int threads;          // of a block
  size_t shared_bytes;  // of a block
  bool cooperative;     // all blocks at once; otherwise one after the other, in any order
};

// Every thread of the grid runs body once. Returns when all have. A grid in which nobody can go on any more, or that spins
// without end, ends the process with a message, as a hung GPU would have to.
void run(const Grid& grid, const std::function<void()>& body);

void set_seed(uint64_t seed);

// Of the running fiber.
int thread_index();
int block_threads();
int64_t block_index();
int64_t block_count();
char* shared_memory();

// All threads of the block; or count of them, a multiple of 32, that use the same id from 1 to 15.
void block_barrier();
void block_barrier(int id, int count);
// Counts as one of them, but does not wait.
void block_arrive(int id, int count);
// Lets others run.
void pause();

// All 32 lanes of a warp come together with an operand each; work sees all of them, by lane, once.
using WarpWork = void (*)(void* const* operands);
void warp_collective(void* operand, WarpWork work);

// A copy that happens at some later time, and then adds bytes to *done; waiting for it is the program's business.
void copy_later(void* to, const void* from, size_t bytes, volatile uint64_t* done);

}  // namespace mhc::executor
