// The backward scan; kernel.cu, which stands before it, tells how.

struct Backward {
  Scan scan;
  Rows<const U> dy;
  // (batch, d_inner, d_state), or null
  const Real *dfinal_state;
  // Sequences of a row of blocks, and how many of those, or all, share a gradient by the initial state.
  i64 run, shared;
  // What `selective_scan_states` left.
  const States *starts;
  // (batch, length, d_inner)
  U *du;
  DELTA *ddelta;
  Z *dz;
  // (rows, d_inner, d_state)
  Real *da;
  // (batch / shared, d_inner, d_state), or null
  Real *dinitial_state;
  // (2, spans, batch, length, d_state): B's, C's
  Real *dselection;
  // (rows, d_inner)
  Real *dd, *ddelta_bias;
};

constexpr Real LN_2 = 0.6931471805599453;

// Of a warp: the gradients that owners share with their quads and get back from them, C h, and the states
// before each step of a tile of time.
struct alignas(16) Gradients {
  Real dy[STEPS][32];
  Real ddelta[STEPS][32];
  Real ddelta_u[STEPS][32];
  Real softplus_slope[STEPS][32];
  Real y[STEPS][32];
  // All but the first, which `starts` has.
  States before[STEPS > 1 ? STEPS - 1 : 1][4][32];
};

