//! The vector functions of every level against float64.

use super::{Level, Simd, dispatch, lanes};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Function {
    Exp2,
    Exp,
    Ln1p,
    Sigmoid,
    Softplus,
}

/// Numbers to apply a function to.
pub(crate) struct Task<T> {
    function: Function,
    from: *const T,
    to: *mut T,
}

dispatch! {
    /// Applies the function to vector `index` of the numbers.
    trait RunFunction: apply(Task)
}

#[inline(always)]
unsafe fn apply<S: Simd>(task: &Task<S::Scalar>, index: usize) {
    unsafe {
        let x = S::load(task.from.add(index * S::LANES));
        let y = match task.function {
            Function::Exp2 => x.exp2(),
            Function::Exp => x.exp(),
            Function::Ln1p => x.ln_1p(),
            Function::Sigmoid => x.sigmoid(),
            Function::Softplus => x.softplus(),
        };
        y.store(task.to.add(index * S::LANES));
    }
}

impl Function {
    /// The function in float64.
    fn exactly(self, x: f64) -> f64 {
        match self {
            Self::Exp2 => x.exp2(),
            Self::Exp => x.exp(),
            Self::Ln1p => x.ln_1p(),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }

    fn at<T: RunFunction>(self, level: Level, x: &[T]) -> Vec<T> {
        let width = lanes::<T>(level);
        let vectors = x.len().div_ceil(width);
        let mut from = x.to_vec();
        from.resize(vectors * width, T::default());
        let mut to = from.clone();
        let task = Task { function: self, from: from.as_ptr(), to: to.as_mut_ptr() };
        for index in 0..vectors {
            // SAFETY: both arrays hold whole vectors; the processor has the level.
            unsafe { T::run(level, &task, index) };
        }
        to.truncate(x.len());
        to
    }

    fn one(self, level: Level, x: f32) -> f32 {
        self.at(level, &[x])[0]
    }
}

/// The largest error on [low, high], in units of float32's last place; results below the normal
/// numbers are measured in the unit of the smallest.
fn largest_error(function: Function, level: Level, low: f32, high: f32) -> f64 {
    let count = 400_000;
    let x: Vec<f32> = (0..=count).map(|i| low + (high - low) * (i as f32 / count as f32)).collect();
    let errors = function.at(level, &x).into_iter().zip(&x).map(|(y, &x)| {
        assert!(y.is_finite(), "{function:?}({x}) is {y} at {level:?}");
        let want = function.exactly(f64::from(x));
        let octave = want.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor().exp2();
        (f64::from(y) - want).abs() / (octave * f64::from(f32::EPSILON))
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn functions_are_accurate_to_a_few_units_in_the_last_place() {
    use Function::{Exp, Exp2, Ln1p, Sigmoid, Softplus};
    let bounds = [
        (Exp2, 1.5, vec![(-160.0, -126.0), (-126.0, 127.9), (-1.0, 1.0)]),
        (Exp, 1.5, vec![(-110.0, -87.0), (-87.0, 88.7), (-1.0, 1.0)]),
        (Ln1p, 3.0, vec![(0.0, 1.0), (0.0, 1e-3), (0.0, 1e-38)]),
        (Sigmoid, 3.0, vec![(-87.0, 87.0), (-1.0, 1.0)]),
        (Softplus, 3.5, vec![(-110.0, -87.0), (-87.0, 87.0), (-1.0, 1.0)]),
    ];
    for (function, bound, ranges) in bounds {
        for level in Level::available() {
            for &(low, high) in &ranges {
                let error = largest_error(function, level, low, high);
                assert!(error <= bound, "{function:?} on [{low}, {high}] at {level:?}: {error} ULP");
            }
        }
    }
}

#[test]
fn functions_are_those_of_the_standard_library_in_float64() {
    use Function::{Exp, Exp2, Ln1p, Sigmoid, Softplus};
    let x: Vec<f64> = (0..=1000).map(|i| f64::from(i) / 1000.0).collect();
    for function in [Exp, Exp2, Ln1p, Sigmoid, Softplus] {
        for (y, &x) in function.at(Level::Portable, &x).into_iter().zip(&x) {
            let want = function.exactly(x);
            assert!((y - want).abs() <= 4.0 * f64::EPSILON * want, "{function:?}({x}) is {y}");
        }
    }
}

#[test]
fn special_values_come_out_as_they_should() {
    use Function::{Exp, Exp2, Ln1p, Sigmoid, Softplus};
    let (infinity, tiny) = (f32::INFINITY, f32::from_bits(1));
    let ln_2 = std::f32::consts::LN_2;
    let values = [
        (Exp2, vec![(infinity, infinity), (128.0, infinity), (1e30, infinity), (f32::MAX, infinity)]),
        (Exp2, vec![(-infinity, 0.0), (-151.0, 0.0), (-1e30, 0.0), (f32::MIN, 0.0), (-149.0, tiny)]),
        (Exp2, vec![(0.0, 1.0), (-0.0, 1.0), (tiny, 1.0), (-tiny, 1.0), (10.0, 1024.0), (-3.0, 0.125)]),
        (Exp, vec![(infinity, infinity), (89.0, infinity), (1e30, infinity), (f32::MAX, infinity)]),
        (Exp, vec![(-infinity, 0.0), (-105.0, 0.0), (-1e30, 0.0), (f32::MIN, 0.0)]),
        (Exp, vec![(0.0, 1.0), (-0.0, 1.0), (tiny, 1.0), (-tiny, 1.0)]),
        (Ln1p, vec![(0.0, 0.0), (f32::MIN_POSITIVE, f32::MIN_POSITIVE)]),
        (Sigmoid, vec![(infinity, 1.0), (1e30, 1.0), (-infinity, 0.0), (-1e30, 0.0)]),
        (Sigmoid, vec![(0.0, 0.5), (-0.0, 0.5), (tiny, 0.5), (-tiny, 0.5)]),
        (Softplus, vec![(infinity, infinity), (1e30, 1e30), (f32::MAX, f32::MAX), (100.0, 100.0)]),
        (Softplus, vec![(-infinity, 0.0), (-1e30, 0.0), (0.0, ln_2), (-0.0, ln_2), (tiny, ln_2)]),
    ];
    for level in Level::available() {
        for (function, pairs) in &values {
            for &(x, want) in pairs {
                let y = function.one(level, x);
                assert!(y == want, "{function:?}({x:e}) is {y:e} at {level:?}, not {want:e}");
            }
        }
        for function in [Exp2, Exp, Ln1p, Sigmoid, Softplus] {
            assert!(function.one(level, f32::NAN).is_nan(), "{function:?}(NaN) at {level:?}");
        }
    }
}

/// What a vector of the numbers 1, 2, ... gives at places past `count`, and in sums.
pub(crate) struct Part<T> {
    count: usize,
    /// Sixteen numbers to load from.
    from: *const T,
    /// Sixteen numbers to store to.
    to: *mut T,
    /// Sixteen sums to add to.
    sums: *mut T,
}

dispatch! {
    /// Loads and stores a part of a vector, and adds up sixteen multiples of it.
    trait RunPart: part(Part)
}

#[inline(always)]
unsafe fn part<S: Simd>(task: &Part<S::Scalar>, _index: usize) {
    unsafe {
        let x = S::load_first(task.from, task.count);
        x.store_first(task.to, task.count);
        let mut multiples = [S::zero(); 16];
        for n in 1..16 {
            multiples[n] = multiples[n - 1].add(x);
        }
        S::add_sums(&multiples, task.sums);
    }
}

#[test]
fn a_part_of_a_vector_touches_nothing_else() {
    fn check<T: RunPart + From<u8> + PartialEq + std::fmt::Debug>(level: Level) {
        for count in 0..=lanes::<T>(level) {
            let number = |i: usize| T::from(i as u8);
            // The numbers past `count` must not be seen: they would change the sums.
            let from: Vec<T> = (1..=16).map(number).collect();
            let (mut to, mut sums) = (vec![number(99); 16], vec![number(1); 16]);
            let task = Part { count, from: from.as_ptr(), to: to.as_mut_ptr(), sums: sums.as_mut_ptr() };
            // SAFETY: three arrays of sixteen numbers, as the task says.
            unsafe { T::run(level, &task, 0) };
            assert_eq!(to[..count], from[..count]);
            assert!(to[count..].iter().all(|past| *past == number(99)));
            let sum = (1..=count).sum::<usize>();
            for (n, got) in sums.into_iter().enumerate() {
                assert!(got == product(n, sum), "{got:?} is not 1 + {n} * {sum} at {level:?}");
            }
        }
    }
    /// 1 + n * sum, by additions that are exact.
    fn product<T: From<u8> + std::ops::AddAssign>(n: usize, sum: usize) -> T {
        let mut total = T::from(1);
        for _ in 0..n {
            total += T::from(sum as u8);
        }
        total
    }
    for level in Level::available() {
        check::<f32>(level);
        check::<f64>(level);
    }
}
