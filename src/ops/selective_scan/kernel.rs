//! The selective scan on a CPU: slices and pointers, no tensors.
//!
//! The simple version is a loop over time that updates `h` for every channel and state:
//!
//! ```text
//! for t in 0..length:
//!     h[d, n] = exp(delta[t, d] A[d, n]) h[d, n] + delta[t, d] u[t, d] B[t, n]
//!     y[t, d] = sum over n of C[t, n] h[d, n]
//! ```
//!
//! What is done differently here, and why:
//!
//! 1. Channels lie across the lanes of a vector (a *tile* of channels), so that no sum crosses
//!    lanes and `exp` is a polynomial on whole vectors.
//! 2. The states of a tile are taken in *blocks* of up to 16 that stay in registers over time.
//! 3. Time is taken in *chunks*: what depends on (t, d) alone, softplus(delta) and delta u, is
//!    computed once for a chunk into scratch memory that the first cache holds.
//! 4. The bias and softplus of delta, the skip D u and the gate silu(z) are fused, so nothing of
//!    the size of `u` is written besides the results.
//! 5. The backward pass stores no states in the forward pass. It recomputes the states of a chunk
//!    and runs through them in reverse; with several chunks a first pass finds where each begins.
//!
//! Sums over channels and sequences are taken in an order that depends on the sizes alone, so
//! results do not depend on the number of threads.

use crate::ops::rows::Rows;
use crate::ops::simd::{Simd, dispatch};
use crate::ops::tile::Tile;

/// Time steps that one forward pass over scratch memory covers.
const FORWARD_CHUNK: usize = 64;
/// Time steps whose states the backward pass holds at once: for a block of 16 states and 16 lanes,
/// 256 kB of the second cache.
const BACKWARD_CHUNK: usize = 256;

/// The arguments of a scan. Null pointers stand for absent ones.
pub(crate) struct Scan<T> {
    pub groups: usize,
    /// Sequences that continue one initial state.
    pub per_group: usize,
    pub length: usize,
    pub d_inner: usize,
    pub d_state: usize,
    pub u: Rows<T>,
    pub delta: Rows<T>,
    /// A log2(e), (d_state, d_inner): exp(delta A) is then a power of two.
    pub a_log2: *const T,
    pub b: Rows<T>,
    pub c: Rows<T>,
    pub d: *const T,
    pub z: Option<Rows<T>>,
    pub delta_bias: *const T,
    pub delta_softplus: bool,
    /// (groups, d_state, d_inner)
    pub initial_state: *const T,
    /// (groups * per_group)
    pub lengths: *const i64,
}

impl<T> Scan<T> {
    #[inline(always)]
    unsafe fn real_length(&self, sequence: usize) -> usize {
        if self.lengths.is_null() {
            return self.length;
        }
        // SAFETY: `lengths` has an entry for every sequence.
        unsafe { *self.lengths.add(sequence) as usize }
    }

    /// Where a step's channels begin in an array like y.
    #[inline(always)]
    fn place(&self, sequence: usize, time: usize) -> usize {
        (sequence * self.length + time) * self.d_inner
    }

    /// The rates of a tile and its states before any step.
    #[inline(always)]
    unsafe fn load_states<S: Simd<Scalar = T>>(
        &self,
        group: usize,
        tile: Tile,
        a_log2: &mut [S],
        initial: &mut [S],
    ) {
        unsafe {
            for n in 0..self.d_state {
                a_log2[n] = tile.load(self.a_log2.add(n * self.d_inner));
                initial[n] = S::zero();
                if !self.initial_state.is_null() {
                    initial[n] = tile.load(self.initial_state.add((group * self.d_state + n) * self.d_inner));
                }
            }
        }
    }

    /// A step's values times silu(z), if there is a gate.
    #[inline(always)]
    unsafe fn gated<S: Simd<Scalar = T>>(&self, tile: Tile, sequence: usize, time: usize, values: S) -> S {
        unsafe {
            let Some(z) = &self.z else { return values };
            let z = tile.load::<S>(z.at(sequence, time));
            values.mul(z.mul(z.sigmoid()))
        }
    }
}

