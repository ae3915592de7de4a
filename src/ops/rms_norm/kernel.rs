//! RMSNorm of a token on a CPU: pointers, no tensors.

use crate::ops::simd::{Simd, dispatch};
use crate::ops::tile::Tile;

/// Tokens to normalise and where they go.
pub(crate) struct Norm<T> {
    /// (tokens, d_model)
    pub x: *const T,
    pub weight: *const T,
    pub epsilon: f64,
    pub d_model: usize,
    pub to: *mut T,
}

dispatch! {
    /// The norm of token `index`.
    trait RunNorm: normalise(Norm)
}

/// Of one token; also for kernels that begin with it.
///
/// # Safety
/// The pointers must be to `index + 1` tokens.
#[inline(always)]
pub(crate) unsafe fn normalise<S: Simd>(task: &Norm<S::Scalar>, index: usize) {
    unsafe {
        let d_model = task.d_model;
        let (x, to) = (task.x.add(index * d_model), task.to.add(index * d_model));
        let tiles = d_model.div_ceil(S::LANES);
        let mut squares = S::zero();
        for tile in 0..tiles {
            let x = Tile::new::<S>(tile, d_model).load::<S>(x);
            squares = x.mul_add(x, squares);
        }
        let mean = S::broadcast(squares.sum()).div(S::splat(d_model as f64));
        let root = mean.add(S::splat(task.epsilon)).sqrt();
        for tile in 0..tiles {
            let tile = Tile::new::<S>(tile, d_model);
            tile.store(tile.load::<S>(x).div(root).mul(tile.load(task.weight)), to);
        }
    }
}
