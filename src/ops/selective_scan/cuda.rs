//! Tensors taken apart for the GPU kernels, and their results put together.

use super::cpu::{arguments, like_inputs, required};
use super::{OP, SelectiveScan, Sizes};
use crate::error::Result;
use crate::ops::check::state_kind;
use crate::ops::cuda::task::{Rows, element, empty, over_first, spans, start};
use crate::ops::cuda::{Kernel, Source};
use crate::ops::foreign::{Borrowed, kernel};
use crate::ops::layout::{channels_last, pointer_mut, pointer_mut_or_null, pointer_or_null};
use std::ffi::c_void;
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

/// The text of an entry: what all share, then its own.
macro_rules! source {
    ($name:literal) => {
        Source {
            name: concat!("selective_scan_", $name),
            text: concat!(
                include_str!("../cuda/numbers.cuh"),
                include_str!("kernel.cu"),
                include_str!(concat!($name, ".cu"))
            ),
        }
    };
}

static FORWARD: Source = source!("forward");
static STATES: Source = source!("states");
static BACKWARD: Source = source!("backward");

/// Threads of a block, at most: as many as share one copy of B and C.
const FORWARD_THREADS: i64 = 128;
/// Fewer for the backward pass, whose states of 8 steps fill 45 kB of shared memory.
const BACKWARD_THREADS: i64 = 64;
/// Lanes that fill a large GPU some times over. With more, a block of the backward pass takes several sequences,
/// one after another, and sums their gradients by what they share.
const ENOUGH_LANES: i64 = 1 << 17;

/// `Scan` of kernel.cu.
#[derive(Clone, Copy)]
#[repr(C)]
struct Scan {
    u: Rows,
    delta: Rows,
    z: Rows,
    b: Rows,
    c: Rows,
    a: *const c_void,
    d: *const c_void,
    delta_bias: *const c_void,
    initial_state: *const c_void,
    state_strides: [i64; 3],
    lengths: *const i64,
    batch: i64,
    per_group: i64,
    length: i64,
    d_inner: i64,
    d_state: i32,
}

/// `Forward` of forward.cu.
#[repr(C)]
struct Forward {
    scan: Scan,
    y: *mut c_void,
    final_state: *mut c_void,
}

/// `Visit` of states.cu.
#[repr(C)]
struct Visit {
    scan: Scan,
    starts: *mut c_void,
}

/// `Backward` of backward.cu.
#[repr(C)]
struct Backward {
    scan: Scan,
    dy: Rows,
    dfinal_state: *const c_void,
    run: i64,
    shared: i64,
    starts: *const c_void,
    du: *mut c_void,
    ddelta: *mut c_void,
    dz: *mut c_void,
    da: *mut c_void,
    dinitial_state: *mut c_void,
    dselection: *mut c_void,
    dd: *mut c_void,
    ddelta_bias: *mut c_void,
}

/// The arguments in the kernels' types and layout; owns whatever had to be converted. What has the size of u is
/// read in its own type; what is small, or differs in type from its fellow, is converted.
struct Prepared {
    sizes: Sizes,
    device: Device,
    /// Of states and sums.
    real: Kind,
    delta_softplus: bool,
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Option<Tensor>,
    z: Option<Tensor>,
    delta_bias: Option<Tensor>,
    initial_state: Option<Tensor>,
    lengths: Option<Tensor>,
}

impl Prepared {
    fn new(scan: &SelectiveScan) -> Result<Self> {
        let real = state_kind(scan.u.kind());
        let vector = |tensor: &Tensor| tensor.to_kind(real).contiguous();
        let selection = if scan.b.kind() == scan.c.kind() { scan.b.kind() } else { real };
        Ok(Self {
            sizes: scan.sizes()?,
            device: scan.u.device(),
            real,
            delta_softplus: scan.delta_softplus,
            u: channels_last(scan.u),
            delta: channels_last(scan.delta),
            a: vector(scan.a),
            b: channels_last(&scan.b.to_kind(selection)),
            c: channels_last(&scan.c.to_kind(selection)),
            d: scan.d.map(vector),
            z: scan.z.map(channels_last),
            delta_bias: scan.delta_bias.map(vector),
            initial_state: scan.initial_state.map(|state| state.to_kind(real)),
            lengths: scan.lengths.map(Tensor::contiguous),
        })
    }