/// A forward scan and where its results go.
pub(crate) struct Forward<T> {
    pub scan: Scan<T>,
    /// (batch, length, d_inner)
    pub y: *mut T,
    /// (batch, d_state, d_inner)
    pub final_state: *mut T,
}

/// A backward scan and where its results go. Null pointers stand for absent gradients.
pub(crate) struct Backward<T> {
    pub scan: Scan<T>,
    pub dy: Rows<T>,
    /// (batch, d_state, d_inner)
    pub dfinal_state: *const T,
    /// Parts that the channels are cut into, each with its own sums for B and C.
    pub spans: usize,
    /// (batch, length, d_inner)
    pub du: *mut T,
    pub ddelta: *mut T,
    pub dz: *mut T,
    /// (groups, d_state, d_inner): summed over a group's sequences
    pub da: *mut T,
    pub dinitial_state: *mut T,
    /// (spans, batch, length, d_state), zeros
    pub db: *mut T,
    pub dc: *mut T,
    /// (groups, d_inner)
    pub dd: *mut T,
    pub ddelta_bias: *mut T,
}

// SAFETY: the pointers are to memory that outlives the parallel loop; tasks write disjoint parts.
unsafe impl<T> Sync for Forward<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Backward<T> {}

dispatch! {
    /// The forward scan of one (group, tile): task `group * tiles + tile`.
    trait RunForward: forward(Forward)
}

dispatch! {
    /// The backward scan of one (group, span): task `group * spans + span`.
    trait RunBackward: backward(Backward)
}

/// A tile with what it has at every step.
#[derive(Clone, Copy)]
struct Channels<S> {
    tile: Tile,
    bias: S,
    skip: S,
}

impl<S: Simd> Channels<S> {
    #[inline(always)]
    unsafe fn new(scan: &Scan<S::Scalar>, tile: Tile) -> Self {
        unsafe { Self { tile, bias: tile.load_or_zero(scan.delta_bias), skip: tile.load_or_zero(scan.d) } }
    }
}

/// Steps of a sequence, and what is known of each, a vector each.
struct Chunk<S> {
    sequence: usize,
    start: usize,
    steps: usize,
    delta: Vec<S>,
    delta_u: Vec<S>,
    /// The sum over states of C h.
    sum: Vec<S>,
}

impl<S: Simd> Chunk<S> {
    #[inline(always)]
    unsafe fn new(most: usize) -> Self {
        let zeros = unsafe { vec![S::zero(); most] };
        Self { sequence: 0, start: 0, steps: 0, delta: zeros.clone(), delta_u: zeros.clone(), sum: zeros }
    }

    #[inline(always)]
    unsafe fn fill(
        &mut self,
        scan: &Scan<S::Scalar>,
        Channels { tile, bias, .. }: Channels<S>,
        sequence: usize,
        start: usize,
        steps: usize,
    ) {
        (self.sequence, self.start, self.steps) = (sequence, start, steps);
        unsafe {
            for step in 0..steps {
                let raw = tile.load::<S>(scan.delta.at(sequence, start + step));
                let biased = raw.add(bias);
                let delta = if scan.delta_softplus { biased.softplus() } else { biased };
                self.delta[step] = delta;
                self.delta_u[step] = delta.mul(tile.load(scan.u.at(sequence, start + step)));
                self.sum[step] = S::zero();
            }
        }
    }
}

/// Runs `$body` with `$N` the size of each block of states from `$first` on: 16s, then what is left.
macro_rules! for_state_blocks {
    ($d_state:expr, |$first:ident, $N:ident| $body:expr) => {{
        let mut $first = 0;
        while $first < $d_state {
            match $d_state - $first {
                16.. => {
                    const $N: usize = 16;
                    $body;
                    $first += 16;
                }
                8..=15 => {
                    const $N: usize = 8;
                    $body;
                    $first += 8;
                }
                4..=7 => {
                    const $N: usize = 4;
                    $body;
                    $first += 4;
                }
                _ => {
                    const $N: usize = 1;
                    $body;
                    $first += 1;
                }
            }
        }
    }};
}

