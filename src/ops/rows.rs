//! A borrowed view of a (batch, length, channels) array, for kernels.

/// A (batch, length, channels) array whose channels lie side by side.
#[derive(Clone, Copy)]
pub(crate) struct Rows<T> {
    pub start: *const T,
    pub batch_stride: usize,
    pub time_stride: usize,
}

impl<T> Rows<T> {
    /// The first channel of a sequence at a time.
    ///
    /// # Safety
    /// `sequence` and `time` must lie within the array's sizes.
    #[inline(always)]
    pub unsafe fn at(&self, sequence: usize, time: usize) -> *const T {
        // SAFETY: the caller stays within the array's sizes.
        unsafe { self.start.add(sequence * self.batch_stride + time * self.time_stride) }
    }
}
