//! A vector of lanes, in the few operations the kernels need.
//!
//! A kernel is written once, over [`Simd`], as an `#[inline(always)]` function. The macro
//! [`dispatch!`](crate::ops::simd::dispatch) compiles it once for each instruction set, each copy
//! inside a function that switches the set on, and calls the best one that this processor has
//! ([`Level::detect`]).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::F32x8;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::F32x16;
pub(crate) use portable::{F32Lanes, F64Lanes};

use std::sync::OnceLock;

/// A vector of [`Simd::LANES`] numbers.
///
/// # Safety
/// Every method may use the instructions of its set: call it only in a function compiled for that
/// set. `load` and `store` touch `LANES` numbers from the pointer on.
pub(crate) trait Simd: Copy {
    /// The number in a lane.
    type Scalar: Copy + Default + Send + Sync + std::ops::AddAssign + 'static;
    /// How many lanes there are.
    const LANES: usize;

    unsafe fn splat(value: f64) -> Self;
    unsafe fn broadcast(value: Self::Scalar) -> Self;
    unsafe fn load(from: *const Self::Scalar) -> Self;
    unsafe fn store(self, to: *mut Self::Scalar);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once where the set has the instruction.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The larger of the two in each lane; NaN in `self` stays NaN.
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn abs(self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// The sum of the lanes, always in the same order.
    unsafe fn sum(self) -> Self::Scalar;
    /// 2 to the power of each lane.
    unsafe fn exp2(self) -> Self;
    /// e to the power of each lane.
    unsafe fn exp(self) -> Self;
    /// ln(1 + x) of each lane, for x in [0, 1].
    unsafe fn ln_1p(self) -> Self;

    /// `count` numbers from the pointer on, zeros in the other lanes.
    #[inline(always)]
    unsafe fn load_first(from: *const Self::Scalar, count: usize) -> Self {
        unsafe {
            if count == Self::LANES {
                return Self::load(from);
            }
            let mut lanes = [Self::Scalar::default(); 16];
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
            Self::load(lanes.as_ptr())
        }
    }

    /// The same of numbers that lie `stride` apart.
    #[inline(always)]
    unsafe fn load_strided(from: *const Self::Scalar, stride: usize, count: usize) -> Self {
        unsafe {
            if stride == 1 {
                return Self::load_first(from, count);
            }
            let mut lanes = [Self::Scalar::default(); 16];
            for (lane, number) in lanes.iter_mut().enumerate().take(count) {
                *number = *from.add(lane * stride);
            }
            Self::load(lanes.as_ptr())
        }
    }

    /// Stores the first `count` lanes.
    #[inline(always)]
    unsafe fn store_first(self, to: *mut Self::Scalar, count: usize) {
        unsafe {
            if count == Self::LANES {
                return self.store(to);
            }
            let mut lanes = [Self::Scalar::default(); 16];
            self.store(lanes.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }

    /// Adds the sum of each vector's lanes to `to[n]`.
    #[inline(always)]
    unsafe fn add_sums<const N: usize>(vectors: &[Self; N], to: *mut Self::Scalar) {
        for (n, vector) in vectors.iter().enumerate() {
            // SAFETY: the caller vouches for N numbers.
            unsafe { *to.add(n) += vector.sum() };
        }
    }

    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { Self::splat(0.0) }
    }

    /// 1 / (1 + exp(-x)).
    #[inline(always)]
    unsafe fn sigmoid(self) -> Self {
        unsafe {
            let one = Self::splat(1.0);
            one.div(one.add(Self::zero().sub(self).exp()))
        }
    }

    /// ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(-|x|)), which neither overflows nor cancels.
    #[inline(always)]
    unsafe fn softplus(self) -> Self {
        unsafe {
            let tail = Self::zero().sub(self.abs()).exp().ln_1p();
            self.max(Self::zero()).add(tail)
        }
    }
}

/// The instruction sets that have a copy of each kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// AVX-512 F, BW, DQ and VL: 16 lanes of float32.
    Avx512,
    /// AVX2 and FMA: 8 lanes of float32.
    Avx2,
    /// Arrays that the compiler vectorises for the build's target.
    Portable,
}

impl Level {
    /// The best level of this processor, or a lower one named by `MAMBACL_SIMD`
    /// (`avx512`, `avx2` or `portable`). Asked for once in a process.
    pub fn detect() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let best = Self::best();
            let level = match std::env::var("MAMBACL_SIMD").as_deref() {
                Ok("portable") => Self::Portable,
                Ok("avx2") if best == Self::Avx512 => Self::Avx2,
                Ok("avx512" | "avx2") | Err(_) => best,
                Ok(other) => {
                    log::warn!("MAMBACL_SIMD={other:?} is none of avx512, avx2, portable: ignored");
                    best
                }
            };
            log::debug!("CPU kernels run at SIMD level {level:?}");
            level
        })
    }

    #[cfg(target_arch = "x86_64")]
    fn best() -> Self {
        let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (fma, wide) {
            (true, true) => Self::Avx512,
            (true, false) => Self::Avx2,
            _ => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn best() -> Self {
        Self::Portable
    }

    /// Every level that this processor has.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let levels = [Self::Avx512, Self::Avx2, Self::Portable];
        levels.into_iter().skip_while(|level| *level != Self::best()).collect()
    }

    /// The name that `MAMBACL_SIMD` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }
}