/// Carries the block of N states from `first` on over a chunk. With `saved`, writes there the state before
/// each step.
#[inline(always)]
unsafe fn advance<S: Simd, const N: usize>(
    scan: &Scan<S::Scalar>,
    chunk: &mut Chunk<S>,
    first: usize,
    a_log2: &[S],
    h: &mut [S],
    saved: *mut S,
) {
    unsafe {
        let h = h[first..].as_mut_ptr().cast::<[S; N]>();
        let mut states = *h;
        let rates: [S; N] = *a_log2[first..].as_ptr().cast();
        let b = scan.b.at(chunk.sequence, chunk.start).add(first);
        let c = scan.c.at(chunk.sequence, chunk.start).add(first);
        for step in 0..chunk.steps {
            let delta = *chunk.delta.get_unchecked(step);
            let delta_u = *chunk.delta_u.get_unchecked(step);
            let mut sum = *chunk.sum.get_unchecked(step);
            let (b, c) = (b.add(step * scan.b.time_stride), c.add(step * scan.c.time_stride));
            for n in 0..N {
                if !saved.is_null() {
                    saved.add(step * N + n).write(states[n]);
                }
                let decay = delta.mul(rates[n]).exp2();
                let input = delta_u.mul(S::broadcast(*b.add(n)));
                states[n] = decay.mul_add(states[n], input);
                sum = states[n].mul_add(S::broadcast(*c.add(n)), sum);
            }
            *chunk.sum.get_unchecked_mut(step) = sum;
        }
        h.write(states);
    }
}

/// Carries all states over a chunk.
#[inline(always)]
unsafe fn advance_all<S: Simd>(scan: &Scan<S::Scalar>, chunk: &mut Chunk<S>, a_log2: &[S], h: &mut [S]) {
    unsafe {
        for_state_blocks!(scan.d_state, |first, N| advance::<S, N>(
            scan,
            chunk,
            first,
            a_log2,
            h,
            std::ptr::null_mut()
        ));
    }
}

#[inline(always)]
unsafe fn forward<S: Simd>(task: &Forward<S::Scalar>, index: usize) {
    unsafe {
        let scan = &task.scan;
        let (d_inner, d_state) = (scan.d_inner, scan.d_state);
        let tiles = d_inner.div_ceil(S::LANES);
        let (group, tile) = (index / tiles, Tile::new::<S>(index % tiles, d_inner));
        let channels = Channels::<S>::new(scan, tile);
        let mut chunk = Chunk::new(FORWARD_CHUNK.min(scan.length));
        let mut a_log2 = vec![S::zero(); d_state];
        let mut initial = a_log2.clone();
        scan.load_states(group, tile, &mut a_log2, &mut initial);
        let mut h = initial.clone();
        for sequence in group * scan.per_group..(group + 1) * scan.per_group {
            h.copy_from_slice(&initial);
            let length = scan.real_length(sequence);
            for start in (0..length).step_by(FORWARD_CHUNK) {
                chunk.fill(scan, channels, sequence, start, FORWARD_CHUNK.min(length - start));
                advance_all(scan, &mut chunk, &a_log2, &mut h);
                for step in 0..chunk.steps {
                    let time = start + step;
                    let u = tile.load::<S>(scan.u.at(sequence, time));
                    let y = channels.skip.mul_add(u, chunk.sum[step]);
                    let y = scan.gated(tile, sequence, time, y);
                    tile.store(y, task.y.add(scan.place(sequence, time)));
                }
            }
            for time in length..scan.length {
                tile.store(S::zero(), task.y.add(scan.place(sequence, time)));
            }
            if !task.final_state.is_null() {
                for (n, h) in h.iter().enumerate() {
                    tile.store(*h, task.final_state.add((sequence * d_state + n) * d_inner));
                }
            }
        }
    }
}

/// The gradients of one chunk that every block of states adds to.
struct ChunkGradient<S> {
    /// The gradient of y before the gate.
    dy: Vec<S>,
    /// By delta, through the decay.
    ddelta: Vec<S>,
    /// By delta u.
    ddelta_u: Vec<S>,
}

