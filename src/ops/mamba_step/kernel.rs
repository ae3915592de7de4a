//! A few tokens through a Mamba block on a CPU: slices and pointers, no tensors.
//!
//! For each token of a row, in order, with `h` and `window` the row's states:
//!
//! ```text
//! [v, z] = in_proj rms_norm(x)
//! u = silu(conv_bias + sum over k of conv_weight[k] e[k])      e = window followed by v
//! [r, B, C] = x_proj u
//! delta = softplus(dt_bias + dt_weight r)
//! h = exp(delta A) h + delta u B                               A = -exp(A_log)
//! output = x + out_proj ((C h + D u) silu(z))
//! ```
//!
//! What is done differently here, and why:
//!
//! 1. A matrix is read once for all tokens, in blocks of rows that the first cache holds: reading
//!    the weights is what a token costs.
//! 2. Nothing is allocated: what lies between the stages is in scratch memory of the caller's.
//! 3. Each number comes from sums in an order that the model's sizes alone decide, so that a row's
//!    results do not depend on the others.

use crate::ops::rms_norm::{Norm, normalise};
use crate::ops::simd::{Simd, dispatch};
use crate::ops::tile::Tile;

/// A state of (groups, channels, steps) numbers, in whatever order they lie.
pub(crate) struct Strided<T> {
    pub start: *const T,
    pub group: usize,
    pub channel: usize,
    pub step: usize,
}

/// The sizes of a step.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub rows: usize,
    /// Rows that continue one state.
    pub per_group: usize,
    /// Tokens of a row.
    pub length: usize,
    pub d_model: usize,
    pub d_inner: usize,
    pub d_state: usize,
    pub d_conv: usize,
    pub dt_rank: usize,
}

/// Scratch memory, a part for what each stage leaves to the next.
pub(crate) struct Scratch<T> {
    /// (tokens, d_model)
    normed: *mut T,
    /// (tokens, 2 d_inner): v, z
    projected: *mut T,
    /// (tokens, d_inner)
    u: *mut T,
    /// (tokens, dt_rank + 2 d_state): r, B, C
    selected: *mut T,
    /// (tokens, d_inner): delta, then what out_proj takes
    inner: *mut T,
    /// (max(d_conv, 3 d_state), lanes): of one tile
    tile: *mut T,
}

/// Lanes of the widest vector.
const WIDEST: usize = 16;

impl Sizes {
    /// Tokens of all rows.
    pub fn tokens(&self) -> usize {
        self.rows * self.length
    }

    fn selected(&self) -> usize {
        self.dt_rank + 2 * self.d_state
    }

    fn parts(&self) -> [usize; 6] {
        let tokens = self.tokens();
        let numbers = [
            tokens * self.d_model,
            tokens * 2 * self.d_inner,
            tokens * self.d_inner,
            tokens * self.selected(),
            tokens * self.d_inner,
            self.d_conv.max(3 * self.d_state) * WIDEST,
        ];
        // Each part begins a line of the cache.
        numbers.map(|numbers| numbers.next_multiple_of(WIDEST))
    }

    /// Numbers of scratch memory that a step needs.
    pub fn scratch(&self) -> usize {
        self.parts().iter().sum()
    }
}

impl<T> Scratch<T> {
    /// # Safety
    /// `start` must point to [`Sizes::scratch`] numbers.
    pub unsafe fn new(start: *mut T, sizes: &Sizes) -> Self {
        let mut next = start;
        let [normed, projected, u, selected, inner, tile] = sizes.parts().map(|numbers| {
            let part = next;
            // SAFETY: the parts sum up to the whole.
            next = unsafe { next.add(numbers) };
            part
        });
        Self { normed, projected, u, selected, inner, tile }
    }
}

/// A step and where its results go.
pub(crate) struct Step<T> {
    pub sizes: Sizes,
    pub epsilon: f64,
    /// (rows, length, d_model)
    pub x: *const T,
    pub norm_weight: *const T,
    /// (2 d_inner, d_model)
    pub in_proj: *const T,
    /// (d_inner, d_conv)
    pub conv_weight: *const T,
    pub conv_bias: *const T,
    /// (dt_rank + 2 d_state, d_inner)
    pub x_proj: *const T,
    /// (d_inner, dt_rank)
    pub dt_weight: *const T,
    pub dt_bias: *const T,
    /// (d_inner, d_state)
    pub a_log: *const T,
    pub d: *const T,
    /// (d_model, d_inner)
    pub out_proj: *const T,
    pub window: Strided<T>,
    pub state: Strided<T>,
    pub scratch: Scratch<T>,
    /// (rows, length, d_model)
    pub output: *mut T,
    /// (rows, d_conv - 1, d_inner), or null
    pub final_window: *mut T,
    /// (rows, d_state, d_inner), or null
    pub final_state: *mut T,
}

