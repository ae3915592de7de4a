// Numbers as the kernels meet them: elements of four types in memory, `Real` (float, or double for float64)
// in registers. REAL is defined at compile time. Needs no header of CUDA's. What is told apart by __CUDACC__ here, the tests' emulator
// (emulator.h) gives in plain C++.

typedef long long i64;

using Real = REAL;

struct f16 { unsigned short bits; };
struct bf16 { unsigned short bits; };

#ifdef __CUDACC__

#define INLINE __device__ __forceinline__

// Two units in the last place, which is what the sums around it lose anyway.
INLINE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

INLINE float reciprocal_fast(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

INLINE float widen(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}

INLINE f16 to_f16(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}

// A stride further. Opaque to the compiler, which would keep a multiple of the stride for each of a few steps,
// two registers for each.
template <class T> INLINE T *strode(T *at, i64 stride) {
  asm("" : "+l"(stride));
  return at + stride;
}

INLINE float float_of_bits(unsigned int bits) { return __uint_as_float(bits); }
INLINE unsigned int bits_of_float(float x) { return __float_as_uint(x); }

#else

INLINE float widen(f16 x) { return float_of_half(x.bits); }
INLINE f16 to_f16(float x) { return {half_of_float(x)}; }
template <class T> INLINE T *strode(T *at, i64 stride) { return at + stride; }

#endif

INLINE double exp2_fast(double x) { return exp2(x); }
INLINE double reciprocal_fast(double x) { return 1.0 / x; }

// log(1 + x) for x in [0, 1]. In float a polynomial fitted to log(1 + x) / x at Chebyshev's nodes, with a
// relative error of 1.7e-7: the library's function has a branch.
INLINE float log1p_of_fraction(float x) {
  const float coefficients[] = {1.0f,        -0.499995023f, 0.333192706f,  -0.248443693f, 0.191114306f,
                                -0.136747703f, 0.0783616677f, -0.0295885075f, 0.00525345793f};
  float sum = coefficients[8];
#pragma unroll
  for (int i = 7; i >= 0; --i) sum = sum * x + coefficients[i];
  return sum * x;
}
INLINE double log1p_of_fraction(double x) { return log1p(x); }


INLINE float widen(float x) { return x; }
INLINE double widen(double x) { return x; }
INLINE float widen(bf16 x) { return float_of_bits((unsigned int)x.bits << 16); }

// To the nearest, ties to even; a NaN stays one.
INLINE bf16 to_bf16(float x) {
  const unsigned int bits = bits_of_float(x);
  bf16 y;
  y.bits = (unsigned short)((x != x) ? 0x7fc0u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  return y;
}

INLINE void put(float *to, float x) { *to = x; }
INLINE void put(double *to, double x) { *to = x; }
INLINE void put(f16 *to, float x) { *to = to_f16(x); }
INLINE void put(bf16 *to, float x) { *to = to_bf16(x); }

template <class T> INLINE T zero() { return T{}; }

INLINE Real sigmoid(Real x) {
  return reciprocal_fast(Real(1) + exp2_fast(x * Real(-1.4426950408889634)));
}

// log(1 + exp(x)) without overflow, and exact to the last places where it is small, as step sizes are.
INLINE Real softplus(Real x) {
  const Real least = x > Real(0) ? -x : x;
  return (x > Real(0) ? x : Real(0)) + log1p_of_fraction(exp2_fast(least * Real(1.4426950408889634)));
}

// Neighbours that one instruction loads or stores: N a power of two.
template <class T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack { T at[N]; };

// A (batch, length, channels) array whose channels lie side by side.
template <class T> struct Rows {
  T *start;
  i64 batch_stride;
  i64 time_stride;
  INLINE T *at(i64 sequence, i64 time) const { return start + sequence * batch_stride + time * time_stride; }
};

// N sums over lanes that differ in the bits `BIT`, `BIT / 2`, ..., `LAST`: first each lane gives half of
// its sums away and keeps the other half, until it has one; then whole sums are added. With N = 2^k, the
// lane's k highest of these bits say which of the N sums it gets.
template <int BIT, int LAST, int N> INLINE Real sum_over_lanes(const Real (&values)[N], int lane) {
  if constexpr (BIT < LAST) {
    return values[0];
  } else if constexpr (N == 1) {
    const Real sum[1] = {values[0] + __shfl_xor_sync(0xffffffffu, values[0], BIT)};
    return sum_over_lanes<BIT / 2, LAST>(sum, lane);
  } else {
    const bool upper = lane & BIT;
    Real kept[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      const Real give = upper ? values[i] : values[i + N / 2];
      const Real keep = upper ? values[i + N / 2] : values[i];
      kept[i] = keep + __shfl_xor_sync(0xffffffffu, give, BIT);
    }
    return sum_over_lanes<BIT / 2, LAST>(kept, lane);
  }
}
