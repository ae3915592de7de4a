// The forward convolution; kernel.cu, which stands before it, tells how.

struct Forward {
  Convolution convolution;
  i64 pieces;
  // (batch, length, d_inner)
  X *y;
  // (batch, d_inner, TAPS - 1)
  Real *final_window;
};

extern "C" __global__ void __launch_bounds__(THREADS) causal_conv1d_forward(const Forward task) {
  const Convolution &convolution = task.convolution;
  Place place(convolution, task.pieces);
  if (place.channel >= convolution.d_inner) return;
  place.load(convolution);
  const i64 end = place.start + PIECE < convolution.length ? place.start + PIECE : convolution.length;
  X *y = task.y + (place.sequence * convolution.length + place.start) * convolution.d_inner + place.channel;

  // The TAPS - 1 inputs before the next AHEAD, and those.
  Real inputs[BEFORE + AHEAD];
#pragma unroll
  for (int k = 0; k < BEFORE; ++k) inputs[k] = place.input(convolution, place.start - BEFORE + k);
  for (i64 start = place.start; start < end; start += AHEAD) {
    load_ahead(inputs + BEFORE, convolution.x, place, start);
    const int left = (int)(end - start < AHEAD ? end - start : AHEAD);
    const i64 real = place.length - start;
#pragma unroll
    for (int step = 0; step < AHEAD; ++step) {
      const Real sum = sum_of(place.taps, place.bias, inputs + step);
      const Real value = SILU ? sum * sigmoid(sum) : sum;
      if (step < left) put(y, step < real ? value : Real(0));
      y = strode(y, convolution.d_inner);
    }
#pragma unroll
    for (int k = 0; k < BEFORE; ++k) inputs[k] = inputs[AHEAD + k];
  }

  if (task.final_window != nullptr && place.piece == 0) {
    Real *window = task.final_window + (place.sequence * convolution.d_inner + place.channel) * BEFORE;
#pragma unroll
    for (int k = 0; k < BEFORE; ++k) window[k] = place.input(convolution, place.length - BEFORE + k);
  }
}
