// The causal depthwise convolution on a GPU. `kernel.rs` has the equation; sizes and names are the same. With `e`
// the window of TAPS - 1 inputs followed by the sequence, y[t] meets e[t] .. e[t + TAPS - 1].
//
// Idea. A thread takes one channel over a piece of time, its taps and its last TAPS inputs in registers; the 32
// threads of a warp take neighbouring channels, so that each access is to whole lines. AHEAD loads are under way
// at once. Pieces of time are there to fill the device when there are few sequences.
//
// Grid: x = (sequence * pieces + piece) * spans + span, a span being THREADS channels.
//
// Memory: forward reads x and writes y once, and TAPS - 1 inputs more for each piece; backward reads x and dy and
// writes dx once, and reads 2 (TAPS - 1) rows more of x and TAPS - 1 of dy for each piece. Nothing is computed
// that would take longer. No atomics: the gradients by weight, bias and window go to workspaces by piece or
// sequence, summed in order later.
//
// Defined at compile time: REAL; the element type X of x, y and dy; TAPS, SILU, THREADS, PIECE (steps of a piece).

constexpr int BEFORE = TAPS - 1;
constexpr int AHEAD = 8;

struct Convolution {
  Rows<const X> x;
  // (d_inner, TAPS), (d_inner)
  const Real *weight, *bias;
  // (groups, d_inner, TAPS - 1), of any strides
  const Real *initial_window;
  i64 window_strides[3];
  const i64 *lengths;
  i64 batch, per_group, length;
  i64 d_inner;
};

INLINE i64 real_length(const Convolution &convolution, i64 sequence) {
  if (convolution.lengths == nullptr) return convolution.length;
  const i64 length = convolution.lengths[sequence];
  return length < 0 ? 0 : (length > convolution.length ? convolution.length : length);
}

// Where a thread stands, and what its channel has.
struct Place {
  i64 sequence, group, channel, piece, start, length;
  Real taps[TAPS], bias;

  INLINE Place(const Convolution &convolution, i64 pieces) {
    const i64 spans = (convolution.d_inner + THREADS - 1) / THREADS;
    const i64 row = blockIdx.x / spans;
    sequence = row / pieces;
    piece = row % pieces;
    group = sequence / convolution.per_group;
    start = piece * PIECE;
    channel = blockIdx.x % spans * THREADS + threadIdx.x;
    length = real_length(convolution, sequence);
  }

  INLINE void load(const Convolution &convolution) {
#pragma unroll
    for (int k = 0; k < TAPS; ++k) taps[k] = convolution.weight[channel * TAPS + k];
    bias = convolution.bias == nullptr ? Real(0) : convolution.bias[channel];
  }

  // Input `index` of the sequence: before it the window's, beyond it none.
  INLINE Real input(const Convolution &convolution, i64 index) const {
    if (index >= 0) return index < length ? Real(widen(convolution.x.at(sequence, index)[channel])) : Real(0);
    if (convolution.initial_window == nullptr) return Real(0);
    const i64 *strides = convolution.window_strides;
    return convolution.initial_window[group * strides[0] + channel * strides[1] + (index + BEFORE) * strides[2]];
  }
};

// AHEAD rows of a channel from `start` on, zero beyond the sequence: loads that do not wait for one another.
INLINE void load_ahead(Real *to, const Rows<const X> &from, const Place &place, i64 start) {
  const int left = place.length - start < AHEAD ? (int)(place.length - start) : AHEAD;
  const X *row = from.at(place.sequence, start) + place.channel;
  X flight[AHEAD];
#pragma unroll
  for (int step = 0; step < AHEAD; ++step) {
    flight[step] = step < left ? *row : zero<X>();
    row = strode(row, from.time_stride);
  }
#pragma unroll
  for (int step = 0; step < AHEAD; ++step) to[step] = Real(widen(flight[step]));
}

// The sum before the activation, over TAPS inputs.
INLINE Real sum_of(const Real (&taps)[TAPS], Real bias, const Real *inputs) {
  Real sum = bias;
#pragma unroll
  for (int k = 0; k < TAPS; ++k) sum += taps[k] * inputs[k];
  return sum;
}
