// The backward convolution; kernel.cu, which stands before it, tells how.
//
// With dsum[t] the gradient by the sum before the activation, input i has the gradient
// sum over k of taps[k] dsum[i + TAPS - 1 - k]: a piece needs dsum of TAPS - 1 steps of the next.

struct Backward {
  Convolution convolution;
  Rows<const X> dy;
  // (batch, d_inner, TAPS - 1), or null
  const Real *dfinal_window;
  i64 pieces;
  // (batch, length, d_inner)
  X *dx;
  // (batch * pieces, d_inner, TAPS), (batch * pieces, d_inner)
  Real *dweight, *dbias;
  // (batch, d_inner, TAPS - 1), or null
  Real *dinitial_window;
};

// The gradient by a sum of these inputs.
INLINE Real gradient_of_sum(Real dy, const Place &place, const Real *inputs) {
  if (!SILU) return dy;
  // silu'(x) = s + x s (1 - s)
  const Real sum = sum_of(place.taps, place.bias, inputs), s = sigmoid(sum);
  return dy * (s + sum * s * (Real(1) - s));
}

// What input `index` has in the gradient of the final window, which holds the last inputs there were.
INLINE Real from_final_window(const Backward &task, const Place &place, i64 index) {
  const i64 k = index - place.length + BEFORE;
  if (task.dfinal_window == nullptr || k < 0 || k >= BEFORE) return Real(0);
  return task.dfinal_window[(place.sequence * task.convolution.d_inner + place.channel) * BEFORE + k];
}

extern "C" __global__ void __launch_bounds__(THREADS) causal_conv1d_backward(const Backward task) {
  const Convolution &convolution = task.convolution;
  Place place(convolution, task.pieces);
  if (place.channel >= convolution.d_inner) return;
  place.load(convolution);
  const i64 end = place.start + PIECE < convolution.length ? place.start + PIECE : convolution.length;
  X *dx = task.dx + (place.sequence * convolution.length + place.start) * convolution.d_inner + place.channel;
  Real dtaps[TAPS], dbias = 0;
#pragma unroll
  for (int k = 0; k < TAPS; ++k) dtaps[k] = 0;

  // Inputs from `start - BEFORE` to the last that a needed sum meets, and the gradients by the sums from `start`.
  Real inputs[BEFORE + AHEAD + BEFORE], dsums[AHEAD + BEFORE];
#pragma unroll
  for (int k = 0; k < 2 * BEFORE; ++k) inputs[k] = place.input(convolution, place.start - BEFORE + k);
#pragma unroll
  for (int k = 0; k < BEFORE; ++k) {
    const bool real = place.start + k < place.length;
    const Real dy = real ? Real(widen(task.dy.at(place.sequence, place.start + k)[place.channel])) : Real(0);
    dsums[k] = gradient_of_sum(dy, place, inputs + k);
  }

  // The inputs of the window met the first sums, which the first piece has.
  if (place.piece == 0 && task.dinitial_window != nullptr) {
    Real *window = task.dinitial_window + (place.sequence * convolution.d_inner + place.channel) * BEFORE;
#pragma unroll
    for (int index = 0; index < BEFORE; ++index) {
      Real gradient = from_final_window(task, place, index - BEFORE);
#pragma unroll
      for (int k = 0; k <= index; ++k) gradient += place.taps[k] * dsums[index - k];
      window[index] = gradient;
    }
  }

  for (i64 start = place.start; start < end; start += AHEAD) {
    load_ahead(inputs + 2 * BEFORE, convolution.x, place, start + BEFORE);
    load_ahead(dsums + BEFORE, task.dy, place, start + BEFORE);
#pragma unroll
    for (int step = 0; step < AHEAD; ++step) {
      dsums[BEFORE + step] = gradient_of_sum(dsums[BEFORE + step], place, inputs + BEFORE + step);
    }
    const int left = (int)(end - start < AHEAD ? end - start : AHEAD);
    const i64 real = place.length - start;
    const bool last = real < AHEAD + BEFORE;
#pragma unroll
    for (int step = 0; step < AHEAD; ++step) {
      if (step < left) {
        Real gradient = last ? from_final_window(task, place, start + step) : Real(0);
#pragma unroll
        for (int k = 0; k < TAPS; ++k) {
          gradient += place.taps[k] * dsums[step + BEFORE - k];
          dtaps[k] += dsums[step] * inputs[step + k];
        }
        dbias += dsums[step];
        put(dx, step < real ? gradient : Real(0));
      }
      dx = strode(dx, convolution.d_inner);
    }
#pragma unroll
    for (int k = 0; k < 2 * BEFORE; ++k) inputs[k] = inputs[AHEAD + k];
#pragma unroll
    for (int k = 0; k < BEFORE; ++k) dsums[k] = dsums[AHEAD + k];
  }

  const i64 row = place.sequence * task.pieces + place.piece;
#pragma unroll
  for (int k = 0; k < TAPS; ++k) task.dweight[(row * convolution.d_inner + place.channel) * TAPS + k] = dtaps[k];
  task.dbias[row * convolution.d_inner + place.channel] = dbias;
}