impl<S: Simd> ChunkGradient<S> {
    #[inline(always)]
    unsafe fn fill(&mut self, task: &Backward<S::Scalar>, tile: Tile, chunk: &Chunk<S>) {
        unsafe {
            for step in 0..chunk.steps {
                let (sequence, time) = (chunk.sequence, chunk.start + step);
                let dy = tile.load(task.dy.at(sequence, time));
                self.dy[step] = task.scan.gated(tile, sequence, time, dy);
                self.ddelta[step] = S::zero();
                self.ddelta_u[step] = S::zero();
            }
        }
    }
}

/// What the backward pass of a tile works in; allocated once for a task.
struct Scratch<S> {
    chunk: Chunk<S>,
    gradient: ChunkGradient<S>,
    /// The states before each step of a chunk, for one block of states.
    saved: Vec<S>,
    /// The states at the start of each chunk, (chunks, d_state).
    starts: Vec<S>,
    a_log2: Vec<S>,
    initial: Vec<S>,
    h: Vec<S>,
    dh: Vec<S>,
    da: Vec<S>,
    dinitial: Vec<S>,
}

impl<S: Simd> Scratch<S> {
    #[inline(always)]
    unsafe fn new(steps: usize, length: usize, d_state: usize) -> Self {
        unsafe {
            let zero = S::zero();
            let gradient = ChunkGradient {
                dy: vec![zero; steps],
                ddelta: vec![zero; steps],
                ddelta_u: vec![zero; steps],
            };
            Self {
                chunk: Chunk::new(steps),
                gradient,
                saved: vec![zero; steps * d_state.min(16)],
                starts: vec![zero; length.div_ceil(BACKWARD_CHUNK) * d_state],
                a_log2: vec![zero; d_state],
                initial: vec![zero; d_state],
                h: vec![zero; d_state],
                dh: vec![zero; d_state],
                da: vec![zero; d_state],
                dinitial: vec![zero; d_state],
            }
        }
    }
}

/// Finds where each chunk of a sequence begins. One chunk, the usual case, begins at the initial state.
#[inline(always)]
unsafe fn find_starts<S: Simd>(
    scan: &Scan<S::Scalar>,
    channels: Channels<S>,
    sequence: usize,
    chunks: usize,
    Scratch { chunk, starts, a_log2, initial, h, .. }: &mut Scratch<S>,
) {
    unsafe {
        h.copy_from_slice(initial);
        for part in 0..chunks {
            starts[part * scan.d_state..(part + 1) * scan.d_state].copy_from_slice(h);
            if part + 1 < chunks {
                chunk.fill(scan, channels, sequence, part * BACKWARD_CHUNK, BACKWARD_CHUNK);
                advance_all(scan, chunk, a_log2, h);
            }
        }
    }
}

