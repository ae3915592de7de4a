//! Sixteen lanes of float32 in one AVX-512 register.

use super::{Simd, polynomial as p};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x16(__m512);

impl F32x16 {
    /// p(f) * 2^floor(k), with the coefficients of p.
    #[inline(always)]
    unsafe fn exp2_parts(coefficients: &[f32; 6], k: __m512, f: __m512) -> Self {
        unsafe {
            let mut sum = _mm512_set1_ps(coefficients[5]);
            for n in (0..5).rev() {
                sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(coefficients[n]));
            }
            sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0));
            Self(_mm512_scalef_ps(sum, k))
        }
    }

    /// Keeps the exponent where `x - round(x)` is a number; beyond it 2^x is 0 or infinite anyway.
    #[inline(always)]
    unsafe fn bounded(x: __m512) -> __m512 {
        unsafe {
            let low = _mm512_max_ps(_mm512_set1_ps(-300.0), x);
            _mm512_min_ps(_mm512_set1_ps(300.0), low)
        }
    }

    /// The sums of sixteen vectors in one: a transposition that adds as it goes, in 30 shuffles where
    /// sixteen sums one by one take 64.
    #[inline(always)]
    unsafe fn sums_of_16(v: &[Self; 16]) -> __m512 {
        #[inline(always)]
        unsafe fn pairs(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)) }
        }
        #[inline(always)]
        unsafe fn fours(a: __m512, b: __m512) -> __m512 {
            unsafe {
                let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
                let low = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                _mm512_add_ps(low, _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)))
            }
        }
        #[inline(always)]
        unsafe fn quarters(a: __m512, b: __m512) -> __m512 {
            unsafe {
                let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                _mm512_add_ps(even, _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b))
            }
        }
        unsafe {
            let four = |i: usize| fours(pairs(v[i].0, v[i + 1].0), pairs(v[i + 2].0, v[i + 3].0));
            quarters(quarters(four(0), four(4)), quarters(four(8), four(12)))
        }
    }
}

/// The mask of the first lanes, of at most 16.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
const FLOOR: i32 = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;

impl Simd for F32x16 {
    type Scalar = f32;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f64) -> Self {
        unsafe { Self(_mm512_set1_ps(value as f32)) }
    }
    #[inline(always)]
    unsafe fn broadcast(value: f32) -> Self {
        unsafe { Self(_mm512_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm512_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(_mm512_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { Self(_mm512_div_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        unsafe { Self(_mm512_fmadd_ps(self.0, factor.0, addend.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // The instruction returns its second operand when either is NaN.
        unsafe { Self(_mm512_max_ps(other.0, self.0)) }
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        unsafe { Self(_mm512_abs_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { Self(_mm512_sqrt_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        unsafe { Self(_mm512_maskz_loadu_ps(first(count), from)) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, first(count), self.0) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn add_sums<const N: usize>(vectors: &[Self; N], to: *mut f32) {
        unsafe {
            if N == 16 {
                let sums = Self::sums_of_16(&*vectors.as_ptr().cast());
                return _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), sums));
            }
            for (n, vector) in vectors.iter().enumerate() {
                *to.add(n) += vector.sum();
            }
        }
    }
    #[inline(always)]
    unsafe fn exp2(self) -> Self {
        unsafe {
            // The scan lives in this function. `reduce` gives x - floor(x), in [0, 1) whatever x, and
            // `scalef` takes the floor itself: neither rounding nor bounds are needed.
            let f = _mm512_reduce_ps::<FLOOR>(self.0);
            Self::exp2_parts(&p::EXP2_WHOLE, self.0, f)
        }
    }
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        unsafe {
            let x = Self::bounded(self.0);
            let log2_e = _mm512_set1_ps(std::f32::consts::LOG2_E);
            let k = _mm512_roundscale_ps::<NEAREST>(_mm512_mul_ps(x, log2_e));
            let r = _mm512_fnmadd_ps(k, _mm512_set1_ps(p::LN2_HIGH), x);
            let r = _mm512_fnmadd_ps(k, _mm512_set1_ps(p::LN2_LOW), r);
            Self::exp2_parts(&p::EXP2, k, _mm512_mul_ps(r, log2_e))
        }
    }
    #[inline(always)]
    unsafe fn ln_1p(self) -> Self {
        unsafe {
            let t = _mm512_div_ps(self.0, _mm512_add_ps(self.0, _mm512_set1_ps(2.0)));
            let s = _mm512_mul_ps(t, t);
            let mut sum = _mm512_set1_ps(p::ATANH[3]);
            sum = _mm512_fmadd_ps(sum, s, _mm512_set1_ps(p::ATANH[2]));
            sum = _mm512_fmadd_ps(sum, s, _mm512_set1_ps(p::ATANH[1]));
            sum = _mm512_fmadd_ps(sum, s, _mm512_set1_ps(p::ATANH[0]));
            sum = _mm512_fmadd_ps(sum, s, _mm512_set1_ps(1.0));
            Self(_mm512_mul_ps(_mm512_add_ps(t, t), sum))
        }
    }
}
