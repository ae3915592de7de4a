//! A vector's worth of neighbouring channels.

use crate::ops::simd::Simd;

/// Up to [`Simd::LANES`] channels that one vector holds; the last tile may be narrower.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    pub first: usize,
    pub width: usize,
}

impl Tile {
    #[inline(always)]
    pub fn new<S: Simd>(index: usize, channels: usize) -> Self {
        let first = index * S::LANES;
        Self { first, width: S::LANES.min(channels - first) }
    }

    /// # Safety
    /// `row` must point to all the channels, as for the other methods.
    #[inline(always)]
    pub unsafe fn load<S: Simd>(&self, row: *const S::Scalar) -> S {
        // SAFETY: the tile lies within the row.
        unsafe { S::load_first(row.add(self.first), self.width) }
    }

    /// The same from a row whose channels lie `stride` apart.
    ///
    /// # Safety
    /// As [`Tile::load`].
    #[inline(always)]
    pub unsafe fn load_strided<S: Simd>(&self, row: *const S::Scalar, stride: usize) -> S {
        // SAFETY: as above.
        unsafe { S::load_strided(row.add(self.first * stride), stride, self.width) }
    }

    /// Zeros when `row` is null.
    ///
    /// # Safety
    /// As [`Tile::load`].
    #[inline(always)]
    pub unsafe fn load_or_zero<S: Simd>(&self, row: *const S::Scalar) -> S {
        // SAFETY: as above.
        unsafe { if row.is_null() { S::zero() } else { self.load(row) } }
    }

    /// # Safety
    /// As [`Tile::load`].
    #[inline(always)]
    pub unsafe fn store<S: Simd>(&self, value: S, row: *mut S::Scalar) {
        // SAFETY: as above.
        unsafe { value.store_first(row.add(self.first), self.width) }
    }
}
