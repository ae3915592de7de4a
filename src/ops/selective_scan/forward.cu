// The forward scan; kernel.cu, which stands before it, tells how.

struct Forward {
  Scan scan;
  // (batch, length, d_inner)
  U *y;
  // (batch, d_inner, d_state)
  Real *final_state;
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) selective_scan_forward(const Forward task) {
  const Scan &scan = task.scan;
  const int spans = (int)((scan.d_inner + THREADS - 1) / THREADS);
  const i64 sequence = blockIdx.x / spans;
  const Lane lane(blockIdx.x % spans, scan.d_inner);
  const i64 length = real_length(scan, sequence);
  const Real bias = lane.real && scan.delta_bias != nullptr ? scan.delta_bias[lane.channel] : Real(0);
  const Real skip = lane.real && scan.d != nullptr ? scan.d[lane.channel] : Real(0);

  __shared__ Steps shared_steps[WARPS];
  __shared__ Selection::Buffer buffers[2];
  // Of owners, for whom the loop over steps would otherwise have to be unrolled whole.
  __shared__ Real shared_y[WARPS][STEPS][32];
  Steps &steps = shared_steps[lane.warp];
  auto &y = shared_y[lane.warp];

  Tile rates, h;
  load_rates(rates, lane, scan);
  load_initial(h, sequence / scan.per_group, lane, scan);

  Flight<U> u;
  Flight<DELTA> delta;
  Selection selection;
  u.take_off(scan.u, sequence, 0, left_from(0, length), lane);
  delta.take_off(scan.delta, sequence, 0, left_from(0, length), lane);
  selection.take_off(scan, sequence, 0, left_from(0, length), 0);

  int turn = 0;
  for (i64 start = 0; start < length; start += STEPS) {
    const i64 next = start + STEPS;
    const int left = left_from(start, length), left_next = left - STEPS;
    Flight<Z> z;
    __syncwarp();
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
      const Real u_here = Real(widen(u.at[step]));
      const Real delta_here = step_size(delta.at[step], bias, step < left);
      steps.delta[step][lane.lane] = delta_here;
      steps.delta_u[step][lane.lane] = delta_here * u_here;
      y[step][lane.lane] = skip * u_here;
    }
    u.take_off(scan.u, sequence, next, left_next, lane);
    delta.take_off(scan.delta, sequence, next, left_next, lane);
    // The gate is wanted last.
    if (GATED) z.take_off(scan.z, sequence, start, left, lane);

#pragma unroll 1
    for (int block = 0; block < BLOCKS; ++block) {
      selection.land(buffers[turn]);
      __syncthreads();
      const bool last = block + 1 == BLOCKS;
      selection.take_off(scan, sequence, last ? next : start, last ? left_next : left, last ? 0 : block + 1);
#pragma unroll 4
      for (int step = 0; step < STEPS; ++step) {
        const Quad delta_quad = of_quad(steps.delta[step], lane), delta_u_quad = of_quad(steps.delta_u[step], lane);
        advance(h.at[block], rates.at[block], delta_quad, delta_u_quad, of_slice(buffers[turn].at[step][0], lane));
        const Real sum = read(h.at[block], of_slice(buffers[turn].at[step][1], lane), lane.lane);
        y[step][lane.lane] += sum;
      }
      turn ^= 1;
    }
    U *to = task.y + (sequence * scan.length + start) * scan.d_inner + lane.channel;
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
      Real y_here = y[step][lane.lane];
      if (GATED) {
        const Real z_here = Real(widen(z.at[step]));
        y_here *= z_here * sigmoid(z_here);
      }
      if (lane.real && step < left) put(to, y_here);
      to = strode(to, scan.d_inner);
    }
  }
  if (lane.real) {
#pragma unroll 1
    for (i64 time = length; time < scan.length; ++time) {
      put(task.y + (sequence * scan.length + time) * scan.d_inner + lane.channel, Real(0));
    }
  }
  if (task.final_state != nullptr) {
    h.store(task.final_state + sequence * scan.d_inner * scan.d_state, lane, scan);
  }
}
