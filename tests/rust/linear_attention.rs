//! The chunked linear attention against its recurrence.

use crate::agreement::{assert_all_near, assert_near, with_gradients};
use crate::draw::Draw;
use mambacl::error::Error;
use mambacl::ops::linear_attention::{CHUNK, LinearAttention, reference};
use tch::{Kind, Tensor};

/// The arguments of a linear attention, as leaves.
struct Arguments {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Option<Tensor>,
    initial_state: Tensor,
}

/// Two streams, three heads, keys of 5 and values of 4.
fn draw(length: i64, shared: bool, decay: Option<f64>) -> Arguments {
    let mut draw = Draw::new(length as u64);
    let heads = if shared { 1 } else { 3 };
    let mut leaf = |shape: &[i64]| draw.normal(shape).set_requires_grad(true);
    Arguments {
        q: leaf(&[2, heads, length, 5]),
        k: leaf(&[2, heads, length, 5]),
        v: leaf(&[2, 3, length, 4]),
        log_decay: decay.map(|scale| {
            let normal = leaf(&[2, 3, length]).detach();
            (-normal.abs() * scale).set_requires_grad(true)
        }),
        initial_state: leaf(&[2, 3, 5, 4]),
    }
}

impl Arguments {
    fn attention(&self) -> LinearAttention<'_> {
        let Self { q, k, v, log_decay, initial_state } = self;
        LinearAttention { q, k, v, log_decay: log_decay.as_ref(), initial_state }
    }

    fn leaves(&self) -> Vec<(&'static str, &Tensor)> {
        let leaves = [("q", &self.q), ("k", &self.k), ("v", &self.v), ("S0", &self.initial_state)];
        leaves.into_iter().chain(self.log_decay.as_ref().map(|decay| ("log_decay", decay))).collect()
    }
}

#[test]
fn equals_the_recurrence_with_all_gradients() {
    for length in [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 5 / 2] {
        for shared in [false, true] {
            // Nothing forgotten; as drawn; nearly nothing forgotten; all forgotten at each token.
            for decay in [None, Some(0.1), Some(1e-8), Some(1e4)] {
                let [got, want] = [true, false].map(|chunked| {
                    let arguments = draw(length, shared, decay);
                    let attention = arguments.attention();
                    let (o, state) = if chunked {
                        attention.run().unwrap()
                    } else {
                        reference::linear_attention(&attention)
                    };
                    with_gradients([("o", o), ("state", state)], &arguments.leaves())
                });
                assert_all_near(&format!("{length}, {shared}, {decay:?}"), &got, &want, 1e-12);
            }
        }
    }
}

/// In float32 a token that forgets all must not blur the decays after it.
#[test]
fn a_token_that_forgets_all_leaves_the_later_decays_exact() {
    let mut arguments = draw(CHUNK, false, Some(0.01));
    let _ = tch::no_grad(|| arguments.log_decay.as_ref().unwrap().narrow(2, 9, 1).fill_(-1e9));
    let exact = reference::linear_attention(&arguments.attention());
    for tensor in [&mut arguments.q, &mut arguments.k, &mut arguments.v, &mut arguments.initial_state] {
        *tensor = tensor.to_kind(Kind::Float);
    }
    arguments.log_decay = arguments.log_decay.map(|decay| decay.to_kind(Kind::Float));
    let (o, state) = arguments.attention().run().unwrap();
    assert_near("o", &o, &exact.0, 2e-6);
    assert_near("state", &state, &exact.1, 2e-6);
}

#[test]
fn each_token_alone_is_a_stream_of_one() {
    for decay in [None, Some(0.5)] {
        let arguments = draw(7, true, decay);
        let attention = arguments.attention();
        let together = attention.each().unwrap();
        for token in 0..7 {
            let [q, k, v] = [&arguments.q, &arguments.k, &arguments.v].map(|t| t.narrow(2, token, 1));
            let log_decay = arguments.log_decay.as_ref().map(|decay| decay.narrow(2, token, 1));
            let one = LinearAttention { q: &q, k: &k, v: &v, log_decay: log_decay.as_ref(), ..attention };
            let (want, _) = reference::linear_attention(&one);
            assert_near("o", &together.narrow(2, token, 1), &want, 1e-14);
        }
    }
}

#[test]
fn half_precision_keeps_its_state_in_float32() {
    let arguments = draw(CHUNK + 3, false, Some(0.1));
    let [q, k, v] = [&arguments.q, &arguments.k, &arguments.v].map(|t| t.to_kind(Kind::BFloat16));
    let initial_state = arguments.initial_state.to_kind(Kind::Float);
    let halved =
        LinearAttention { q: &q, k: &k, v: &v, initial_state: &initial_state, ..arguments.attention() };
    let (o, state) = halved.run().unwrap();
    assert_eq!((o.kind(), state.kind()), (Kind::BFloat16, Kind::Float));
    let (want, want_state) = reference::linear_attention(&halved);
    assert_near("o", &o, &want, 1e-2);
    assert_near("state", &state, &want_state, 1e-5);
}

#[test]
fn gradients_have_gradients() {
    let second = |chunked: bool| {
        let arguments = draw(CHUNK + 1, false, Some(0.1));
        let attention = arguments.attention();
        let (o, _) = if chunked { attention.run().unwrap() } else { reference::linear_attention(&attention) };
        let decay = arguments.log_decay.as_ref().unwrap();
        let first = Tensor::run_backward(&[o.square().sum(Kind::Double)], &[&arguments.k, decay], true, true);
        let sum = first.iter().map(|gradient| gradient.square().sum(Kind::Double)).sum::<Tensor>();
        sum.backward();
        (arguments.q.grad(), decay.grad())
    };
    let ((q, decay), (want_q, want_decay)) = (second(true), second(false));
    assert_near("by q", &q, &want_q, 1e-11);
    assert_near("by log_decay", &decay, &want_decay, 1e-11);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let arguments = draw(4, false, Some(1.0));
    let good = arguments.attention();
    let refused = |attention: LinearAttention| {
        let Error::Shape { argument, .. } = attention.run().unwrap_err() else { panic!("another error") };
        assert!(attention.each().is_err());
        argument
    };
    let short = |tensor: &Tensor| tensor.narrow(2, 0, 3);
    assert_eq!(refused(LinearAttention { q: &short(&arguments.q), ..good }), "q");
    assert_eq!(refused(LinearAttention { k: &arguments.k.narrow(3, 0, 4), ..good }), "k");
    assert_eq!(refused(LinearAttention { k: &arguments.k.narrow(1, 0, 2), ..good }), "k");
    assert_eq!(refused(LinearAttention { v: &arguments.v.select(0, 0), ..good }), "v");
    assert_eq!(refused(LinearAttention { v: &arguments.v.narrow(2, 0, 0), ..good }), "v");
    assert_eq!(refused(LinearAttention { log_decay: Some(&arguments.q), ..good }), "log_decay");
    assert_eq!(refused(LinearAttention { initial_state: &arguments.q, ..good }), "initial_state");
}
