// A few tokens through a Mamba block on a GPU. `kernel.rs` has the equations; names are the same.
//
// Idea. Reading the weights is what a few tokens cost, so each matrix is read once for all of them, by all
// multiprocessors: a warp takes a row. In four kinds of work, five launches:
//
//     product    [v, z] = in_proj rms_norm(x)         a warp for each row of the matrix
//     convolve   u = silu(conv1d(window, v))          a thread for each row's channel
//     product    [r, B, C] = x_proj u
//     scan       (C h + D u) silu(z), the next h      a thread for each row's channel
//     product    output = x + out_proj (...)
//
// Memory: the weights, once; the states, once each way. What lies between the launches stays in the second cache.
//
// Defined at compile time: REAL; TOKENS, at least as many as there are, a power of two; TAPS; D_STATE; THREADS.

constexpr int BEFORE = TAPS - 1;

struct Product {
  // (tokens, inner)
  const Real *x;
  // (inner): with it x is normalised on the way; or null
  const Real *norm_weight;
  double epsilon;
  // (outputs, inner)
  const Real *weight;
  // (tokens, outputs): added; or null
  const Real *residual;
  // (tokens, outputs)
  Real *to;
  i64 tokens, inner, outputs;
};

extern "C" __global__ void __launch_bounds__(THREADS) mamba_step_product(const Product task) {
  const int lane = threadIdx.x % 32;
  const i64 output = (i64)blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
  if (output >= task.outputs) return;
  const Real *row = task.weight + output * task.inner;
  Real sums[TOKENS], squares[TOKENS];
#pragma unroll
  for (int token = 0; token < TOKENS; ++token) sums[token] = squares[token] = 0;
#pragma unroll 4
  for (i64 i = lane; i < task.inner; i += 32) {
    const Real weight = row[i] * (task.norm_weight == nullptr ? Real(1) : task.norm_weight[i]);
#pragma unroll
    for (int token = 0; token < TOKENS; ++token) {
      const Real x = token < task.tokens ? task.x[token * task.inner + i] : Real(0);
      sums[token] += weight * x;
      squares[token] += x * x;
    }
  }
  // The highest bits of the lane say whose sum it has.
  const Real square = sum_over_lanes<16, 1>(squares, lane);
  Real sum = sum_over_lanes<16, 1>(sums, lane);
  constexpr int COPIES = 32 / TOKENS;
  const int token = lane / COPIES;
  if (lane % COPIES != 0 || token >= task.tokens) return;
  if (task.norm_weight != nullptr) sum /= sqrt(square / Real(task.inner) + Real(task.epsilon));
  if (task.residual != nullptr) sum += task.residual[token * task.outputs + output];
  task.to[token * task.outputs + output] = sum;
}

// Where a thread stands: a row of tokens, and a channel.
struct Place {
  i64 row, group, channel;
  bool real;

  INLINE Place(i64 rows, i64 per_group, i64 d_inner) {
    const i64 index = (i64)blockIdx.x * THREADS + threadIdx.x;
    row = index / d_inner;
    channel = index % d_inner;
    group = row / per_group;
    real = row < rows;
  }
};

struct Convolve {
  // (rows, length, 2 d_inner): v, z
  const Real *projected;
  // (d_inner, TAPS), (d_inner)
  const Real *weight, *bias;
  // (groups, d_inner, TAPS - 1), of any strides
  const Real *window;
  i64 strides[3];
  // (rows, length, d_inner)
  Real *u;
  // (rows, d_inner, TAPS - 1), or null
  Real *final_window;
  i64 rows, per_group, length, d_inner;
};

extern "C" __global__ void __launch_bounds__(THREADS) mamba_step_convolve(const Convolve task) {
  const Place place(task.rows, task.per_group, task.d_inner);
  if (!place.real) return;
  Real inputs[TAPS];
#pragma unroll
  for (int k = 0; k < BEFORE; ++k) {
    inputs[k] = task.window[place.group * task.strides[0] + place.channel * task.strides[1] + k * task.strides[2]];
  }
  for (i64 time = 0; time < task.length; ++time) {
    const i64 token = place.row * task.length + time;
    inputs[BEFORE] = task.projected[token * 2 * task.d_inner + place.channel];
    Real sum = task.bias[place.channel];
#pragma unroll
    for (int k = 0; k < TAPS; ++k) sum += task.weight[place.channel * TAPS + k] * inputs[k];
    task.u[token * task.d_inner + place.channel] = sum * sigmoid(sum);
#pragma unroll
    for (int k = 0; k < BEFORE; ++k) inputs[k] = inputs[k + 1];
  }
  if (task.final_window == nullptr) return;
#pragma unroll
  for (int k = 0; k < BEFORE; ++k) {
    task.final_window[(place.row * task.d_inner + place.channel) * BEFORE + k] = inputs[k];
  }
}

struct Scan {
  // As above.
  const Real *projected, *u;
  // (rows, length, dt_rank + 2 D_STATE): r, B, C
  const Real *selected;
  // (d_inner, dt_rank), (d_inner), (d_inner, D_STATE), (d_inner)
  const Real *dt_weight, *dt_bias, *a_log, *d;
  // (groups, d_inner, D_STATE), of any strides
  const Real *state;
  i64 strides[3];
  // (rows, length, d_inner)
  Real *y;
  // (rows, d_inner, D_STATE), or null
  Real *final_state;
  i64 rows, per_group, length, d_inner, dt_rank;
};

extern "C" __global__ void __launch_bounds__(THREADS) mamba_step_scan(const Scan task) {
  const Place place(task.rows, task.per_group, task.d_inner);
  if (!place.real) return;
  constexpr Real LOG2_E = 1.4426950408889634;
  Real h[D_STATE], rates[D_STATE];
#pragma unroll
  for (int n = 0; n < D_STATE; ++n) {
    h[n] = task.state[place.group * task.strides[0] + place.channel * task.strides[1] + n * task.strides[2]];
    rates[n] = -exp2_fast(task.a_log[place.channel * D_STATE + n] * LOG2_E) * LOG2_E;
  }
  for (i64 time = 0; time < task.length; ++time) {
    const i64 token = place.row * task.length + time;
    const Real *r = task.selected + token * (task.dt_rank + 2 * D_STATE);
    const Real *b = r + task.dt_rank, *c = b + D_STATE;
    Real delta = task.dt_bias[place.channel];
    for (i64 k = 0; k < task.dt_rank; ++k) delta += task.dt_weight[place.channel * task.dt_rank + k] * r[k];
    delta = softplus(delta);
    const Real u = task.u[token * task.d_inner + place.channel];
    const Real z = task.projected[(token * 2 + 1) * task.d_inner + place.channel];
    Real sum = task.d[place.channel] * u;
#pragma unroll
    for (int n = 0; n < D_STATE; ++n) {
      h[n] = exp2_fast(delta * rates[n]) * h[n] + delta * u * b[n];
      sum += h[n] * c[n];
    }
    task.y[token * task.d_inner + place.channel] = sum * z * sigmoid(z);
  }
  if (task.final_state == nullptr) return;
#pragma unroll
  for (int n = 0; n < D_STATE; ++n) {
    task.final_state[(place.row * task.d_inner + place.channel) * D_STATE + n] = h[n];
  }
}
