// CUDA C as C++, for tests: the text of a kernel compiled by a C++ compiler and run on the CPU.
//
// The threads of a block are fibers, which run one at a time until they wait: for the block at __syncthreads,
// for the warp at __syncwarp and at each shuffle. In which order those run that can is the caller's choice; a
// result that depends on it misses a barrier. Shared memory holds NaN when a block begins. Threads that wait for
// others that never come are an error, not a hang.

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <ucontext.h>

namespace emulation {

struct Index { unsigned x, y, z; };

struct Barrier {
  int expected = 0, arrived = 0;
  long generation = 0;
};

struct Warp {
  Barrier barrier;
  alignas(8) unsigned char slots[2][32][8];
};

struct Thread {
  Index index;
  ucontext_t context;
  std::vector<char> stack;
  Warp *warp;
  const Barrier *waits_for = nullptr;
  long generation = 0;
  unsigned shuffles = 0;
  bool finished = false;
};

struct Block {
  Index index, size, grid;
  Barrier barrier;
};

constexpr size_t STACK = 256 * 1024;
inline thread_local Block block;
inline thread_local Thread *self;
inline thread_local ucontext_t scheduler;
inline thread_local void (*body)();

inline void wait(Barrier &barrier) {
  if (++barrier.arrived == barrier.expected) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  self->waits_for = &barrier;
  self->generation = barrier.generation;
  swapcontext(&self->context, &scheduler);
}

inline void enter() {
  body();
  self->finished = true;
  swapcontext(&self->context, &scheduler);
}

enum Order { FORWARDS, BACKWARDS, SHUFFLED };

// Runs one block; false when threads wait for ever.
inline bool run_block(std::vector<Thread> &threads, std::vector<Warp> &warps, Order order, unsigned &random) {
  const size_t count = threads.size();
  block.barrier = Barrier();
  block.barrier.expected = (int)count;
  for (size_t index = 0; index < warps.size(); ++index) {
    warps[index].barrier = Barrier();
    warps[index].barrier.expected = (int)(count - index * 32 < 32 ? count - index * 32 : 32);
  }
  std::vector<size_t> turns(count);
  for (size_t index = 0; index < count; ++index) {
    Thread &thread = threads[index];
    thread.warp = &warps[index / 32];
    thread.waits_for = nullptr;
    thread.shuffles = 0;
    thread.finished = false;
    thread.stack.resize(STACK);
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = STACK;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, enter, 0);
    turns[index] = order == BACKWARDS ? count - 1 - index : index;
  }
  for (size_t finished = 0; finished < count;) {
    bool progress = false;
    for (size_t last = count; order == SHUFFLED && --last > 0;) {
      // Fisher and Yates, by a linear congruential generator.
      random = random * 1664525u + 1013904223u;
      std::swap(turns[last], turns[(random >> 8) % (last + 1)]);
    }
    for (size_t turn : turns) {
      Thread &thread = threads[turn];
      if (thread.finished || (thread.waits_for && thread.waits_for->generation == thread.generation)) continue;
      thread.waits_for = nullptr;
      self = &thread;
      swapcontext(&scheduler, &thread.context);
      progress = true;
      if (thread.finished) ++finished;
    }
    if (!progress) return false;
  }
  return true;
}

template <class Value> Value shuffle_xor(unsigned mask, Value value, int bit) {
  static_assert(sizeof(Value) <= 8);
  if (mask != 0xffffffffu) std::abort();
  const unsigned lane = self->index.x % 32, parity = self->shuffles++ % 2;
  auto &slots = self->warp->slots[parity];
  std::memcpy(slots[lane], &value, sizeof(Value));
  // One barrier is enough: the slots are written again after the next.
  wait(self->warp->barrier);
  Value other;
  std::memcpy(&other, slots[lane ^ (unsigned)bit], sizeof(Value));
  return other;
}

}  // namespace emulation