dispatch! {
    /// The whole step: task 0.
    trait RunStep: step(Step)
}

#[inline(always)]
unsafe fn step<S: Simd>(task: &Step<S::Scalar>, _index: usize) {
    unsafe {
        let Step { sizes, scratch, .. } = task;
        let (tokens, d_inner, selected) = (sizes.tokens(), sizes.d_inner, sizes.selected());

        let norm = Norm {
            x: task.x,
            weight: task.norm_weight,
            epsilon: task.epsilon,
            d_model: sizes.d_model,
            to: scratch.normed,
        };
        for token in 0..tokens {
            normalise::<S>(&norm, token);
        }
        let zeros = [(scratch.projected, tokens * 2 * d_inner), (scratch.selected, tokens * selected)];
        for (start, numbers) in zeros {
            std::ptr::write_bytes(start, 0, numbers);
        }
        for token in 0..tokens {
            std::ptr::copy_nonoverlapping(task.dt_bias, scratch.inner.add(token * d_inner), d_inner);
        }
        std::ptr::copy_nonoverlapping(task.x, task.output, tokens * sizes.d_model);

        Product {
            weight: task.in_proj,
            outputs: 2 * d_inner,
            inputs: sizes.d_model,
            from: scratch.normed,
            from_stride: sizes.d_model,
            to: scratch.projected,
        }
        .add::<S>(tokens);
        for tile in 0..d_inner.div_ceil(S::LANES) {
            convolve::<S>(task, Tile::new::<S>(tile, d_inner));
        }
        Product {
            weight: task.x_proj,
            outputs: selected,
            inputs: d_inner,
            from: scratch.u,
            from_stride: d_inner,
            to: scratch.selected,
        }
        .add::<S>(tokens);
        Product {
            weight: task.dt_weight,
            outputs: d_inner,
            inputs: sizes.dt_rank,
            from: scratch.selected,
            from_stride: selected,
            to: scratch.inner,
        }
        .add::<S>(tokens);
        for tile in 0..d_inner.div_ceil(S::LANES) {
            scan::<S>(task, Tile::new::<S>(tile, d_inner));
        }
        Product {
            weight: task.out_proj,
            outputs: sizes.d_model,
            inputs: d_inner,
            from: scratch.inner,
            from_stride: d_inner,
            to: task.output,
        }
        .add::<S>(tokens);
    }
}

/// Products of a matrix with the vectors of all tokens.
struct Product<T> {
    /// (outputs, inputs)
    weight: *const T,
    outputs: usize,
    inputs: usize,
    from: *const T,
    /// From one token's vector to the next.
    from_stride: usize,
    /// (tokens, outputs)
    to: *mut T,
}

impl<T> Product<T> {
    /// Adds the products to `to`.
    #[inline(always)]
    unsafe fn add<S: Simd<Scalar = T>>(&self, tokens: usize) {
        unsafe {
            let mut first = 0;
            // As many sums as half the registers hold.
            if S::LANES == 16 {
                while first + 16 <= self.outputs {
                    self.add_rows::<S, 16>(first, tokens);
                    first += 16;
                }
            }
            while first + 8 <= self.outputs {
                self.add_rows::<S, 8>(first, tokens);
                first += 8;
            }
            while first < self.outputs {
                self.add_rows::<S, 1>(first, tokens);
                first += 1;
            }
        }
    }

    /// N rows of the matrix, from `first` on.
    #[inline(always)]
    unsafe fn add_rows<S: Simd<Scalar = T>, const N: usize>(&self, first: usize, tokens: usize) {
        unsafe {
            let rows = self.weight.add(first * self.inputs);
            for token in 0..tokens {
                let from = self.from.add(token * self.from_stride);
                let mut sums = [S::zero(); N];
                for tile in 0..self.inputs.div_ceil(S::LANES) {
                    let tile = Tile::new::<S>(tile, self.inputs);
                    let input = tile.load::<S>(from);
                    for (n, sum) in sums.iter_mut().enumerate() {
                        *sum = tile.load::<S>(rows.add(n * self.inputs)).mul_add(input, *sum);
                    }
                }
                S::add_sums(&sums, self.to.add(token * self.outputs + first));
            }
        }
    }
}

