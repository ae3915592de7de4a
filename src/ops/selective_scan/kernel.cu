// The selective scan on a GPU. `kernel.rs` has the equation; sizes and names are the same.
//
// Idea. A channel's recurrence runs over time in one place, its states in registers: with batch x d_inner in
// the tens of thousands there are channels enough to fill a GPU without cutting time. The 4 lanes of a *quad*
// share 4 channels and BLOCK = 4 STATES of their states, a tile of 4 channels x STATES states each:
//
//     lane 4q + s:  channels 4q .. 4q + 3,  states s STATES .. (s + 1) STATES
//
// so that B and C are read from shared memory once for four channels, and three quarters of all sums over
// states (for y) or channels (for the gradients of B and C) stay within a lane. Each lane also *owns* channel
// 4q + s: it loads its u, delta, z (32 neighbours for a warp: whole lines), computes softplus, gate and skip,
// and stores its results. What the quad needs of an owner goes through shared memory, STEPS times at once,
// while the next STEPS are on their way from memory into registers. More than BLOCK states are taken in blocks,
// whose states lie in local memory between tiles of time; such scans are right, not tuned.
//
// Grid: one block of threads for THREADS channels of a sequence (forward) or of `run` sequences one after
// another (backward); x = row * spans + span.
//
// Memory: forward reads u, delta, z and writes y, each once; B and C once for each span, from the second cache.
// Backward reads u and delta twice, z and dy once, writes du, ddelta, dz, and writes and reads its own states
// every STEPS times (one number of 4 for each state, so 16 / STEPS per element). Its limit is rather the
// 3 d_state powers of two per element, of which a multiprocessor computes 16 in a cycle; the forward needs
// d_state. No atomics: sums over channels and sequences go to workspaces by span and row, summed in order later.
//
// Defined at compile time: REAL; the element types U (of u, y, dy), DELTA, Z, BC; GATED, SOFTPLUS; STATES (1, 2
// or 4), BLOCKS; THREADS; RESIDENT, blocks of threads that shall fit on a multiprocessor; STEPS (1, 2, 4 or 8).

constexpr int BLOCK = 4 * STATES;
constexpr int WARPS = THREADS / 32;

using States = Pack<Real, STATES>;
using Quad = Pack<Real, 4>;

struct Scan {
  Rows<const U> u;
  Rows<const DELTA> delta;
  Rows<const Z> z;
  Rows<const BC> b, c;
  // (d_inner, d_state), (d_inner), (d_inner)
  const Real *a, *d, *delta_bias;
  // (groups, d_inner, d_state), of any strides
  const Real *initial_state;
  i64 state_strides[3];
  const i64 *lengths;
  i64 batch, per_group, length;
  i64 d_inner;
  int d_state;
};

// Where a lane stands.
struct Lane {
  int lane, warp, slice;
  // The channel it owns, the quad's first, whether the owned one exists, and whether any of the warp's does.
  i64 channel, first;
  bool real, warp_real;

  INLINE Lane(int span, i64 d_inner) {
    lane = threadIdx.x % 32;
    warp = threadIdx.x / 32;
    slice = lane % 4;
    channel = (i64)span * THREADS + threadIdx.x;
    first = channel - slice;
    real = channel < d_inner;
    warp_real = channel - lane < d_inner;
  }
};

// A lane's tile of every block of states.
struct Tile {
  Real at[BLOCKS][4][STATES];

  // From an array of (channels, states) with the given strides; what does not exist is zero.
  INLINE void load(const Real *from, i64 channel_stride, i64 state_stride, const Lane &lane, const Scan &scan) {
    for (int block = 0; block < BLOCKS; ++block) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int n = 0; n < STATES; ++n) {
          const i64 channel = lane.first + k, state = block * BLOCK + lane.slice * STATES + n;
          const bool real = from != nullptr && channel < scan.d_inner && state < scan.d_state;
          at[block][k][n] = real ? from[channel * channel_stride + state * state_stride] : Real(0);
        }
      }
    }
  }

  // Adds a contiguous (d_inner, d_state) array.
  INLINE void add(const Real *from, const Lane &lane, const Scan &scan) {
    for (int block = 0; block < BLOCKS; ++block) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int n = 0; n < STATES; ++n) {
          const i64 channel = lane.first + k, state = block * BLOCK + lane.slice * STATES + n;
          if (channel < scan.d_inner && state < scan.d_state) at[block][k][n] += from[channel * scan.d_state + state];
        }
      }
    }
  }

  // To one.
  INLINE void store(Real *to, const Lane &lane, const Scan &scan) const {
    for (int block = 0; block < BLOCKS; ++block) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int n = 0; n < STATES; ++n) {
          const i64 channel = lane.first + k, state = block * BLOCK + lane.slice * STATES + n;
          if (channel < scan.d_inner && state < scan.d_state) to[channel * scan.d_state + state] = at[block][k][n];
        }
      }
    }
  }
};

INLINE i64 real_length(const Scan &scan, i64 sequence) {
  if (scan.lengths == nullptr) return scan.length;
  const i64 length = scan.lengths[sequence];
  return length < 0 ? 0 : (length > scan.length ? scan.length : length);
}

