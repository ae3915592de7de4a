//! The causal depthwise convolution on a CPU: slices and pointers, no tensors.
//!
//! A sequence continues the last `d_conv - 1` inputs before it, its *window*. With `e` the window
//! followed by the sequence,
//!
//! ```text
//! pre[t, d] = bias[d] + sum over k of weight[d, k] e[t + k, d]
//! y[t, d] = silu(pre[t, d]), or pre[t, d] itself
//! final window = the last d_conv - 1 rows of e
//! ```
//!
//! Channels lie across the lanes of a vector; the taps of a tile stay in registers over time.

use crate::ops::rows::Rows;
use crate::ops::simd::{Simd, dispatch};
use crate::ops::tile::Tile;

/// The arguments of a convolution. Null pointers stand for absent ones.
pub(crate) struct Convolution<T> {
    /// Sequences that continue one initial window.
    pub per_group: usize,
    pub length: usize,
    pub channels: usize,
    pub d_conv: usize,
    pub x: Rows<T>,
    /// (d_conv, channels)
    pub weight: *const T,
    pub bias: *const T,
    pub silu: bool,
    /// (groups, d_conv - 1, channels)
    pub initial_window: *const T,
    /// (groups * per_group)
    pub lengths: *const i64,
}

impl<T> Convolution<T> {
    #[inline(always)]
    unsafe fn real_length(&self, sequence: usize) -> usize {
        if self.lengths.is_null() {
            return self.length;
        }
        // SAFETY: `lengths` has an entry for every sequence.
        unsafe { *self.lengths.add(sequence) as usize }
    }

    /// Row `index` of the window followed by the sequence.
    #[inline(always)]
    unsafe fn extended<S: Simd<Scalar = T>>(
        &self,
        tile: Tile,
        group: usize,
        sequence: usize,
        index: usize,
    ) -> S {
        unsafe {
            let before = self.d_conv - 1;
            if index >= before {
                return tile.load(self.x.at(sequence, index - before));
            }
            if self.initial_window.is_null() {
                return S::zero();
            }
            tile.load(self.initial_window.add((group * before + index) * self.channels))
        }
    }

    /// The sum before the activation, at a time.
    #[inline(always)]
    unsafe fn before_activation<S: Simd<Scalar = T>>(
        &self,
        tile: Tile,
        taps: &[S],
        bias: S,
        group: usize,
        sequence: usize,
        time: usize,
    ) -> S {
        unsafe {
            let mut sum = bias;
            for (k, tap) in taps.iter().enumerate() {
                sum = tap.mul_add(self.extended(tile, group, sequence, time + k), sum);
            }
            sum
        }
    }
}

/// A forward convolution and where its results go.
pub(crate) struct Forward<T> {
    pub convolution: Convolution<T>,
    /// (batch, length, channels)
    pub y: *mut T,
    /// (batch, d_conv - 1, channels)
    pub final_window: *mut T,
}

/// A backward convolution and where its results go. Null pointers stand for absent gradients.
pub(crate) struct Backward<T> {
    pub convolution: Convolution<T>,
    pub dy: Rows<T>,
    /// (batch, d_conv - 1, channels)
    pub dfinal_window: *const T,
    /// (batch, length, channels)
    pub dx: *mut T,
    /// (groups, d_conv, channels): summed over a group's sequences
    pub dweight: *mut T,
    /// (groups, channels)
    pub dbias: *mut T,
    /// (groups, d_conv - 1, channels)
    pub dinitial_window: *mut T,
}

// SAFETY: the pointers are to memory that outlives the parallel loop; tasks write disjoint parts.
unsafe impl<T> Sync for Forward<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Backward<T> {}

dispatch! {
    /// The forward convolution of the sequences of one group.
    trait RunForward: forward(Forward)
}

dispatch! {
    /// The backward convolution of the sequences of one group.
    trait RunBackward: backward(Backward)
}

