//! A mixture of experts against a dense computation of all of them, and what its balance does.

use crate::agreement::assert_near;
use crate::draw::Draw;
use crate::models::{Model, Streams, classifier};
use mambacl::backbone::{Backbone, BlockConfig, ExpertsConfig, FeedForwardConfig, NormConfig};
use mambacl::learners::SequenceConfig;
use mambacl::meta;
use mambacl::mixers::{MixerConfig, attention::AttentionConfig};
use mambacl::params::Schema;
use tch::{Device, Kind, Tensor};

const D_MODEL: i64 = 4;
const EXPERTS: i64 = 4;

/// One block without norms whose mixer adds nothing: tokens and their experts' answers.
struct Mixture {
    backbone: Backbone,
    schema: Schema,
    tensors: Vec<Tensor>,
}

impl Mixture {
    fn new(top_k: i64, balance: f64) -> Self {
        let experts = ExpertsConfig { n_expert: EXPERTS, top_k, d_hidden: Some(5), balance };
        let config = BlockConfig {
            d_model: D_MODEL,
            mixer: &MixerConfig::Attention(AttentionConfig { n_head: 1, ..AttentionConfig::default() }),
            feed_forward: &FeedForwardConfig::Experts(experts),
            norm: NormConfig::None,
        };
        let schema = Schema::of(|path| Backbone::new(path, config, 1)).unwrap();
        let pairs = schema.specs().iter().zip(schema.initial(0));
        let double = |(spec, tensor): (&mambacl::params::TensorSpec, Tensor)| {
            let silent = if spec.name.contains("out_proj") { 0.0 } else { 1.0 };
            (tensor.to_kind(Kind::Double) * silent).set_requires_grad(true)
        };
        let tensors: Vec<_> = pairs.map(double).collect();
        let backbone = schema.bind(&tensors, |path| Backbone::new(path, config, 1)).unwrap();
        Self { backbone, schema, tensors }
    }

    fn tensor(&self, name: &str) -> &Tensor {
        let name = format!("layers.0.feed_forward.{name}");
        &self.tensors[self.schema.specs().iter().position(|spec| spec.name == name).unwrap()]
    }

    /// What the experts answer to tokens, (batch, n, d_model), and the weighted balance.
    fn answer(&self, tokens: &Tensor) -> (Tensor, Tensor) {
        let batch = tokens.size()[0];
        let states = self.backbone.initial_states(batch, 0, (Kind::Double, Device::Cpu));
        let answer = self.backbone.answer(tokens, &states, &[None]).unwrap();
        (answer.output - tokens, answer.balance.unwrap())
    }

    /// Probabilities, (tokens, experts), and the answers of all experts, (tokens, experts, d_model).
    fn dense(&self, tokens: &Tensor) -> (Tensor, Tensor) {
        let tokens = tokens.flatten(0, 1);
        let logits = tokens.matmul(&self.tensor("router.weight").transpose(0, 1)).exp();
        let shares = &logits / logits.sum_dim_intlist(-1, true, Kind::Double);
        let answer = |expert| {
            let of = |name| self.tensor(name).select(0, expert);
            let hidden = tokens.matmul(&of("hidden.weight").transpose(0, 1)) + of("hidden.bias");
            // GELU: x times the normal distribution's share below x.
            let active = &hidden * ((&hidden / 2.0_f64.sqrt()).erf() + 1.0) / 2.0;
            active.matmul(&of("output.weight").transpose(0, 1)) + of("output.bias")
        };
        (shares, Tensor::stack(&(0..EXPERTS).map(answer).collect::<Vec<_>>(), 1))
    }
}

fn tokens(n: i64) -> Tensor {
    Draw::new(3).normal(&[2, n, D_MODEL])
}

#[test]
fn a_token_is_answered_by_its_likeliest_experts() {
    for top_k in 1..=EXPERTS {
        let (mixture, tokens) = (Mixture::new(top_k, 1.0), tokens(9));
        let (shares, answers) = mixture.dense(&tokens);
        let numbers = Vec::<Vec<f64>>::try_from(&shares).unwrap();
        // Experts with fewer than top_k likelier ones, with shares that sum to one; a single one keeps its own.
        let weights = numbers.iter().map(|shares| {
            let likelier = |share: &f64| shares.iter().filter(|other| *other > share).count();
            let kept: Vec<f64> = shares
                .iter()
                .map(|share| if likelier(share) < top_k as usize { *share } else { 0.0 })
                .collect();
            let sum = if top_k == 1 { 1.0 } else { kept.iter().sum() };
            kept.iter().map(|share| share / sum).collect::<Vec<_>>()
        });
        let weights: Vec<f64> = weights.flatten().collect();
        let weights = Tensor::from_slice(&weights).view([18, EXPERTS, 1]);
        let want = (weights * &answers).sum_dim_intlist(1, false, Kind::Double).view([2, 9, D_MODEL]);
        let (got, balance) = mixture.answer(&tokens);
        assert_near(&format!("top {top_k}"), &got, &want, 1e-14);
        if top_k == EXPERTS {
            // All take part, by the softmax: and the choices are spread evenly.
            let mixed = (shares.unsqueeze(-1) * answers).sum_dim_intlist(1, false, Kind::Double);
            assert_near("softmax mixture", &got, &mixed.view_as(&got), 1e-14);
            assert_near("balance", &balance, &Tensor::from(1.0_f64), 1e-14);
        }
    }
}