/// From (channels, steps) to (steps, lanes), with the channels of a tile across the lanes.
#[inline(always)]
unsafe fn turn<S: Simd>(from: *const S::Scalar, steps: usize, channels: usize, to: *mut S::Scalar) {
    for step in 0..steps {
        for channel in 0..channels {
            // SAFETY: the caller vouches for both sizes.
            unsafe { *to.add(step * S::LANES + channel) = *from.add(channel * steps + step) };
        }
    }
}

/// The convolution of a tile of channels, and its final window.
#[inline(always)]
unsafe fn convolve<S: Simd>(task: &Step<S::Scalar>, tile: Tile) {
    unsafe {
        let Step { sizes, scratch, window, .. } = task;
        let Sizes { d_conv, d_inner, length, .. } = *sizes;
        let before = d_conv - 1;
        let taps = scratch.tile;
        turn::<S>(task.conv_weight.add(tile.first * d_conv), d_conv, tile.width, taps);
        let bias = tile.load::<S>(task.conv_bias);
        for row in 0..sizes.rows {
            // Row `index` of the window followed by the tokens.
            let extended = |index: usize| -> S {
                if index < before {
                    let start = window.start.add(row / sizes.per_group * window.group + index * window.step);
                    return tile.load_strided(start, window.channel);
                }
                let token = row * length + index - before;
                tile.load(scratch.projected.add(token * 2 * d_inner))
            };
            for time in 0..length {
                let mut sum = bias;
                for k in 0..d_conv {
                    sum = S::load(taps.add(k * S::LANES)).mul_add(extended(time + k), sum);
                }
                tile.store(sum.mul(sum.sigmoid()), scratch.u.add((row * length + time) * d_inner));
            }
            if !task.final_window.is_null() {
                for index in 0..before {
                    let to = task.final_window.add((row * before + index) * d_inner);
                    tile.store(extended(length + index), to);
                }
            }
        }
    }
}

/// The scan of a tile of channels with its gate, and its final state. Takes delta before softplus, and
/// puts what out_proj takes in its place.
#[inline(always)]
unsafe fn scan<S: Simd>(task: &Step<S::Scalar>, tile: Tile) {
    unsafe {
        let Step { sizes, scratch, state, .. } = task;
        let Sizes { d_inner, d_state, length, .. } = *sizes;
        // A log2(e): exp(delta A) is then a power of two.
        let part = d_state * S::LANES;
        let (rates, a_log2, h) = (scratch.tile, scratch.tile.add(part), scratch.tile.add(2 * part));
        let minus_log2_e = S::splat(-std::f64::consts::LOG2_E);
        let count = tile.width * d_state;
        for index in 0..count.div_ceil(S::LANES) {
            let numbers = Tile::new::<S>(index, count);
            let a_log = numbers.load::<S>(task.a_log.add(tile.first * d_state));
            numbers.store(a_log.exp().mul(minus_log2_e), rates);
        }
        turn::<S>(rates, d_state, tile.width, a_log2);
        let skip = tile.load::<S>(task.d);
        for row in 0..sizes.rows {
            let initial = state.start.add(row / sizes.per_group * state.group);
            for n in 0..d_state {
                let number = tile.load_strided::<S>(initial.add(n * state.step), state.channel);
                number.store(h.add(n * S::LANES));
            }
            for token in row * length..(row + 1) * length {
                let inner = scratch.inner.add(token * d_inner);
                let delta = tile.load::<S>(inner).softplus();
                let u = tile.load::<S>(scratch.u.add(token * d_inner));
                let delta_u = delta.mul(u);
                let b = scratch.selected.add(token * sizes.selected() + sizes.dt_rank);
                let c = b.add(d_state);
                let mut sum = skip.mul(u);
                for n in 0..d_state {
                    let at = n * S::LANES;
                    let decay = delta.mul(S::load(a_log2.add(at))).exp2();
                    let kept = decay.mul(S::load(h.add(at)));
                    let next = delta_u.mul_add(S::broadcast(*b.add(n)), kept);
                    next.store(h.add(at));
                    sum = next.mul_add(S::broadcast(*c.add(n)), sum);
                }
                let z = tile.load::<S>(scratch.projected.add((token * 2 + 1) * d_inner));
                tile.store(sum.mul(z.mul(z.sigmoid())), inner);
            }
            if !task.final_state.is_null() {
                for n in 0..d_state {
                    let to = task.final_state.add((row * d_state + n) * d_inner);
                    tile.store(S::load(h.add(n * S::LANES)), to);
                }
            }
        }
    }
}
