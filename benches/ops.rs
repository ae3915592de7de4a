//! The operations alone, forward and backward: `cargo bench`. Ratios to limits and peers are those of
//! `mambacl bench`; here a change of a kernel is compared with the run before.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mambacl::ops::causal_conv1d::CausalConv1d;
use mambacl::ops::mamba_step::MambaStep;
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

/// A block's parameters for d_model numbers, in the order of `step`.
fn block(d_model: i64) -> [Tensor; 10] {
    let (d_inner, dt_rank) = (2 * d_model, d_model / 16);
    let scaled = |shape: &[i64; 2]| normal(shape) / (shape[1] as f64).sqrt();
    [
        normal(&[d_model]),
        scaled(&[2 * d_inner, d_model]),
        normal(&[d_inner, 1, 4]),
        normal(&[d_inner]),
        scaled(&[dt_rank + 2 * D_STATE, d_inner]),
        scaled(&[d_inner, dt_rank]),
        normal(&[d_inner]),
        normal(&[d_inner, D_STATE]),
        normal(&[d_inner]),
        scaled(&[d_model, d_inner]),
    ]
}

/// The block by way of the operations for whole sequences.
fn long_way(step: &MambaStep) -> Tensor {
    let none = None::<&Tensor>;
    let normed = step.x.rms_norm(step.norm_weight.size(), Some(step.norm_weight), step.norm_epsilon);
    let projected = normed.linear(step.in_proj, none).chunk(2, -1);
    let taps = step.conv_weight.squeeze_dim(1);
    let convolution = CausalConv1d {
        bias: Some(step.conv_bias),
        silu: true,
        initial_window: Some(step.conv_window),
        ..CausalConv1d::new(&projected[0], &taps)
    };
    let (u, _) = convolution.run(true).expect("the shapes fit");
    let sizes = [step.dt_weight.size()[1], D_STATE, D_STATE];
    let selected = u.linear(step.x_proj, none).split_with_sizes(sizes, -1);
    let (delta, a) = (selected[0].linear(step.dt_weight, none), step.a_log.exp().neg());
    let scan = SelectiveScan {
        d: Some(step.d),
        z: Some(&projected[1]),
        delta_bias: Some(step.dt_bias),
        delta_softplus: true,
        initial_state: Some(step.ssm_state),
        ..SelectiveScan::new(&u, &delta, &a, &selected[1], &selected[2])
    };
    let (y, _) = scan.run(true).expect("the shapes fit");
    step.x + y.linear(step.out_proj, none)
}

fn mamba_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mamba_step");
    for d_model in [128, 512, 1024] {
        let [norm_weight, in_proj, conv_weight, conv_bias, x_proj, dt_weight, dt_bias, a_log, d, out_proj] =
            &block(d_model);
        for (rows, length) in [(1, 1), (1, 2), (4, 2)] {
            // As the kernels leave states: channels side by side.
            let state = |steps: i64| normal(&[rows, steps, 2 * d_model]).transpose(1, 2);
            let step = MambaStep {
                x: &normal(&[rows, length, d_model]),
                norm_weight,
                norm_epsilon: 1e-5,
                in_proj,
                conv_weight,
                conv_bias,
                x_proj,
                dt_weight,
                dt_bias,
                a_log,
                d,
                out_proj,
                conv_window: &state(3),
                ssm_state: &state(D_STATE),
            };
            let case = format!("d_model {d_model}, {rows} x {length}");
            group.bench_function(BenchmarkId::new("in one pass", &case), |bencher| {
                bencher.iter(|| step.run(true).expect("the shapes fit").expect("the kernel serves"));
            });
            group.bench_function(BenchmarkId::new("long way", &case), |bencher| {
                bencher.iter(|| tch::no_grad(|| long_way(&step)));
            });
        }
    }
}

criterion_group!(benches, selective_scan, causal_conv1d, mamba_step);
criterion_main!(benches);