/// Runs the block of N states from `first` on backwards over the chunk, whose states before each step are
/// in `saved`. `sums` is where the chunk begins in the gradients by B and C.
#[inline(always)]
unsafe fn retreat<S: Simd, const N: usize>(
    task: &Backward<S::Scalar>,
    Scratch { chunk, gradient, saved, a_log2, dh, da, .. }: &mut Scratch<S>,
    first: usize,
    sums: usize,
) {
    unsafe {
        let scan = &task.scan;
        let dh = dh[first..].as_mut_ptr().cast::<[S; N]>();
        let da = da[first..].as_mut_ptr().cast::<[S; N]>();
        let (mut dstates, mut drates) = (*dh, *da);
        let rates: [S; N] = *a_log2[first..].as_ptr().cast();
        let saved = saved.as_ptr();
        let b = scan.b.at(chunk.sequence, chunk.start).add(first);
        let c = scan.c.at(chunk.sequence, chunk.start).add(first);
        let (db, dc) = (task.db.add(sums + first), task.dc.add(sums + first));
        for step in (0..chunk.steps).rev() {
            let delta = *chunk.delta.get_unchecked(step);
            let delta_u = *chunk.delta_u.get_unchecked(step);
            let dy = *gradient.dy.get_unchecked(step);
            let mut ddelta = *gradient.ddelta.get_unchecked(step);
            let mut ddelta_u = *gradient.ddelta_u.get_unchecked(step);
            let (b, c) = (b.add(step * scan.b.time_stride), c.add(step * scan.c.time_stride));
            let (mut to_b, mut to_c) = ([S::zero(); N], [S::zero(); N]);
            for n in 0..N {
                let (b, c) = (S::broadcast(*b.add(n)), S::broadcast(*c.add(n)));
                let decay = delta.mul(rates[n]).exp2();
                let kept = decay.mul(*saved.add(step * N + n));
                let h = delta_u.mul_add(b, kept);
                to_c[n] = dy.mul(h);
                let dh = dy.mul_add(c, dstates[n]);
                to_b[n] = dh.mul(delta_u);
                ddelta_u = dh.mul_add(b, ddelta_u);
                let dexponent = dh.mul(kept);
                drates[n] = dexponent.mul_add(delta, drates[n]);
                ddelta = dexponent.mul_add(rates[n], ddelta);
                dstates[n] = dh.mul(decay);
            }
            S::add_sums(&to_b, db.add(step * scan.d_state));
            S::add_sums(&to_c, dc.add(step * scan.d_state));
            *gradient.ddelta.get_unchecked_mut(step) = ddelta;
            *gradient.ddelta_u.get_unchecked_mut(step) = ddelta_u;
        }
        dh.write(dstates);
        da.write(drates);
    }
}

/// Carries all states over the chunk and back, block by block.
#[inline(always)]
unsafe fn there_and_back<S: Simd>(task: &Backward<S::Scalar>, span: usize, scratch: &mut Scratch<S>) {
    unsafe {
        let scan = &task.scan;
        let Chunk { sequence, start, .. } = scratch.chunk;
        let batch = scan.groups * scan.per_group;
        let sums = ((span * batch + sequence) * scan.length + start) * scan.d_state;
        for_state_blocks!(scan.d_state, |first, N| {
            let Scratch { chunk, saved, a_log2, h, .. } = &mut *scratch;
            advance::<S, N>(scan, chunk, first, a_log2, h, saved.as_mut_ptr());
            retreat::<S, N>(task, scratch, first, sums);
        });
    }
}

/// Writes the gradients of a chunk's steps, and adds to those by the skip and by the bias.
#[inline(always)]
unsafe fn write_steps<S: Simd>(
    task: &Backward<S::Scalar>,
    Channels { tile, bias, skip }: Channels<S>,
    chunk: &Chunk<S>,
    gradient: &ChunkGradient<S>,
    [mut dskip, mut dbias]: [S; 2],
) -> [S; 2] {
    unsafe {
        let scan = &task.scan;
        // The rates carry a factor log2(e) that the derivative by delta must not have.
        let ln_2 = S::splat(std::f64::consts::LN_2);
        for step in 0..chunk.steps {
            let (sequence, time) = (chunk.sequence, chunk.start + step);
            let place = scan.place(sequence, time);
            let u = tile.load::<S>(scan.u.at(sequence, time));
            let dy = gradient.dy[step];
            let ddelta_u = gradient.ddelta_u[step];
            let du = ddelta_u.mul_add(chunk.delta[step], dy.mul(skip));
            tile.store(du, task.du.add(place));
            let mut ddelta = ddelta_u.mul_add(u, gradient.ddelta[step].mul(ln_2));
            if scan.delta_softplus {
                let raw = tile.load::<S>(scan.delta.at(sequence, time));
                ddelta = ddelta.mul(raw.add(bias).sigmoid());
            }
            tile.store(ddelta, task.ddelta.add(place));
            dbias = dbias.add(ddelta);
            dskip = dy.mul_add(u, dskip);
            if let Some(z) = &scan.z {
                let z = tile.load::<S>(z.at(sequence, time));
                let sigmoid = z.sigmoid();
                // silu'(z) = s + z s (1 - s)
                let rest = S::splat(1.0).sub(sigmoid);
                let slope = z.mul(sigmoid).mul_add(rest, sigmoid);
                let y = skip.mul_add(u, chunk.sum[step]);
                let dy = tile.load::<S>(task.dy.at(sequence, time));
                tile.store(dy.mul(y).mul(slope), task.dz.add(place));
            }
        }
        [dskip, dbias]
    }
}