    fn scan(&self) -> Scan {
        let Sizes { batch, length, d_inner, d_state, groups } = self.sizes;
        let mut state_strides = [0; 3];
        if let Some(state) = &self.initial_state {
            state_strides.copy_from_slice(&state.stride());
        }
        Scan {
            u: Rows::new(&self.u),
            delta: Rows::new(&self.delta),
            z: self.z.as_ref().map_or_else(Rows::absent, Rows::new),
            b: Rows::new(&self.b),
            c: Rows::new(&self.c),
            a: pointer_or_null(Some(&self.a)),
            d: pointer_or_null(self.d.as_ref()),
            delta_bias: pointer_or_null(self.delta_bias.as_ref()),
            initial_state: pointer_or_null(self.initial_state.as_ref()),
            state_strides,
            lengths: pointer_or_null(self.lengths.as_ref()),
            batch,
            per_group: if groups == 0 { 1 } else { batch / groups },
            length,
            d_inner,
            d_state: d_state as i32,
        }
    }

    /// What the kernels are compiled for, besides their numbers of threads.
    fn defines(&self, most_steps: i64) -> Vec<(&'static str, String)> {
        let (states, blocks) = self.blocks();
        let flag = |flag: bool| i32::from(flag).to_string();
        vec![
            ("REAL", element(self.real).into()),
            ("U", element(self.u.kind()).into()),
            ("DELTA", element(self.delta.kind()).into()),
            ("Z", element(self.z.as_ref().map_or(self.real, Tensor::kind)).into()),
            ("BC", element(self.b.kind()).into()),
            ("GATED", flag(self.z.is_some())),
            ("SOFTPLUS", flag(self.delta_softplus)),
            ("STATES", states.to_string()),
            ("BLOCKS", blocks.to_string()),
            ("STEPS", self.steps(most_steps).to_string()),
        ]
    }

    /// States of a lane's tile, and blocks of four times as many.
    fn blocks(&self) -> (i64, i64) {
        let states = ((self.sizes.d_state + 3) / 4).clamp(1, 4);
        let states = if states == 3 { 4 } else { states };
        (states, ((self.sizes.d_state + 4 * states - 1) / (4 * states)).max(1))
    }

    /// Times in flight at once: a power of two.
    fn steps(&self, most: i64) -> i64 {
        (self.sizes.length.clamp(1, most) as u64).next_power_of_two() as i64
    }

    /// As `steps`, in the backward pass, whose states have as many bytes of shared memory in either type.
    fn backward_steps(&self) -> i64 {
        if self.real == Kind::Double { 4 } else { 8 }
    }

    /// Starts a kernel for `rows` times all channels.
    ///
    /// # Safety
    /// As for [`start`].
    unsafe fn start<Task>(&self, source: &Source, most_steps: i64, rows: i64, task: &mut Task) -> Result<()> {
        let backward = source.name == BACKWARD.name;
        let most_threads = if backward { BACKWARD_THREADS } else { FORWARD_THREADS };
        let (spans, threads) = spans(self.sizes.d_inner, most_threads);
        // So many that a thread may have 128 registers, where numbers are small and states few; else 255.
        let lanes = if backward || self.real == Kind::Double || self.blocks().1 > 1 { 256 } else { 512 };
        let mut defines = self.defines(most_steps);
        defines.push(("THREADS", threads.to_string()));
        defines.push(("RESIDENT", (lanes / threads.max(32)).to_string()));
        let kernel = Kernel { source, entry: source.name, defines: &defines };
        // SAFETY: the caller vouches for the task.
        unsafe { start(OP, &kernel, self.device, rows * spans, threads, task) }
    }

    fn empty(&self, shape: &[i64], kind: Kind) -> Tensor {
        empty(shape, kind, self.device)
    }
}

fn forward(prepared: &Prepared, return_final_state: bool) -> Result<(Tensor, Option<Tensor>)> {
    let Sizes { batch, length, d_inner, d_state, .. } = prepared.sizes;
    let y = prepared.empty(&[batch, length, d_inner], prepared.u.kind());
    let final_state = return_final_state.then(|| prepared.empty(&[batch, d_inner, d_state], prepared.real));
    let mut task = Forward {
        scan: prepared.scan(),
        y: pointer_mut(&y),
        final_state: pointer_mut_or_null(final_state.as_ref()),
    };
    // SAFETY: every pointer is to a tensor that `prepared` or this function holds, of the sizes checked.
    unsafe { prepared.start(&FORWARD, 8, batch, &mut task)? };
    Ok((y, final_state))
}