INLINE void copy(Real (&to)[4][STATES], const Real (&from)[4][STATES]) {
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int n = 0; n < STATES; ++n) to[k][n] = from[k][n];
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) selective_scan_backward(const Backward task) {
  const Scan &scan = task.scan;
  const int spans = (int)((scan.d_inner + THREADS - 1) / THREADS);
  const i64 row = blockIdx.x / spans;
  const int span = blockIdx.x % spans;
  const Lane lane(span, scan.d_inner);
  const Real bias = lane.real && scan.delta_bias != nullptr ? scan.delta_bias[lane.channel] : Real(0);
  const Real skip = lane.real && scan.d != nullptr ? scan.d[lane.channel] : Real(0);

  __shared__ Steps shared_steps[WARPS];
  __shared__ Gradients shared_gradients[WARPS];
  __shared__ Selection::Buffer buffers[2];
  __shared__ Selection::Buffer sums[WARPS];
  Steps &steps = shared_steps[lane.warp];
  Gradients &gradients = shared_gradients[lane.warp];

  Tile rates, da;
  load_rates(rates, lane, scan);
  da.load(nullptr, 0, 0, lane, scan);
  Real dskip = 0, dbias = 0;
  int turn = 0;

  const i64 end = (row + 1) * task.run < scan.batch ? (row + 1) * task.run : scan.batch;
  for (i64 sequence = row * task.run; sequence < end; ++sequence) {
    const i64 length = real_length(scan, sequence);
    const i64 tiles = (length + STEPS - 1) / STEPS;
    Flight<U> u, dy;
    Flight<DELTA> delta;
    Flight<Z> z;
    Selection selection;

    Tile dh;
    const Real *dfinal = task.dfinal_state;
    if (dfinal != nullptr) dfinal += sequence * scan.d_inner * scan.d_state;
    dh.load(dfinal, scan.d_state, 1, lane, scan);

    const i64 elements = sequence * scan.length * scan.d_inner + lane.channel;
    const i64 to_c = spans * scan.batch * scan.length * scan.d_state;
    Real *dselection = task.dselection + (span * scan.batch + sequence) * scan.length * scan.d_state;
    const i64 last_start = (tiles - 1) * STEPS;
    const int last_left = left_from(last_start, length);
    if (tiles > 0) {
      u.take_off(scan.u, sequence, last_start, last_left, lane);
      delta.take_off(scan.delta, sequence, last_start, last_left, lane);
      dy.take_off(task.dy, sequence, last_start, last_left, lane);
      if (GATED) z.take_off(scan.z, sequence, last_start, last_left, lane);
      selection.take_off(scan, sequence, last_start, last_left, 0);
    }
    for (i64 tile = tiles - 1; tile >= 0; --tile) {
      const i64 start = tile * STEPS;
      const int left = left_from(start, length);
      Real u_own[STEPS], dy_slope[STEPS];
      __syncwarp();
#pragma unroll
      for (int step = 0; step < STEPS; ++step) {
        u_own[step] = Real(widen(u.at[step]));
        const Real delta_here = step_size(delta.at[step], bias, step < left);
        Real dy_here = Real(widen(dy.at[step]));
        if (GATED) {
          // silu'(z) = s + z s (1 - s)
          const Real z_here = Real(widen(z.at[step])), s = sigmoid(z_here), gate = z_here * s;
          dy_slope[step] = dy_here * (s + gate * (Real(1) - s));
          dy_here *= gate;
        }
        gradients.y[step][lane.lane] = skip * u_own[step];
        dskip += dy_here * u_own[step];
        steps.delta[step][lane.lane] = delta_here;
        steps.delta_u[step][lane.lane] = delta_here * u_own[step];
        gradients.dy[step][lane.lane] = dy_here;
        if (SOFTPLUS) gradients.softplus_slope[step][lane.lane] = sigmoid(Real(widen(delta.at[step])) + bias);
        if (BLOCKS > 1) gradients.ddelta[step][lane.lane] = gradients.ddelta_u[step][lane.lane] = 0;
      }
      const i64 next = tile > 0 ? start - STEPS : 0;
      const int left_next = tile > 0 ? STEPS : 0;
      u.take_off(scan.u, sequence, next, left_next, lane);
      delta.take_off(scan.delta, sequence, next, left_next, lane);
      dy.take_off(task.dy, sequence, next, left_next, lane);
      if (GATED) z.take_off(scan.z, sequence, next, left_next, lane);

#pragma unroll 1
      for (int block = 0; block < BLOCKS; ++block) {
        const States *here = task.starts + before_tile(scan, sequence, tile, block, lane);
        Real h[4][STATES];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const States before = lane.warp_real ? here[k * 32] : States();
#pragma unroll
          for (int n = 0; n < STATES; ++n) h[k][n] = before.at[n];
        }
        selection.land(buffers[turn]);
        __syncthreads();
        const bool last = block + 1 == BLOCKS;
        selection.take_off(scan, sequence, last ? next : start, last ? left_next : left, last ? 0 : block + 1);

#pragma unroll 2
        for (int step = 0; step < STEPS; ++step) {
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            States before;
#pragma unroll
            for (int n = 0; n < STATES; ++n) before.at[n] = h[k][n];
            if (step > 0) gradients.before[step - 1][k][lane.lane] = before;
          }
          if (step + 1 == STEPS && !GATED) break;
          const Quad delta_quad = of_quad(steps.delta[step], lane), delta_u_quad = of_quad(steps.delta_u[step], lane);
          advance(h, rates.at[block], delta_quad, delta_u_quad, of_slice(buffers[turn].at[step][0], lane));
          if (GATED) {
            const Real sum = read(h, of_slice(buffers[turn].at[step][1], lane), lane.lane);
            gradients.y[step][lane.lane] += sum;
          }
        }

        Real dh_here[4][STATES], da_here[4][STATES], rates_here[4][STATES];
        copy(dh_here, dh.at[block]);
        copy(da_here, da.at[block]);
        copy(rates_here, rates.at[block]);
#pragma unroll 2
        for (int step = STEPS - 1; step >= 0; --step) {
          const Quad delta_quad = of_quad(steps.delta[step], lane), delta_u_quad = of_quad(steps.delta_u[step], lane),
                     dy_quad = of_quad(gradients.dy[step], lane);
          const States b = of_slice(buffers[turn].at[step][0], lane), c = of_slice(buffers[turn].at[step][1], lane);
          States before[4];
          if (step > 0) {
#pragma unroll
            for (int k = 0; k < 4; ++k) before[k] = gradients.before[step - 1][k][lane.lane];
          } else {
#pragma unroll
            for (int k = 0; k < 4; ++k) before[k] = lane.warp_real ? here[k * 32] : States();
          }
          Real to_selection[2 * STATES], ddelta[4], ddelta_u[4];
#pragma unroll
          for (int n = 0; n < 2 * STATES; ++n) to_selection[n] = 0;
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            ddelta[k] = 0;
            ddelta_u[k] = 0;
#pragma unroll
            for (int n = 0; n < STATES; ++n) {
              const Real decay = exp2_fast(delta_quad.at[k] * rates_here[k][n]);
              const Real kept = decay * before[k].at[n];
              const Real after = delta_u_quad.at[k] * b.at[n] + kept;
              const Real dh_now = dy_quad.at[k] * c.at[n] + dh_here[k][n];
              const Real dexponent = dh_now * kept;
              to_selection[n] += dh_now * delta_u_quad.at[k];
              to_selection[STATES + n] += dy_quad.at[k] * after;
              ddelta_u[k] += dh_now * b.at[n];
              ddelta[k] += dexponent * rates_here[k][n];
              da_here[k][n] += dexponent * delta_quad.at[k];
              dh_here[k][n] = dh_now * decay;
            }
          }
          const Real to_own_delta = sum_over_lanes<2, 1>(ddelta, lane.lane);
          const Real to_own_delta_u = sum_over_lanes<2, 1>(ddelta_u, lane.lane);
          Real &ddelta_own = gradients.ddelta[step][lane.lane], &ddelta_u_own = gradients.ddelta_u[step][lane.lane];
          ddelta_own = BLOCKS > 1 ? ddelta_own + to_own_delta : to_own_delta;
          ddelta_u_own = BLOCKS > 1 ? ddelta_u_own + to_own_delta_u : to_own_delta_u;
          // The highest bits of the lane say which of 2 STATES sums it got, for its slice.
          const Real sum = sum_over_lanes<16, 4>(to_selection, lane.lane);
          constexpr int COPIES = 4 / STATES;
          if (lane.lane / 4 % COPIES == 0) {
            const int which = lane.lane / (4 * COPIES);
            sums[lane.warp].at[step][which / STATES][lane.slice * STATES + which % STATES] = sum;
          }
        }
        copy(dh.at[block], dh_here);
        copy(da.at[block], da_here);

        __syncthreads();
        const int which = Selection::which(), state = Selection::state(block);
        Real *to = dselection + which * to_c + (start + Selection::first_step()) * scan.d_state + state;
#pragma unroll
        for (int i = 0; i < Selection::SHARE; ++i) {
          const int step = Selection::first_step() + i * Selection::EVERY;
          if (step < left && step < STEPS && state < scan.d_state) {
            Real sum = sums[0].at[step][which][threadIdx.x % BLOCK];
#pragma unroll
            for (int warp = 1; warp < WARPS; ++warp) sum += sums[warp].at[step][which][threadIdx.x % BLOCK];
            *to = sum;
          }
          to = strode(to, Selection::EVERY * scan.d_state);
        }
        turn ^= 1;
      }

      i64 element = elements + start * scan.d_inner;
