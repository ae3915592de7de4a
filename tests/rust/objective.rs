//! The losses against their formulas.

use crate::draw::Draw;
use mambacl::target::{AngleTarget, ClassTarget, TargetConfig, VectorTarget};
use tch::Tensor;

fn assert_close(got: &Tensor, want: f64) {
    let got = got.double_value(&[]);
    assert!((got - want).abs() < 1e-12, "{got} is not {want}");
}

fn rows(tensor: &Tensor) -> Vec<Vec<f64>> {
    Vec::try_from(tensor.flatten(0, 1)).unwrap()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[test]
fn classes_have_cross_entropy_over_the_vocabulary() {
    let mut draw = Draw::new(0);
    let (output, y) = (draw.normal(&[2, 3, 5]), draw.below(5, &[2, 3]));
    let labels: Vec<i64> = y.flatten(0, 1).try_into().unwrap();
    let each = rows(&output).into_iter().zip(labels).map(|(logits, label)| {
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        total.ln() - logits[label as usize]
    });
    assert_close(&TargetConfig::Class(ClassTarget { vocab: 5 }).loss(&output, &y), mean(each));
}

#[test]
fn vectors_have_the_mean_squared_error() {
    let mut draw = Draw::new(1);
    let (output, y) = (draw.normal(&[2, 3, 5]), draw.normal(&[2, 3, 5]));
    let pairs = rows(&output).concat().into_iter().zip(rows(&y).concat());
    let want = mean(pairs.map(|(output, y)| (output - y).powi(2)));
    assert_close(&TargetConfig::Vector(VectorTarget { dim: 5 }).loss(&output, &y), want);
}

#[test]
fn directions_have_one_minus_the_cosine() {
    let mut draw = Draw::new(2);
    let (output, y) = (draw.normal(&[2, 3, 2]), draw.normal(&[2, 3, 2]));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let each = rows(&output)
        .into_iter()
        .zip(rows(&y))
        .map(|(output, y)| 1.0 - dot(&output, &y) / (dot(&output, &output) * dot(&y, &y)).sqrt());
    assert_close(&TargetConfig::Angle(AngleTarget { dim: 2 }).loss(&output, &y), mean(each));
    assert_close(&TargetConfig::Angle(AngleTarget { dim: 2 }).loss(&y, &(&y * 3.0)), 0.0);
}