/// Sequences that a block of the backward pass takes, and those of them that share an initial state.
fn run(sizes: &Sizes) -> (i64, i64) {
    let per_group = if sizes.groups == 0 { 1 } else { sizes.batch / sizes.groups };
    let wanted = (sizes.batch * sizes.d_inner / ENOUGH_LANES).max(1);
    if wanted >= per_group {
        return (wanted / per_group * per_group, per_group);
    }
    let divides = |run: &i64| per_group % run == 0;
    let run = (1..=wanted).rev().find(divides).expect("1 divides every number");
    (run, run)
}

/// The gradients by u, delta, A, B, C, D, z, delta_bias and the initial state.
fn backward(prepared: &Prepared, dy: &Tensor, dfinal_state: Option<&Tensor>) -> Result<[Option<Tensor>; 9]> {
    let Sizes { batch, length, d_inner, d_state, groups } = prepared.sizes;
    let real = prepared.real;
    let sequence = |like: &Tensor| prepared.empty(&[batch, length, d_inner], like.kind());
    let (du, ddelta) = (sequence(&prepared.u), sequence(&prepared.delta));
    let dz = prepared.z.as_ref().map(sequence);
    let (run, shared) = run(&prepared.sizes);
    let rows = (batch + run - 1) / run;
    let spans = spans(d_inner, BACKWARD_THREADS).0;
    let da = prepared.empty(&[rows, d_inner, d_state], real);
    let dselection = prepared.empty(&[2, spans, batch, length, d_state], real);
    let (dd, ddelta_bias) = (prepared.empty(&[rows, d_inner], real), prepared.empty(&[rows, d_inner], real));
    let dinitial_state =
        prepared.initial_state.as_ref().map(|_| prepared.empty(&[batch / shared, d_inner, d_state], real));
    let dy = channels_last(&dy.to_kind(prepared.u.kind()));
    let dfinal_state = dfinal_state.map(|gradient| gradient.to_kind(real).contiguous());

    let most_steps = prepared.backward_steps();
    let steps = prepared.steps(most_steps);
    let (states, blocks) = prepared.blocks();
    let tiles = (length + steps - 1) / steps;
    let warps = (d_inner + 31) / 32;
    let starts = prepared.empty(&[batch, tiles, warps, blocks, 4, 32, states], real);
    let mut visit = Visit { scan: prepared.scan(), starts: pointer_mut(&starts) };
    let mut task = Backward {
        scan: prepared.scan(),
        dy: Rows::new(&dy),
        dfinal_state: pointer_or_null(dfinal_state.as_ref()),
        run,
        shared,
        starts: pointer_mut(&starts),
        du: pointer_mut(&du),
        ddelta: pointer_mut(&ddelta),
        dz: pointer_mut_or_null(dz.as_ref()),
        da: pointer_mut(&da),
        dinitial_state: pointer_mut_or_null(dinitial_state.as_ref()),
        dselection: pointer_mut(&dselection),
        dd: pointer_mut(&dd),
        ddelta_bias: pointer_mut(&ddelta_bias),
    };
    // SAFETY: as in `forward`; memory that is freed here is used again only in the order of the stream.
    unsafe {
        prepared.start(&STATES, most_steps, batch, &mut visit)?;
        prepared.start(&BACKWARD, most_steps, rows, &mut task)?;
    }

    let over_parts = |gradient: Tensor| {
        let shape = [groups, batch / groups.max(1) / shared, d_inner, d_state];
        gradient.view(shape).sum_dim_intlist(1, false, None::<Kind>)
    };
    Ok([
        Some(du),
        Some(ddelta),
        Some(over_first(&da)),
        Some(over_first(&dselection.select(0, 0))),
        Some(over_first(&dselection.select(0, 1))),
        prepared.d.as_ref().map(|_| over_first(&dd)),
        dz,
        prepared.delta_bias.as_ref().map(|_| over_first(&ddelta_bias)),
        dinitial_state.map(over_parts),
    ])
}

/// # Safety
/// Ten tensors or nulls in, room for two out.
#[unsafe(no_mangle)]
unsafe extern "C" fn mambacl_selective_scan_cuda(
    inputs: *const *mut C_tensor,
    delta_softplus: bool,
    return_final_state: bool,
    outputs: *mut *mut C_tensor,
) -> i32 {
    let run = || {
        // SAFETY: C++ lends ten tensors or nulls for the time of the call.
        let inputs = unsafe { Borrowed::<10>::new(inputs) };
        let scan = arguments(&inputs.tensors(), delta_softplus)?;
        let (y, final_state) = forward(&Prepared::new(&scan)?, return_final_state)?;
        Ok([Some(y), final_state])
    };
    // SAFETY: C++ has room for two results.
    unsafe { kernel(outputs, run) }
}

