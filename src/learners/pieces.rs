//! Queries answered some at a time, where a step between them and their answers needs more memory than both.

use std::iter;
use tch::Tensor;

/// Numbers that such a step may have at once, unless one query alone needs more: 1 MiB of float32, which the
/// caches of a core hold.
const MOST: i64 = 1 << 18;

/// What `answer` makes of queries, (batch, Q, vocab), asked with as many at a time as [`MOST`] permits.
///
/// `queries` are tensors of (batch, Q, ...); `numbers` is what the largest step of `answer` has for one query of each
/// stream. Where gradients are recorded all steps stay for the backward pass.
pub(super) fn in_pieces<const N: usize>(
    queries: [&Tensor; N],
    numbers: i64,
    answer: impl Fn([&Tensor; N]) -> Tensor,
) -> Tensor {
    let (count, most) = (queries[0].size()[1], (MOST / numbers.max(1)).max(1));
    if count <= most {
        return answer(queries);
    }
    let pieces = queries.map(|tensor| tensor.split(most, 1));
    let mut answers = (0..pieces[0].len()).map(|i| answer(pieces.each_ref().map(|all| &all[i])));
    let first = answers.next().expect("there are more queries than none");
    if first.requires_grad() {
        return Tensor::cat(&iter::once(first).chain(answers).collect::<Vec<_>>(), 1);
    }
    // Into one tensor: small answers that stay between the large steps would keep the allocator from reusing these.
    let size = first.size();
    let all = first.new_empty([size[0], count, size[2]], (first.kind(), first.device()));
    for (piece, mut place) in iter::once(first).chain(answers).zip(all.split(most, 1)) {
        place.copy_(&piece);
    }
    all
}