// The linker names the ends of the section that shared memory is put in, if it is there.
static __attribute__((section("emulated_shared"), used)) char placeholder;
extern "C" char __start_emulated_shared[], __stop_emulated_shared[];

#define threadIdx (emulation::self->index)
#define blockIdx (emulation::block.index)
#define blockDim (emulation::block.size)
#define gridDim (emulation::block.grid)
#define __global__
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("emulated_shared")))
#define __syncthreads() emulation::wait(emulation::block.barrier)
#define __syncwarp() emulation::wait(emulation::self->warp->barrier)
#define __shfl_xor_sync emulation::shuffle_xor
#define INLINE inline __attribute__((always_inline))

// What numbers.cuh leaves to the device.

INLINE float exp2_fast(float x) { return std::exp2(x); }
INLINE float reciprocal_fast(float x) { return 1.0f / x; }

INLINE float float_of_bits(unsigned int bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

INLINE unsigned int bits_of_float(float x) {
  unsigned int bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

inline float float_of_half(unsigned bits) {
  const unsigned exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                     : exponent == 0 ? std::ldexp((float)fraction, -24)
                                     : std::ldexp((float)(1024 + fraction), (int)exponent - 25);
  return bits & 0x8000 ? -size : size;
}

inline unsigned short half_of_float(float x) {
  const unsigned sign = std::signbit(x) ? 0x8000 : 0;
  const float size = std::fabs(x);
  if (std::isnan(x)) return 0x7e00;
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size < std::ldexp(1.0f, -14)) return sign | (unsigned)std::nearbyint(std::ldexp(size, 24));
  const int exponent = std::ilogb(size);
  const unsigned fraction = (unsigned)std::nearbyint(std::ldexp(size, 10 - exponent)) - 1024;
  return sign | (((unsigned)(exponent + 15) << 10) + fraction);
}

#define EMULATE(KERNEL)                                                                                            \
  template <class Task> size_t size_of_task(void (*)(Task)) { return sizeof(Task); }          \
  inline thread_local const void *emulated_task;                                                                   \
  template <class Task> void call(void (*kernel)(Task)) { kernel(*(const Task *)emulated_task); }                  \
  /* 0: done; 1: the task has another size; 2: threads wait for ever. */                                           \
  extern "C" int emulate(const unsigned *grid, const unsigned *size, const void *task, size_t task_size,           \
                         int order) {                                                                              \
    using namespace emulation;                                                                                     \
    if (size_of_task(KERNEL) != task_size) return 1;                                                               \
    emulated_task = task;                                                                                          \
    body = [] { call(KERNEL); };                                                                                   \
    block.grid = {grid[0], grid[1], grid[2]};                                                                      \
    block.size = {size[0], size[1], size[2]};                                                                      \
    std::vector<Thread> threads(size[0] * size[1] * size[2]);                                                      \
    std::vector<Warp> warps((threads.size() + 31) / 32);                                                           \
    for (unsigned i = 0; i < threads.size(); ++i) {                                                                \
      threads[i].index = {i % size[0], i / size[0] % size[1], i / size[0] / size[1]};                              \
    }                                                                                                              \
    unsigned random = 0;                                                                                           \
    const unsigned long blocks = (unsigned long)grid[0] * grid[1] * grid[2];                                       \
    for (unsigned long turn = 0; turn < blocks; ++turn) {                                                          \
      const unsigned long at = order == BACKWARDS ? blocks - 1 - turn : turn;                                      \
      block.index = {(unsigned)(at % grid[0]), (unsigned)(at / grid[0] % grid[1]),                                 \
                     (unsigned)(at / grid[0] / grid[1])};                                                          \
      std::memset(__start_emulated_shared, 0xff, __stop_emulated_shared - __start_emulated_shared);                \
      if (!run_block(threads, warps, (Order)order, random)) return 2;                                              \
    }                                                                                                              \
    return 0;                                                                                                      \
  }
