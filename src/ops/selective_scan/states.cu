// The forward scan once more for the backward: it leaves the states before each tile of time; kernel.cu, which
// stands before it, tells how.

struct Visit {
  Scan scan;
  // As `before_tile` orders them.
  States *starts;
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) selective_scan_states(const Visit task) {
  const Scan &scan = task.scan;
  const int spans = (int)((scan.d_inner + THREADS - 1) / THREADS);
  const i64 sequence = blockIdx.x / spans;
  const Lane lane(blockIdx.x % spans, scan.d_inner);
  const i64 length = real_length(scan, sequence);
  const Real bias = lane.real && scan.delta_bias != nullptr ? scan.delta_bias[lane.channel] : Real(0);

  __shared__ Steps shared_steps[WARPS];
  __shared__ Selection::Buffer buffers[2];
  Steps &steps = shared_steps[lane.warp];

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
    __syncwarp();
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
      const Real delta_here = step_size(delta.at[step], bias, step < left);
      steps.delta[step][lane.lane] = delta_here;
      steps.delta_u[step][lane.lane] = delta_here * Real(widen(u.at[step]));
    }
    u.take_off(scan.u, sequence, next, left_next, lane);
    delta.take_off(scan.delta, sequence, next, left_next, lane);

#pragma unroll 1
    for (int block = 0; block < BLOCKS; ++block) {
      States *to = task.starts + before_tile(scan, sequence, start / STEPS, block, lane);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        States before;
#pragma unroll
        for (int n = 0; n < STATES; ++n) before.at[n] = h.at[block][k][n];
        if (lane.warp_real) to[k * 32] = before;
      }
      // The end of the last tile is not asked for.
      if (left <= STEPS) continue;
      selection.land(buffers[turn]);
      __syncthreads();
      const bool last = block + 1 == BLOCKS;
      selection.take_off(scan, sequence, last ? next : start, last ? left_next : left, last ? 0 : block + 1);
#pragma unroll 2
      for (int step = 0; step < STEPS; ++step) {
        const Quad delta_quad = of_quad(steps.delta[step], lane), delta_u_quad = of_quad(steps.delta_u[step], lane);
        advance(h.at[block], rates.at[block], delta_quad, delta_u_quad, of_slice(buffers[turn].at[step][0], lane));
      }
      turn ^= 1;
    }
  }
}