/// # Safety
/// Twelve tensors or nulls in, room for nine out.
#[unsafe(no_mangle)]
unsafe extern "C" fn mambacl_selective_scan_backward_cuda(
    inputs: *const *mut C_tensor,
    delta_softplus: bool,
    outputs: *mut *mut C_tensor,
) -> i32 {
    let run = || {
        // SAFETY: C++ lends twelve tensors or nulls for the time of the call.
        let inputs = unsafe { Borrowed::<12>::new(inputs) };
        let tensors = inputs.tensors();
        let scan = arguments(&tensors, delta_softplus)?;
        let gradients = backward(&Prepared::new(&scan)?, required(&tensors, 10)?, tensors[11])?;
        Ok(like_inputs(gradients, &tensors))
    };
    // SAFETY: C++ has room for nine results.
    unsafe { kernel(outputs, run) }
}

/// The kernels run by the emulator, on tensors of the CPU.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::cuda::emulator::{Order, amid_nan, with_order};
    use crate::ops::selective_scan::reference::selective_scan;
    use crate::params::Init;
    use tch::IndexOp;

    #[derive(Clone, Copy, Debug)]
    struct Case {
        groups: i64,
        per_group: i64,
        length: i64,
        d_inner: i64,
        d_state: i64,
        /// D, z, delta_bias, softplus, the initial state and gradients by the final one.
        everything: bool,
        padded: bool,
        /// Of u, delta, z, B, C.
        kinds: [Kind; 5],
    }

    const FLOAT: [Kind; 5] = [Kind::Float; 5];
    const USUAL: Case = Case {
        groups: 2,
        per_group: 2,
        length: 19,
        d_inner: 70,
        d_state: 16,
        everything: true,
        padded: false,
        kinds: FLOAT,
    };

    /// What a scan takes and the gradients that come back to it.
    struct Drawn {
        tensors: Vec<Tensor>,
        lengths: Option<Tensor>,
        everything: bool,
        dy: Tensor,
        dfinal_state: Tensor,
    }

    impl Drawn {
        fn new(case: &Case) -> Self {
            let Case { groups, per_group, length, d_inner, d_state, .. } = *case;
            let batch = groups * per_group;
            let real = state_kind(case.kinds[0]);
            let normal = |name: &str, kind: Kind, shape: &[i64]| {
                Init::Normal { std: 1.0 }.draw(0, name, shape).to_kind(kind)
            };
            let sequence =
                |name, place: usize, width| normal(name, case.kinds[place], &[batch, length, width]);
            let mut tensors = vec![
                sequence("u", 0, d_inner),
                sequence("delta", 1, d_inner),
                -normal("A", real, &[d_inner, d_state]).exp(),
                sequence("B", 3, d_state),
                sequence("C", 4, d_state),
            ];
            if case.everything {
                tensors.push(normal("D", real, &[d_inner]));
                tensors.push(sequence("z", 2, d_inner));
                tensors.push(normal("bias", real, &[d_inner]));
                tensors.push(normal("state", real, &[groups, d_inner, d_state]));
            } else {
                tensors[1] = tensors[1].abs();
            }
            let mut dy = normal("dy", case.kinds[0], &[batch, length, d_inner]);
            let lengths = case.padded.then(|| {
                let lengths: Vec<_> =
                    (0..batch).map(|row| [length, 0, length / 2, 1][row as usize % 4]).collect();
                for place in [0, 1, 3, 4, 6].into_iter().filter(|place| *place < tensors.len()) {
                    for (row, real) in lengths.iter().enumerate() {
                        let _ = tensors[place].i((row as i64, *real..)).fill_(f64::NAN);
                        let _ = dy.i((row as i64, *real..)).fill_(f64::NAN);
                    }
                }
                Tensor::from_slice(&lengths)
            });
            dy = amid_nan(&dy);
            Self {
                tensors: tensors.iter().map(amid_nan).collect(),
                lengths,
                everything: case.everything,
                dy,
                dfinal_state: normal("dfinal", real, &[batch, d_inner, d_state]),
            }
        }

        fn scan<'a>(&'a self, tensors: &'a [Tensor]) -> SelectiveScan<'a> {
            SelectiveScan {
                d: tensors.get(5),
                z: tensors.get(6),
                delta_bias: tensors.get(7),
                delta_softplus: self.everything,
                initial_state: tensors.get(8),
                lengths: self.lengths.as_ref(),
                ..SelectiveScan::new(&tensors[0], &tensors[1], &tensors[2], &tensors[3], &tensors[4])
            }
        }

        /// By the equation in float64, from the same rounded numbers.
        fn wanted(&self) -> Vec<Tensor> {
            let wide = |tensor: &Tensor| tensor.to_kind(Kind::Double).detach().copy();
            let leaves: Vec<_> =
                self.tensors.iter().map(|tensor| wide(tensor).set_requires_grad(true)).collect();
            let (y, final_state) = selective_scan(&self.scan(&leaves), true).unwrap();
            let mut dy = wide(&self.dy);
            if self.lengths.is_some() {
                // y is zero there, whatever comes back.
                dy = dy.nan_to_num(0.0, None, None);
            }
            let mut loss = (&y * dy).sum(Kind::Double);
            if self.everything {
                loss = loss + (&final_state * wide(&self.dfinal_state)).sum(Kind::Double);
            }
            if loss.requires_grad() {
                loss.backward();
            }
            let gradient = |leaf: &Tensor| {
                let gradient = leaf.grad();
                if gradient.defined() { gradient } else { leaf.zeros_like() }
            };
            [y.detach(), final_state.detach()].into_iter().chain(leaves.iter().map(gradient)).collect()
        }

        fn emulated(&self) -> Vec<Tensor> {
            let prepared = Prepared::new(&self.scan(&self.tensors)).unwrap();
            let (y, final_state) = forward(&prepared, true).unwrap();
            let dfinal_state = self.everything.then_some(&self.dfinal_state);
            let gradients = backward(&prepared, &self.dy, dfinal_state).unwrap();
            [y, final_state.unwrap()].into_iter().chain(gradients.into_iter().flatten()).collect()
        }
    }

    fn assert_agrees(case: &Case) {
        tch::manual_seed(0);
        let drawn = Drawn::new(case);
        let wanted = drawn.wanted();
        let got = drawn.emulated();
        assert_eq!(got.len(), wanted.len());
        for (place, (got, want)) in got.iter().zip(&wanted).enumerate() {
            assert_eq!(got.size(), want.size(), "{case:?}, result {place}");
            if got.numel() == 0 {
                continue;
            }
            let tolerance = match got.kind() {
                Kind::Double => 1e-12,
                Kind::Half => 1e-3,
                Kind::BFloat16 => 8e-3,
                _ => 1e-5,
            };
            let scale = want.abs().max().double_value(&[]).max(1e-3);
            let distance = (got.to_kind(Kind::Double) - want).abs().max().double_value(&[]);
            assert!(distance <= tolerance * scale, "{case:?}, result {place}: {distance} of {scale}");
        }
        for order in [Order::Backwards, Order::Shuffled] {
            for (place, (again, got)) in with_order(order, || drawn.emulated()).iter().zip(&got).enumerate() {
                assert!(again.equal(got), "{case:?}, result {place} depends on the order: {order:?}");
            }
        }
    }

    #[test]
    fn it_agrees_with_the_reference() {
        assert_agrees(&USUAL);
        assert_agrees(&Case { everything: false, ..USUAL });
        assert_agrees(&Case { padded: true, ..USUAL });
        assert_agrees(&Case { padded: true, everything: false, ..USUAL });
    }

    #[test]
    fn in_sizes_on_and_off_its_tiles() {
        for d_state in [1, 3, 5, 8, 12, 17, 32, 40] {
            assert_agrees(&Case { d_state, length: 9, d_inner: 33, ..USUAL });
        }
        for length in [0, 1, 2, 3, 7, 8, 16, 33] {
            assert_agrees(&Case { length, d_inner: 5, padded: length > 1, ..USUAL });
        }
        for d_inner in [1, 31, 32, 64, 65, 128, 130] {
            assert_agrees(&Case { d_inner, length: 5, ..USUAL });
        }
        for (groups, per_group) in [(1, 1), (3, 1), (1, 5)] {
            assert_agrees(&Case { groups, per_group, length: 10, ..USUAL });
        }
    }

    #[test]
    fn of_nothing_comes_nothing() {
        assert_agrees(&Case { d_inner: 0, ..USUAL });
        assert_agrees(&Case { d_state: 0, ..USUAL });
        assert_agrees(&Case { groups: 0, everything: false, ..USUAL });
    }

    #[test]
    fn in_every_type() {
        let (float, half, brain) = (Kind::Float, Kind::Half, Kind::BFloat16);
        for kinds in [
            [Kind::Double; 5],
            [half; 5],
            [brain; 5],
            [float, brain, half, brain, float],
            [half, float, brain, half, half],
        ] {
            assert_agrees(&Case { kinds, padded: true, ..USUAL });
        }
    }
}