/// A number that the CPU kernels compute in.
pub(crate) trait Real: Copy + Default + Send + Sync + std::ops::AddAssign + 'static {
    /// The type as torch names it.
    const KIND: tch::Kind;
}

impl Real for f32 {
    const KIND: tch::Kind = tch::Kind::Float;
}

impl Real for f64 {
    const KIND: tch::Kind = tch::Kind::Double;
}

/// Defines `$name`, which runs the generic `$kernel::<S>` at a given [`Level`], for float32 and
/// float64.
///
/// The generic kernel must be `#[inline(always)]`, so that it is compiled with the instructions of
/// the function it lands in.
macro_rules! dispatch {
    ($(#[$doc:meta])* trait $name:ident: $kernel:ident($task:ident)) => {
        $(#[$doc])*
        pub(crate) trait $name: $crate::ops::simd::Real {
            /// # Safety
            /// The pointers of the task must be valid for the sizes it states, and no other running
            /// task may write what this one touches.
            unsafe fn run(level: $crate::ops::simd::Level, task: &$task<Self>, index: usize);
        }

        impl $name for f32 {
            unsafe fn run(level: $crate::ops::simd::Level, task: &$task<f32>, index: usize) {
                use $crate::ops::simd::{F32Lanes, Level};
                #[cfg(target_arch = "x86_64")]
                use $crate::ops::simd::{F32x8, F32x16};

                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                unsafe fn avx512(task: &$task<f32>, index: usize) {
                    unsafe { $kernel::<F32x16>(task, index) }
                }

                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2(task: &$task<f32>, index: usize) {
                    unsafe { $kernel::<F32x8>(task, index) }
                }

                // SAFETY: the caller vouches for the task; `Level::detect` for the instructions.
                unsafe {
                    match level {
                        #[cfg(target_arch = "x86_64")]
                        Level::Avx512 => avx512(task, index),
                        #[cfg(target_arch = "x86_64")]
                        Level::Avx2 => avx2(task, index),
                        _ => $kernel::<F32Lanes>(task, index),
                    }
                }
            }
        }

        impl $name for f64 {
            unsafe fn run(_level: $crate::ops::simd::Level, task: &$task<f64>, index: usize) {
                // SAFETY: the caller vouches for the task. float64 is for checking gradients: the
                // portable form serves it.
                unsafe { $kernel::<$crate::ops::simd::F64Lanes>(task, index) }
            }
        }
    };
}
pub(crate) use dispatch;

/// How many lanes the kernels of one type use at a level: the width of a channel tile.
pub(crate) fn lanes<T: Real>(level: Level) -> usize {
    match (T::KIND, level) {
        (tch::Kind::Float, Level::Avx512) => 16,
        (tch::Kind::Float, _) => 8,
        _ => F64Lanes::LANES,
    }
}

/// Coefficients of the float32 polynomials, shared by every instruction set.
///
/// Minimax fits (Remez) made for this crate: the largest relative error before rounding stands at
/// each.
pub(crate) mod polynomial {
    use std::f32::consts::LN_2;

    /// 2^f = 1 + f (c0 + f (c1 + ...)) on [-1/2, 1/2]; 2.0e-9.
    pub const EXP2: [f32; 6] =
        [LN_2, 0.240_226_48, 0.055_503_324, 0.009_618_437, 0.001_339_887_5, 0.000_153_533_62];
    /// The same on [0, 1]; 1.3e-8, most of it from rounding the coefficients.
    pub const EXP2_WHOLE: [f32; 6] =
        [0.693_147_04, 0.240_229_31, 0.055_485_28, 0.009_675_452, 0.001_246_784_7, 0.000_216_129_15];
    /// atanh(t) / t = 1 + s (c0 + s (c1 + ...)) with s = t^2 in [0, 1/9]; 4.5e-9.
    pub const ATANH: [f32; 4] = [0.333_332_1, 0.200_107_63, 0.140_009_02, 0.140_059_98];
    /// ln 2 in two parts, the first with trailing zeros, so that k * LN2_HIGH is exact.
    pub const LN2_HIGH: f32 = 0.693_145_75;
    pub const LN2_LOW: f32 = 1.428_606_8e-6;
}
