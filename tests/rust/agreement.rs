//! What it means that two results agree.

use tch::{Kind, Tensor};

/// Tensors by name.
pub type Named = Vec<(String, Tensor)>;

/// Asserts that two tensors differ nowhere by more than `tolerance`, relative to the largest number
/// wanted, or to 1: the tests draw numbers of order 1, and sums of such may cancel.
pub fn assert_near(what: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!(got.size(), want.size(), "{what}");
    if want.numel() == 0 {
        return;
    }
    let (got, want) = (got.to_kind(Kind::Double), want.to_kind(Kind::Double));
    let scale = want.abs().max().double_value(&[]).max(1.0);
    let distance = (got - want).abs().max().double_value(&[]);
    // A comparison with NaN is false: NaN in either tensor fails.
    assert!(distance <= tolerance * scale, "{what}: off by {distance:e}, at a scale of {scale:e}");
}

/// Asserts that two tensors hold the same numbers, in the same form.
pub fn assert_same(what: &str, got: &Tensor, want: &Tensor) {
    assert_eq!((got.kind(), got.size()), (want.kind(), want.size()), "{what}");
    assert!(got == want, "{what}: {got:?} is not {want:?}");
}

/// The results of an operation, and by every argument the gradient of a fixed weighting of all results.
///
/// `arguments` must be leaves that require gradients and have none.
pub fn with_gradients(results: [(&str, Tensor); 2], arguments: &[(&'static str, &Tensor)]) -> Named {
    let mut loss = Tensor::from(0.0);
    for (_, result) in &results {
        // Different weights for each number, from -1 to 1.
        let weights = Tensor::arange(result.numel() as i64, (Kind::Double, result.device()));
        let weights = (weights * 1.7).sin().view_as(result).to_kind(result.kind());
        loss = loss + (result * weights).sum(Kind::Double);
    }
    loss.backward();
    let results = results.into_iter().map(|(name, result)| (name.into(), result.detach()));
    let gradients = arguments.iter().map(|(name, leaf)| (format!("gradient by {name}"), leaf.grad()));
    results.chain(gradients).collect()
}

/// Asserts [`assert_near`] of tensors of the same names.
pub fn assert_all_near(case: &str, got: &Named, want: &Named, tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for ((name, got), (same, want)) in got.iter().zip(want) {
        assert_eq!(name, same);
        assert_near(&format!("{case}, {name}"), got, want, tolerance);
    }
}