#[inline(always)]
unsafe fn forward<S: Simd>(task: &Forward<S::Scalar>, group: usize) {
    unsafe {
        let convolution = &task.convolution;
        let channels = convolution.channels;
        let before = convolution.d_conv - 1;
        let mut taps = vec![S::zero(); convolution.d_conv];
        for index in 0..channels.div_ceil(S::LANES) {
            let tile = Tile::new::<S>(index, channels);
            let bias = tile.load_or_zero::<S>(convolution.bias);
            for (k, tap) in taps.iter_mut().enumerate() {
                *tap = tile.load(convolution.weight.add(k * channels));
            }
            for sequence in group * convolution.per_group..(group + 1) * convolution.per_group {
                let length = convolution.real_length(sequence);
                let y = task.y.add(sequence * convolution.length * channels);
                for time in 0..length {
                    let sum = convolution.before_activation(tile, &taps, bias, group, sequence, time);
                    let value = if convolution.silu { sum.mul(sum.sigmoid()) } else { sum };
                    tile.store(value, y.add(time * channels));
                }
                for time in length..convolution.length {
                    tile.store(S::zero(), y.add(time * channels));
                }
                if !task.final_window.is_null() {
                    for index in 0..before {
                        let row = convolution.extended::<S>(tile, group, sequence, length + index);
                        let to = (sequence * before + index) * channels;
                        tile.store(row, task.final_window.add(to));
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn backward<S: Simd>(task: &Backward<S::Scalar>, group: usize) {
    unsafe {
        let convolution = &task.convolution;
        let channels = convolution.channels;
        let (d_conv, before) = (convolution.d_conv, convolution.d_conv - 1);
        let mut taps = vec![S::zero(); d_conv];
        let mut dtaps = vec![S::zero(); d_conv];
        let mut dwindow = vec![S::zero(); before];
        // The gradient before the activation, at each time.
        let mut dsum = vec![S::zero(); convolution.length];
        for index in 0..channels.div_ceil(S::LANES) {
            let tile = Tile::new::<S>(index, channels);
            let bias = tile.load_or_zero::<S>(convolution.bias);
            let mut dbias = S::zero();
            dtaps.fill(S::zero());
            dwindow.fill(S::zero());
            for (k, tap) in taps.iter_mut().enumerate() {
                *tap = tile.load(convolution.weight.add(k * channels));
            }
            for sequence in group * convolution.per_group..(group + 1) * convolution.per_group {
                let length = convolution.real_length(sequence);
                for (time, dsum) in dsum.iter_mut().enumerate().take(length) {
                    let mut dy = tile.load::<S>(task.dy.at(sequence, time));
                    if convolution.silu {
                        let sum = convolution.before_activation(tile, &taps, bias, group, sequence, time);
                        // silu'(x) = s + x s (1 - s)
                        let sigmoid = sum.sigmoid();
                        let rest = S::splat(1.0).sub(sigmoid);
                        dy = dy.mul(sum.mul(sigmoid).mul_add(rest, sigmoid));
                    }
                    *dsum = dy;
                    dbias = dbias.add(dy);
                    for (k, dtap) in dtaps.iter_mut().enumerate() {
                        let input = convolution.extended::<S>(tile, group, sequence, time + k);
                        *dtap = dy.mul_add(input, *dtap);
                    }
                }
                let dx = task.dx.add(sequence * convolution.length * channels);
                for index in 0..length + before {
                    let mut gradient = S::zero();
                    if index >= length && !task.dfinal_window.is_null() {
                        let at = (sequence * before + index - length) * channels;
                        gradient = tile.load(task.dfinal_window.add(at));
                    }
                    // Row `index` met tap k at time index - k.
                    for k in (index + 1).saturating_sub(length)..=index.min(before) {
                        gradient = taps[k].mul_add(dsum[index - k], gradient);
                    }
                    if index >= before {
                        tile.store(gradient, dx.add((index - before) * channels));
                    } else {
                        dwindow[index] = dwindow[index].add(gradient);
                    }
                }
                for time in length..convolution.length {
                    tile.store(S::zero(), dx.add(time * channels));
                }
            }
            for (k, dtap) in dtaps.iter().enumerate() {
                tile.store(*dtap, task.dweight.add((group * d_conv + k) * channels));
            }
            if !task.dbias.is_null() {
                tile.store(dbias, task.dbias.add(group * channels));
            }
            if !task.dinitial_window.is_null() {
                for (index, gradient) in dwindow.iter().enumerate() {
                    let to = (group * before + index) * channels;
                    tile.store(*gradient, task.dinitial_window.add(to));
                }
            }
        }
    }
}
