//! Eight lanes of float32 in one AVX register.

use super::{Simd, polynomial as p};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x8(__m256);

impl F32x8 {
    /// p(f) * 2^k, with f in [-1/2, 1/2] and k a whole number in [-160, 160].
    #[inline(always)]
    unsafe fn exp2_parts(k: __m256, f: __m256) -> Self {
        unsafe {
            let mut sum = _mm256_set1_ps(p::EXP2[5]);
            sum = _mm256_fmadd_ps(sum, f, _mm256_set1_ps(p::EXP2[4]));
            sum = _mm256_fmadd_ps(sum, f, _mm256_set1_ps(p::EXP2[3]));
            sum = _mm256_fmadd_ps(sum, f, _mm256_set1_ps(p::EXP2[2]));
            sum = _mm256_fmadd_ps(sum, f, _mm256_set1_ps(p::EXP2[1]));
            sum = _mm256_fmadd_ps(sum, f, _mm256_set1_ps(p::EXP2[0]));
            sum = _mm256_fmadd_ps(sum, f, _mm256_set1_ps(1.0));
            // 2^k in two factors, so that results below the normal numbers and infinity come out.
            let whole = _mm256_cvtps_epi32(k);
            let half = _mm256_srai_epi32::<1>(whole);
            let rest = _mm256_sub_epi32(whole, half);
            let scaled = _mm256_mul_ps(sum, Self::power_of_two(half));
            Self(_mm256_mul_ps(scaled, Self::power_of_two(rest)))
        }
    }

    #[inline(always)]
    unsafe fn power_of_two(k: __m256i) -> __m256 {
        unsafe {
            let biased = _mm256_add_epi32(k, _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        }
    }

    /// Keeps the exponent in [-160, 160]; beyond it 2^x is 0 or infinite anyway.
    #[inline(always)]
    unsafe fn bounded(x: __m256, limit: f32) -> __m256 {
        unsafe {
            let low = _mm256_max_ps(_mm256_set1_ps(-limit), x);
            _mm256_min_ps(_mm256_set1_ps(limit), low)
        }
    }
}

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

impl Simd for F32x8 {
    type Scalar = f32;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f64) -> Self {
        unsafe { Self(_mm256_set1_ps(value as f32)) }
    }
    #[inline(always)]
    unsafe fn broadcast(value: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(_mm256_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(_mm256_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(_mm256_mul_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { Self(_mm256_div_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        unsafe { Self(_mm256_fmadd_ps(self.0, factor.0, addend.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // The instruction returns its second operand when either is NaN.
        unsafe { Self(_mm256_max_ps(other.0, self.0)) }
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        unsafe { Self(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0)) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { Self(_mm256_sqrt_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    unsafe fn exp2(self) -> Self {
        unsafe {
            let x = Self::bounded(self.0, 160.0);
            let k = _mm256_round_ps::<NEAREST>(x);
            Self::exp2_parts(k, _mm256_sub_ps(x, k))
        }
    }
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        unsafe {
            let x = Self::bounded(self.0, 110.0);
            let log2_e = _mm256_set1_ps(std::f32::consts::LOG2_E);
            let k = _mm256_round_ps::<NEAREST>(_mm256_mul_ps(x, log2_e));
            let r = _mm256_fnmadd_ps(k, _mm256_set1_ps(p::LN2_HIGH), x);
            let r = _mm256_fnmadd_ps(k, _mm256_set1_ps(p::LN2_LOW), r);
            Self::exp2_parts(k, _mm256_mul_ps(r, log2_e))
        }
    }
    #[inline(always)]
    unsafe fn ln_1p(self) -> Self {
        unsafe {
            let t = _mm256_div_ps(self.0, _mm256_add_ps(self.0, _mm256_set1_ps(2.0)));
            let s = _mm256_mul_ps(t, t);
            let mut sum = _mm256_set1_ps(p::ATANH[3]);
            sum = _mm256_fmadd_ps(sum, s, _mm256_set1_ps(p::ATANH[2]));
            sum = _mm256_fmadd_ps(sum, s, _mm256_set1_ps(p::ATANH[1]));
            sum = _mm256_fmadd_ps(sum, s, _mm256_set1_ps(p::ATANH[0]));
            sum = _mm256_fmadd_ps(sum, s, _mm256_set1_ps(1.0));
            Self(_mm256_mul_ps(_mm256_add_ps(t, t), sum))
        }
    }
}
