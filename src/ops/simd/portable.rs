//! Arrays that any target can run and most compilers vectorise.

use super::{Simd, polynomial as p};

/// Eight lanes of float32.
#[derive(Clone, Copy)]
pub(crate) struct F32Lanes([f32; 8]);

/// Eight lanes of float64, with the standard library's functions: it checks the others.
#[derive(Clone, Copy)]
pub(crate) struct F64Lanes([f64; 8]);

macro_rules! arithmetic {
    ($scalar:ty) => {
        type Scalar = $scalar;
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f64) -> Self {
            Self([value as $scalar; 8])
        }
        #[inline(always)]
        unsafe fn broadcast(value: $scalar) -> Self {
            Self([value; 8])
        }
        #[inline(always)]
        unsafe fn load(from: *const $scalar) -> Self {
            // SAFETY: the caller vouches for eight numbers; an array has their alignment.
            Self(unsafe { from.cast::<[$scalar; 8]>().read() })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut $scalar) {
            // SAFETY: as above.
            unsafe { to.cast::<[$scalar; 8]>().write(self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            Self(std::array::from_fn(|i| self.0[i] * other.0[i]))
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            Self(std::array::from_fn(|i| self.0[i] / other.0[i]))
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
            // Not `mul_add`: without the instruction it is a slow library call.
            Self(std::array::from_fn(|i| self.0[i] * factor.0[i] + addend.0[i]))
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            Self(std::array::from_fn(|i| if other.0[i] > self.0[i] { other.0[i] } else { self.0[i] }))
        }
        #[inline(always)]
        unsafe fn abs(self) -> Self {
            Self(self.0.map(<$scalar>::abs))
        }
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            Self(self.0.map(<$scalar>::sqrt))
        }
        #[inline(always)]
        unsafe fn sum(self) -> $scalar {
            let [a, b, c, d, e, f, g, h] = self.0;
            ((a + e) + (c + g)) + ((b + f) + (d + h))
        }
    };
}

/// p(f) * 2^k, with f in [-1/2, 1/2] and k a whole number in [-160, 160].
#[inline(always)]
fn exp2_parts(k: f32, f: f32) -> f32 {
    let mut sum = p::EXP2[5];
    for coefficient in [p::EXP2[4], p::EXP2[3], p::EXP2[2], p::EXP2[1], p::EXP2[0], 1.0] {
        sum = sum * f + coefficient;
    }
    // 2^k in two factors, so that results below the normal numbers and infinity come out.
    let whole = k as i32;
    let half = whole >> 1;
    let power = |k: i32| f32::from_bits(((k + 127) << 23) as u32);
    sum * power(half) * power(whole - half)
}

/// The nearest whole number, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits for a fraction.
#[inline(always)]
fn nearest(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT) - SHIFT
}

impl Simd for F32Lanes {
    arithmetic!(f32);

    #[inline(always)]
    unsafe fn exp2(self) -> Self {
        Self(self.0.map(|x| {
            let x = x.clamp(-160.0, 160.0);
            let k = nearest(x);
            exp2_parts(k, x - k)
        }))
    }
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        Self(self.0.map(|x| {
            let x = x.clamp(-110.0, 110.0);
            let k = nearest(x * std::f32::consts::LOG2_E);
            let r = (x - k * p::LN2_HIGH) - k * p::LN2_LOW;
            exp2_parts(k, r * std::f32::consts::LOG2_E)
        }))
    }
    #[inline(always)]
    unsafe fn ln_1p(self) -> Self {
        Self(self.0.map(|x| {
            let t = x / (x + 2.0);
            let s = t * t;
            let mut sum = p::ATANH[3];
            for coefficient in [p::ATANH[2], p::ATANH[1], p::ATANH[0], 1.0] {
                sum = sum * s + coefficient;
            }
            (t + t) * sum
        }))
    }
}

impl Simd for F64Lanes {
    arithmetic!(f64);

    #[inline(always)]
    unsafe fn exp2(self) -> Self {
        Self(self.0.map(f64::exp2))
    }
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        Self(self.0.map(f64::exp))
    }
    #[inline(always)]
    unsafe fn ln_1p(self) -> Self {
        Self(self.0.map(f64::ln_1p))
    }
}