#[test]
fn a_single_expert_teaches_the_router_too() {
    let mixture = Mixture::new(1, 0.0);
    let (output, _) = mixture.answer(&tokens(9));
    output.square().sum(Kind::Double).backward();
    assert!(mixture.tensor("router.weight").grad().abs().max().double_value(&[]) > 1e-3);
}

#[test]
fn gradients_are_those_of_the_dense_computation_and_reach_every_expert() {
    let names = ["router.weight", "hidden.weight", "hidden.bias", "output.weight", "output.bias"];
    let [sparse, dense] = [true, false].map(|sparse| {
        let (mixture, tokens) = (Mixture::new(2, 1.0), tokens(20));
        let output = if sparse {
            mixture.answer(&tokens).0.flatten(0, 1)
        } else {
            let (shares, answers) = mixture.dense(&tokens);
            let least = shares.topk(2, -1, true, true).0.narrow(1, 1, 1);
            let kept = shares.where_self(&shares.ge_tensor(&least), &shares.zeros_like());
            let weights = &kept / kept.sum_dim_intlist(-1, true, Kind::Double);
            (weights.unsqueeze(-1) * answers).sum_dim_intlist(1, false, Kind::Double)
        };
        (output * Draw::new(8).normal(&[40, D_MODEL])).sum(Kind::Double).backward();
        names.map(|name| mixture.tensor(name).grad())
    });
    for ((name, sparse), dense) in names.iter().zip(&sparse).zip(&dense) {
        assert_near(name, sparse, dense, 1e-13);
        for expert in 0..EXPERTS {
            assert!(sparse.select(0, expert).abs().max().double_value(&[]) > 1e-6, "{name} of {expert}");
        }
    }
}

#[test]
fn the_balance_is_one_times_its_weight_where_tokens_are_spread_evenly() {
    let mixture = Mixture::new(1, 0.3);
    // Each token is alike to one router, and no two to the same.
    let eye = Tensor::eye(EXPERTS, (Kind::Double, Device::Cpu));
    tch::no_grad(|| mixture.tensor("router.weight").shallow_clone().copy_(&(&eye * 3.0)));
    let (_, even) = mixture.answer(&eye.unsqueeze(0));
    assert_near("balance", &even, &Tensor::from(0.3_f64), 1e-14);
    let crowded = eye.narrow(0, 0, 1).expand([1, 4, D_MODEL], false);
    let share = 3.0_f64.exp() / (3.0_f64.exp() + 3.0);
    assert_near("balance", &mixture.answer(&crowded).1, &Tensor::from(0.3 * 4.0 * share), 1e-13);
}

#[test]
fn descent_on_the_balance_spreads_tokens_that_crowd() {
    let mixture = Mixture::new(1, 1.0);
    // All tokens have a part in common, which the first router likes best.
    let mut common = [0.0; D_MODEL as usize];
    common[0] = 1.0;
    let tokens = tokens(50) + Tensor::from_slice(&common) * 2.0;
    let router = mixture.tensor("router.weight");
    let _ = tch::no_grad(|| router.get(0).get(0).fill_(2.0));
    let mut balances = Vec::new();
    for _ in 0..300 {
        let (_, balance) = mixture.answer(&tokens);
        balances.push(balance.double_value(&[]));
        let gradient = Tensor::run_backward(&[balance], &[router], false, false).remove(0);
        let _ = tch::no_grad(|| router.shallow_clone().g_sub_(&(gradient * 0.3)));
    }
    assert!(balances[0] > 2.0, "they do not crowd: {}", balances[0]);
    assert!(balances[299] < 1.2, "{} became {}", balances[0], balances[299]);
}

#[test]
fn the_loss_of_training_has_the_balance_of_stream_and_queries() {
    let experts = ExpertsConfig { n_expert: 3, top_k: 2, balance: 0.2, ..ExpertsConfig::default() };
    let feed_forward = Some(FeedForwardConfig::Experts(experts));
    let config = SequenceConfig { feed_forward, ..classifier() };
    let streams = Streams::draw(config.clone(), Kind::Double, [2, 9, 4], 0);
    let model = Model::new(config, Kind::Double);
    let learner = &model.learner;
    let initial = learner.initial_state(2, streams.codebook.as_ref(), 0).unwrap();
    let (state, trace) = learner.observe_traced(&initial, &streams.train_x, &streams.train_y).unwrap();
    let prediction = learner.predict(&state, &streams.test_x, Some(&trace)).unwrap();
    let balance = trace.auxiliary.unwrap() + prediction.auxiliary.unwrap();
    // Two layers, of streams and of queries.
    assert!((0.2 * 4.0 * 0.9..0.2 * 4.0 * 2.0).contains(&balance.double_value(&[])), "{balance:?}");
    let trained = meta::run(learner, &streams.episode(), Some(0)).unwrap();
    assert_near("loss", &trained.loss, &(&trained.objective + balance), 1e-13);
    let evaluated = meta::run(learner, &streams.episode(), None).unwrap();
    assert!(evaluated.loss == evaluated.objective);
}
