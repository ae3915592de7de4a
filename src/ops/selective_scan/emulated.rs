//! Tests of the GPU kernels and the way into them, run by the emulator on tensors of the CPU.

use super::SelectiveScan;
use super::cuda::{Prepared, backward, forward};
use crate::ops::check::state_kind;
use crate::ops::cuda::emulator::{Order, amid_nan, assert_near, with_order};
use crate::ops::selective_scan::reference::selective_scan;
use crate::params::Init;
use tch::{IndexOp, Kind, Tensor};

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
        let sequence = |name, place: usize, width| normal(name, case.kinds[place], &[batch, length, width]);
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
        let leaves: Vec<_> = self.tensors.iter().map(|tensor| wide(tensor).set_requires_grad(true)).collect();
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
    assert_near(&format!("{case:?}"), &got, &wanted);
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
    for d_state in [1, 3, 8, 12, 17, 40] {
        assert_agrees(&Case { d_state, length: 9, d_inner: 33, ..USUAL });
    }
    for length in [0, 1, 2, 3, 8, 33] {
        assert_agrees(&Case { length, d_inner: 5, padded: length > 1, ..USUAL });
    }
    for d_inner in [1, 65, 130] {
        assert_agrees(&Case { d_inner, length: 5, ..USUAL });
    }
    for (groups, per_group) in [(1, 1), (3, 1), (1, 5), (1, 6)] {
        assert_agrees(&Case { groups, per_group, length: 10, d_inner: 33, ..USUAL });
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
