//! Running moments of classes: what a stream's examples of each symbol have in common.

use tch::{Kind, Tensor};

/// Examples, means and summed squared deviations of the symbols of a batch of streams.
pub(super) struct ClassMoments {
    /// (batch, vocab)
    pub(super) counts: Tensor,
    /// (batch, vocab, d_model)
    pub(super) means: Tensor,
    /// Summed squares about the mean, (batch, vocab, d_model).
    pub(super) deviations: Tensor,
}

impl ClassMoments {
    /// Of examples alone: x (batch, n, d_model), symbols int64 (batch, n) below `vocab`.
    pub(super) fn of(x: &Tensor, symbols: &Tensor, vocab: i64) -> Self {
        let member = symbols.one_hot(vocab).to_kind(x.kind()); // (batch, n, vocab)
        let counts = member.sum_dim_intlist(1, false, None::<Kind>);
        let per_symbol = |values: &Tensor| member.transpose(1, 2).matmul(values);
        let means = per_symbol(x) / counts.clamp_min(1.0).unsqueeze(-1);
        let deviations = per_symbol(&(x - member.matmul(&means)).square());
        Self { counts, means, deviations }
    }

    /// Of these examples and the other's together (Chan et al., 1979), which holds its digits however
    /// long the stream.
    pub(super) fn with(&self, other: &Self) -> Self {
        let counts = &self.counts + &other.counts;
        let share = (&other.counts / counts.clamp_min(1.0)).unsqueeze(-1);
        let apart = &other.means - &self.means;
        let between = apart.square() * &share * self.counts.unsqueeze(-1);
        Self {
            means: &self.means + apart * share,
            deviations: &self.deviations + &other.deviations + between,
            counts,
        }
    }
}
