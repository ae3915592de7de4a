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

/// What a chunk knows of each time step, a vector each.
struct Chunk<S> {
    delta: Vec<S>,
    delta_u: Vec<S>,
    /// The sum over states of C h.
    sum: Vec<S>,
}

impl<S: Simd> Chunk<S> {
    #[inline(always)]
    unsafe fn new(steps: usize) -> Self {
        let zeros = unsafe { vec![S::zero(); steps] };
        Self { delta: zeros.clone(), delta_u: zeros.clone(), sum: zeros }
    }

    #[inline(always)]
    unsafe fn fill(
        &mut self,
        scan: &Scan<S::Scalar>,
        tile: Tile,
        bias: S,
        sequence: usize,
        start: usize,
        steps: usize,
    ) {
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

/// Carries a block of N states over a chunk. With `saved`, writes there the state before each step.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the innermost loop takes its pointers one by one")]
unsafe fn advance<S: Simd, const N: usize>(
    a_log2: &[S],
    h: &mut [S],
    chunk: &mut Chunk<S>,
    steps: usize,
    b: *const S::Scalar,
    b_stride: usize,
    c: *const S::Scalar,
    c_stride: usize,
    saved: *mut S,
) {
    unsafe {
        let mut states: [S; N] = *h.as_ptr().cast();
        let rates: [S; N] = *a_log2.as_ptr().cast();
        for step in 0..steps {
            let delta = *chunk.delta.get_unchecked(step);
            let delta_u = *chunk.delta_u.get_unchecked(step);
            let mut sum = *chunk.sum.get_unchecked(step);
            let (b, c) = (b.add(step * b_stride), c.add(step * c_stride));
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
        h.as_mut_ptr().cast::<[S; N]>().write(states);
    }
}

#[inline(always)]
unsafe fn forward<S: Simd>(task: &Forward<S::Scalar>, index: usize) {
    unsafe {
        let scan = &task.scan;
        let (d_inner, d_state) = (scan.d_inner, scan.d_state);
        let tiles = d_inner.div_ceil(S::LANES);
        let (group, tile) = (index / tiles, Tile::new::<S>(index % tiles, d_inner));
        let bias = tile.load_or_zero::<S>(scan.delta_bias);
        let skip = tile.load_or_zero::<S>(scan.d);
        let mut chunk = Chunk::<S>::new(FORWARD_CHUNK.min(scan.length));
        let mut a_log2 = vec![S::zero(); d_state];
        let mut initial = vec![S::zero(); d_state];
        for n in 0..d_state {
            a_log2[n] = tile.load(scan.a_log2.add(n * d_inner));
            if !scan.initial_state.is_null() {
                initial[n] = tile.load(scan.initial_state.add((group * d_state + n) * d_inner));
            }
        }
        let mut h = initial.clone();
        for sequence in group * scan.per_group..(group + 1) * scan.per_group {
            h.copy_from_slice(&initial);
            let length = scan.real_length(sequence);
            let y = task.y.add(sequence * scan.length * d_inner);
            let mut start = 0;
            while start < length {
                let steps = FORWARD_CHUNK.min(length - start);
                chunk.fill(scan, tile, bias, sequence, start, steps);
                let (b, c) = (scan.b.at(sequence, start), scan.c.at(sequence, start));
                for_state_blocks!(d_state, |first, N| advance::<S, N>(
                    &a_log2[first..],
                    &mut h[first..],
                    &mut chunk,
                    steps,
                    b.add(first),
                    scan.b.time_stride,
                    c.add(first),
                    scan.c.time_stride,
                    std::ptr::null_mut(),
                ));
                for step in 0..steps {
                    let u = tile.load::<S>(scan.u.at(sequence, start + step));
                    let mut value = skip.mul_add(u, chunk.sum[step]);
                    if let Some(z) = &scan.z {
                        let z = tile.load::<S>(z.at(sequence, start + step));
                        value = value.mul(z.mul(z.sigmoid()));
                    }
                    tile.store(value, y.add((start + step) * d_inner));
                }
                start += steps;
            }
            for time in length..scan.length {
                tile.store(S::zero(), y.add(time * d_inner));
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

/// Runs a block of N states backwards over a chunk, whose states before each step are in `saved`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the innermost loop takes its pointers one by one")]
unsafe fn retreat<S: Simd, const N: usize>(
    a_log2: &[S],
    dh: &mut [S],
    da: &mut [S],
    chunk: &Chunk<S>,
    gradient: &mut ChunkGradient<S>,
    steps: usize,
    b: *const S::Scalar,
    b_stride: usize,
    c: *const S::Scalar,
    c_stride: usize,
    db: *mut S::Scalar,
    dc: *mut S::Scalar,
    d_state: usize,
    saved: *const S,
) {
    unsafe {
        let mut dstates: [S; N] = *dh.as_ptr().cast();
        let mut drates: [S; N] = *da.as_ptr().cast();
        let rates: [S; N] = *a_log2.as_ptr().cast();
        for step in (0..steps).rev() {
            let delta = *chunk.delta.get_unchecked(step);
            let delta_u = *chunk.delta_u.get_unchecked(step);
            let dy = *gradient.dy.get_unchecked(step);
            let mut ddelta = *gradient.ddelta.get_unchecked(step);
            let mut ddelta_u = *gradient.ddelta_u.get_unchecked(step);
            let (b, c) = (b.add(step * b_stride), c.add(step * c_stride));
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
            S::add_sums(&to_b, db.add(step * d_state));
            S::add_sums(&to_c, dc.add(step * d_state));
            *gradient.ddelta.get_unchecked_mut(step) = ddelta;
            *gradient.ddelta_u.get_unchecked_mut(step) = ddelta_u;
        }
        dh.as_mut_ptr().cast::<[S; N]>().write(dstates);
        da.as_mut_ptr().cast::<[S; N]>().write(drates);
    }
}

#[inline(always)]
unsafe fn backward<S: Simd>(task: &Backward<S::Scalar>, index: usize) {
    unsafe {
        let scan = &task.scan;
        let (d_inner, d_state) = (scan.d_inner, scan.d_state);
        let (group, span) = (index / task.spans, index % task.spans);
        let tiles = d_inner.div_ceil(S::LANES);
        let per_span = tiles.div_ceil(task.spans);
        let steps = BACKWARD_CHUNK.min(scan.length);
        let mut scratch = Scratch::<S>::new(steps, scan.length, d_state);
        for tile in span * per_span..tiles.min((span + 1) * per_span) {
            backward_tile(task, group, span, Tile::new::<S>(tile, d_inner), &mut scratch);
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
        let (d_inner, d_state) = (scan.d_inner, scan.d_state);
        let Scratch { chunk, gradient, saved, starts, a_log2, initial, h, dh, da, dinitial } = scratch;
        let batch = scan.groups * scan.per_group;
        let bias = tile.load_or_zero::<S>(scan.delta_bias);
        let skip = tile.load_or_zero::<S>(scan.d);
        let mut dskip = S::zero();
        let mut dbias = S::zero();
        for n in 0..d_state {
            a_log2[n] = tile.load(scan.a_log2.add(n * d_inner));
            initial[n] = S::zero();
            if !scan.initial_state.is_null() {
                initial[n] = tile.load(scan.initial_state.add((group * d_state + n) * d_inner));
            }
            da[n] = S::zero();
            dinitial[n] = S::zero();
        }
        for sequence in group * scan.per_group..(group + 1) * scan.per_group {
            let length = scan.real_length(sequence);
            let chunks = length.div_ceil(BACKWARD_CHUNK);

            // Where each chunk begins. One chunk, the usual case, begins at the initial state.
            h.copy_from_slice(initial);
            for part in 0..chunks {
                starts[part * d_state..(part + 1) * d_state].copy_from_slice(h);
                if part + 1 < chunks {
                    let start = part * BACKWARD_CHUNK;
                    chunk.fill(scan, tile, bias, sequence, start, BACKWARD_CHUNK);
                    let (b, c) = (scan.b.at(sequence, start), scan.c.at(sequence, start));
                    for_state_blocks!(d_state, |first, N| advance::<S, N>(
                        &a_log2[first..],
                        &mut h[first..],
                        chunk,
                        BACKWARD_CHUNK,
                        b.add(first),
                        scan.b.time_stride,
                        c.add(first),
                        scan.c.time_stride,
                        std::ptr::null_mut(),
                    ));
                }
            }

            for (n, dh) in dh.iter_mut().enumerate() {
                *dh = S::zero();
                if !task.dfinal_state.is_null() {
                    *dh = tile.load(task.dfinal_state.add((sequence * d_state + n) * d_inner));
                }
            }
            let row = sequence * scan.length;
            for part in (0..chunks).rev() {
                let start = part * BACKWARD_CHUNK;
                let steps = BACKWARD_CHUNK.min(length - start);
                chunk.fill(scan, tile, bias, sequence, start, steps);
                for step in 0..steps {
                    let mut dy = tile.load::<S>(task.dy.at(sequence, start + step));
                    if let Some(z) = &scan.z {
                        let z = tile.load::<S>(z.at(sequence, start + step));
                        dy = dy.mul(z.mul(z.sigmoid()));
                    }
                    gradient.dy[step] = dy;
                    gradient.ddelta[step] = S::zero();
                    gradient.ddelta_u[step] = S::zero();
                }

                h.copy_from_slice(&starts[part * d_state..(part + 1) * d_state]);
                let (b, c) = (scan.b.at(sequence, start), scan.c.at(sequence, start));
                let sums = ((span * batch + sequence) * scan.length + start) * d_state;
                for_state_blocks!(d_state, |first, N| {
                    advance::<S, N>(
                        &a_log2[first..],
                        &mut h[first..],
                        chunk,
                        steps,
                        b.add(first),
                        scan.b.time_stride,
                        c.add(first),
                        scan.c.time_stride,
                        saved.as_mut_ptr(),
                    );
                    retreat::<S, N>(
                        &a_log2[first..],
                        &mut dh[first..],
                        &mut da[first..],
                        chunk,
                        gradient,
                        steps,
                        b.add(first),
                        scan.b.time_stride,
                        c.add(first),
                        scan.c.time_stride,
                        task.db.add(sums + first),
                        task.dc.add(sums + first),
                        d_state,
                        saved.as_ptr(),
                    );
                });

                // The rates carry a factor log2(e) that the derivative by delta must not have.
                let ln_2 = S::splat(std::f64::consts::LN_2);
                for step in 0..steps {
                    let time = start + step;
                    let u = tile.load::<S>(scan.u.at(sequence, time));
                    let dy = gradient.dy[step];
                    let ddelta_u = gradient.ddelta_u[step];
                    let delta = chunk.delta[step];
                    let du = ddelta_u.mul_add(delta, dy.mul(skip));
                    tile.store(du, task.du.add((row + time) * d_inner));
                    let mut ddelta = ddelta_u.mul_add(u, gradient.ddelta[step].mul(ln_2));
                    if scan.delta_softplus {
                        let raw = tile.load::<S>(scan.delta.at(sequence, time));
                        ddelta = ddelta.mul(raw.add(bias).sigmoid());
                    }
                    tile.store(ddelta, task.ddelta.add((row + time) * d_inner));
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
                        tile.store(dy.mul(y).mul(slope), task.dz.add((row + time) * d_inner));
                    }
                }
            }
            for time in length..scan.length {
                tile.store(S::zero(), task.du.add((row + time) * d_inner));
                tile.store(S::zero(), task.ddelta.add((row + time) * d_inner));
                if !task.dz.is_null() {
                    tile.store(S::zero(), task.dz.add((row + time) * d_inner));
                }
            }
            for n in 0..d_state {
                dinitial[n] = dinitial[n].add(dh[n]);
            }
        }
        for n in 0..d_state {
            let at = (group * d_state + n) * d_inner;
            tile.store(da[n], task.da.add(at));
            if !task.dinitial_state.is_null() {
                tile.store(dinitial[n], task.dinitial_state.add(at));
            }
        }
        if !task.dd.is_null() {
            tile.store(dskip, task.dd.add(group * d_inner));
        }
        if !task.ddelta_bias.is_null() {
            tile.store(dbias, task.ddelta_bias.add(group * d_inner));
        }
    }
}
