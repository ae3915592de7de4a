//! The operations alone, forward and backward: `cargo bench`. Ratios to limits and peers are those of
//! `mambacl bench`; here a change of a kernel is compared with the run before.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mambacl::ops::causal_conv1d::CausalConv1d;
use mambacl::ops::selective_scan::SelectiveScan;
use tch::{Device, Kind, Tensor};

const BATCH: i64 = 16;
const D_INNER: i64 = 1024;
const D_STATE: i64 = 16;
const LENGTHS: [i64; 2] = [50, 200];

fn normal(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

fn leaf(shape: &[i64]) -> Tensor {
    normal(shape).set_requires_grad(true)
}

fn selective_scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("selective_scan");
    group.sample_size(10);
    for length in LENGTHS {
        let sequence = || leaf(&[BATCH, length, D_INNER]);
        let (u, delta, z) = (sequence(), sequence(), sequence());
        let a = (-normal(&[D_INNER, D_STATE]).abs()).set_requires_grad(true);
        let (b, c) = (leaf(&[BATCH, length, D_STATE]), leaf(&[BATCH, length, D_STATE]));
        let (d, bias) = (leaf(&[D_INNER]), leaf(&[D_INNER]));
        let scan = SelectiveScan {
            d: Some(&d),
            z: Some(&z),
            delta_bias: Some(&bias),
            delta_softplus: true,
            ..SelectiveScan::new(&u, &delta, &a, &b, &c)
        };
        group.bench_function(BenchmarkId::new("forward", length), |bencher| {
            bencher.iter(|| tch::no_grad(|| scan.run(false).expect("the shapes fit")));
        });
        group.bench_function(BenchmarkId::new("forward and backward", length), |bencher| {
            bencher.iter(|| scan.run(false).expect("the shapes fit").0.sum(Kind::Float).backward());
        });
    }
}

fn causal_conv1d(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("causal_conv1d");
    group.sample_size(10);
    for length in LENGTHS {
        let (x, weight, bias) = (leaf(&[BATCH, length, D_INNER]), leaf(&[D_INNER, 4]), leaf(&[D_INNER]));
        let convolution = CausalConv1d { bias: Some(&bias), silu: true, ..CausalConv1d::new(&x, &weight) };
        group.bench_function(BenchmarkId::new("forward", length), |bencher| {
            bencher.iter(|| tch::no_grad(|| convolution.run(false).expect("the shapes fit")));
        });
        group.bench_function(BenchmarkId::new("forward and backward", length), |bencher| {
            bencher.iter(|| convolution.run(false).expect("the shapes fit").0.sum(Kind::Float).backward());
        });
    }
}

criterion_group!(benches, selective_scan, causal_conv1d);
criterion_main!(benches);