// Of the steps of a tile, and a few more, those that are left from `start` on.
INLINE int left_from(i64 start, i64 length) {
  const i64 left = length - start;
  return left < 2 * STEPS ? (int)left : 2 * STEPS;
}

INLINE void load_rates(Tile &rates, const Lane &lane, const Scan &scan) {
  rates.load(scan.a, scan.d_state, 1, lane, scan);
  for (int block = 0; block < BLOCKS; ++block) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int n = 0; n < STATES; ++n) rates.at[block][k][n] *= Real(1.4426950408889634);
    }
  }
}

INLINE void load_initial(Tile &h, i64 group, const Lane &lane, const Scan &scan) {
  const Real *from = scan.initial_state;
  if (from != nullptr) from += group * scan.state_strides[0];
  h.load(from, scan.state_strides[1], scan.state_strides[2], lane, scan);
}

// STEPS times of an owned channel on their way from memory, as they lie there.
template <class T> struct Flight {
  T at[STEPS];

  // Of `left` steps that are left from `start` on; none are read beyond.
  INLINE void take_off(const Rows<const T> &from, i64 sequence, i64 start, int left, const Lane &lane) {
    const T *row = from.at(sequence, start) + lane.channel;
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
      at[step] = lane.real && step < left ? *row : zero<T>();
      row = strode(row, from.time_stride);
    }
  }
};

// B and C of a tile of time and a block of states, which all threads carry to shared memory together: a thread
// always the same of B or C and the same state, every EVERY steps. Two buffers, taken in turns: one barrier between
// writing and reading is enough.
struct Selection {
  static constexpr int EVERY = THREADS / (2 * BLOCK);
  static constexpr int SHARE = (STEPS + EVERY - 1) / EVERY;
  struct alignas(16) Buffer { Real at[STEPS][2][BLOCK]; };

  BC at[SHARE];

  static INLINE int first_step() { return threadIdx.x / (2 * BLOCK); }
  static INLINE int which() { return threadIdx.x / BLOCK % 2; }
  static INLINE int state(int block) { return block * BLOCK + threadIdx.x % BLOCK; }

  INLINE void take_off(const Scan &scan, i64 sequence, i64 start, int left, int block) {
    const Rows<const BC> &from = which() == 0 ? scan.b : scan.c;
    const BC *number = from.at(sequence, start + first_step()) + state(block);
    const bool real = state(block) < scan.d_state;
#pragma unroll
    for (int i = 0; i < SHARE; ++i) {
      const int step = first_step() + i * EVERY;
      at[i] = real && step < left && step < STEPS ? *number : zero<BC>();
      number = strode(number, EVERY * from.time_stride);
    }
  }

  INLINE void land(Buffer &buffer) const {
#pragma unroll
    for (int i = 0; i < SHARE; ++i) {
      const int step = first_step() + i * EVERY;
      if (step < STEPS) buffer.at[step][which()][threadIdx.x % BLOCK] = widen(at[i]);
    }
  }
};

// What owners share with their quads: softplus(delta) and delta u, STEPS times.
struct alignas(16) Steps {
  Real delta[STEPS][32];
  Real delta_u[STEPS][32];
};

INLINE Quad of_quad(const Real (&row)[32], const Lane &lane) {
  return *reinterpret_cast<const Quad *>(&row[lane.lane - lane.slice]);
}

INLINE States of_slice(const Real (&row)[BLOCK], const Lane &lane) {
  return *reinterpret_cast<const States *>(&row[lane.slice * STATES]);
}

// A step size that passes time as it should: none beyond the sequence, where h must stay.
INLINE Real step_size(DELTA given, Real bias, bool real) {
  const Real raw = Real(widen(given)) + bias, step = SOFTPLUS ? softplus(raw) : raw;
  return real ? step : Real(0);
}

// Takes a tile of states one step further.
INLINE void advance(Real (&h)[4][STATES], const Real (&rates)[4][STATES], const Quad &delta, const Quad &delta_u,
                    const States &b) {
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int n = 0; n < STATES; ++n) {
      h[k][n] = exp2_fast(delta.at[k] * rates[k][n]) * h[k][n] + delta_u.at[k] * b.at[n];
    }
  }
}

// Where the workspace (batch, tiles of time, warps of channels, BLOCKS, 4, 32) has a lane's states before a tile
// of time, for the first of its channels: the others' lie 32 further.
INLINE i64 before_tile(const Scan &scan, i64 sequence, i64 tile, int block, const Lane &lane) {
  const i64 tiles = (scan.length + STEPS - 1) / STEPS, warps = (scan.d_inner + 31) / 32;
  return (((sequence * tiles + tile) * warps + lane.channel / 32) * BLOCKS + block) * (4 * 32) + lane.lane;
}

// C h of the channel that the lane owns, over the states of a block.
INLINE Real read(const Real (&h)[4][STATES], const States &c, int lane) {
  Real sums[4];
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    sums[k] = h[k][0] * c.at[0];
#pragma unroll
    for (int n = 1; n < STATES; ++n) sums[k] += h[k][n] * c.at[n];
  }
  return sum_over_lanes<2, 1>(sums, lane);
}