#pragma unroll
      for (int step = 0; step < STEPS; ++step) {
        const Real to_delta_u = gradients.ddelta_u[step][lane.lane];
        const Real du = to_delta_u * steps.delta[step][lane.lane] + gradients.dy[step][lane.lane] * skip;
        // The rates carry a factor log2(e) that the derivative by delta must not have.
        const Real to_delta = to_delta_u * u_own[step] + gradients.ddelta[step][lane.lane] * LN_2;
        const Real ddelta = SOFTPLUS ? to_delta * gradients.softplus_slope[step][lane.lane] : to_delta;
        if (lane.real && step < left) {
          dbias += ddelta;
          put(task.du + element, du);
          put(task.ddelta + element, ddelta);
          if (GATED) put(task.dz + element, dy_slope[step] * gradients.y[step][lane.lane]);
        }
        element += scan.d_inner;
      }
    }

    // Nothing of what lies beyond the sequence had a part.
    if (lane.real) {
#pragma unroll 1
      for (i64 time = length; time < scan.length; ++time) {
        const i64 element = elements + time * scan.d_inner;
        put(task.du + element, Real(0));
        put(task.ddelta + element, Real(0));
        if (GATED) put(task.dz + element, Real(0));
      }
    }
#pragma unroll 1
    for (i64 index = length * scan.d_state + threadIdx.x; index < scan.length * scan.d_state; index += THREADS) {
      dselection[index] = 0;
      dselection[to_c + index] = 0;
    }

    if (task.dinitial_state != nullptr) {
      Real *to = task.dinitial_state + sequence / task.shared * scan.d_inner * scan.d_state;
      // The lane adds to what it wrote itself.
      if (sequence % task.shared > 0) dh.add(to, lane, scan);
      dh.store(to, lane, scan);
    }
  }

  da.store(task.da + row * scan.d_inner * scan.d_state, lane, scan);
  if (lane.real) {
    task.dd[row * scan.d_inner + lane.channel] = dskip;
    task.ddelta_bias[row * scan.d_inner + lane.channel] = dbias;
  }
}