/// Writes zeros where a sequence is padding.
#[inline(always)]
unsafe fn clear_padding<S: Simd>(task: &Backward<S::Scalar>, tile: Tile, sequence: usize, length: usize) {
    unsafe {
        for time in length..task.scan.length {
            for gradient in [task.du, task.ddelta, task.dz] {
                if !gradient.is_null() {
                    tile.store(S::zero(), gradient.add(task.scan.place(sequence, time)));
                }
            }
        }
    }
}

/// Writes the sums over a group's sequences.
#[inline(always)]
unsafe fn write_sums<S: Simd>(
    task: &Backward<S::Scalar>,
    group: usize,
    tile: Tile,
    Scratch { da, dinitial, .. }: &Scratch<S>,
    [dskip, dbias]: [S; 2],
) {
    unsafe {
        let Scan { d_inner, d_state, .. } = task.scan;
        for n in 0..d_state {
            let at = (group * d_state + n) * d_inner;
            tile.store(da[n], task.da.add(at));
            if !task.dinitial_state.is_null() {
                tile.store(dinitial[n], task.dinitial_state.add(at));
            }
        }
        for (sum, to) in [(dskip, task.dd), (dbias, task.ddelta_bias)] {
            if !to.is_null() {
                tile.store(sum, to.add(group * d_inner));
            }
        }
    }
}

#[inline(always)]
unsafe fn backward_tile<S: Simd>(
    task: &Backward<S::Scalar>,
    group: usize,
    span: usize,
    tile: Tile,
    scratch: &mut Scratch<S>,
) {
    unsafe {
        let scan = &task.scan;
        let channels = Channels::<S>::new(scan, tile);
        scan.load_states(group, tile, &mut scratch.a_log2, &mut scratch.initial);
        scratch.da.fill(S::zero());
        scratch.dinitial.fill(S::zero());
        let mut sums = [S::zero(); 2];
        for sequence in group * scan.per_group..(group + 1) * scan.per_group {
            let length = scan.real_length(sequence);
            let chunks = length.div_ceil(BACKWARD_CHUNK);
            find_starts(scan, channels, sequence, chunks, scratch);
            for (n, dh) in scratch.dh.iter_mut().enumerate() {
                *dh = S::zero();
                if !task.dfinal_state.is_null() {
                    *dh = tile.load(task.dfinal_state.add((sequence * scan.d_state + n) * scan.d_inner));
                }
            }
            for part in (0..chunks).rev() {
                let start = part * BACKWARD_CHUNK;
                let Scratch { chunk, gradient, starts, h, .. } = &mut *scratch;
                chunk.fill(scan, channels, sequence, start, BACKWARD_CHUNK.min(length - start));
                gradient.fill(task, tile, chunk);
                h.copy_from_slice(&starts[part * scan.d_state..(part + 1) * scan.d_state]);
                there_and_back(task, span, scratch);
                sums = write_steps(task, channels, &scratch.chunk, &scratch.gradient, sums);
            }
            clear_padding::<S>(task, tile, sequence, length);
            for (sum, dh) in scratch.dinitial.iter_mut().zip(&scratch.dh) {
                *sum = sum.add(*dh);
            }
        }
        write_sums(task, group, tile, scratch, sums);
    }
}

#[inline(always)]
unsafe fn backward<S: Simd>(task: &Backward<S::Scalar>, index: usize) {
    unsafe {
        let scan = &task.scan;
        let (group, span) = (index / task.spans, index % task.spans);
        let tiles = scan.d_inner.div_ceil(S::LANES);
        let per_span = tiles.div_ceil(task.spans);
        let steps = BACKWARD_CHUNK.min(scan.length);
        let mut scratch = Scratch::<S>::new(steps, scan.length, scan.d_state);
        for tile in span * per_span..tiles.min((span + 1) * per_span) {
            backward_tile(task, group, span, Tile::new::<S>(tile, scan.d_inner), &mut scratch);
        }
    }
}
