//! The codebook: which symbol stands for which label in one stream.
//!
//! Drawn for each stream independently of what the classes are, so that a learner cannot know a
//! class by its symbol, only by what it read.

use crate::error::{Result, check_numbers, check_size};
use crate::ops::tensor_of;
use crate::random::{generator, permutation};
use tch::Tensor;

/// Codebooks of `batch` streams, int64 (batch, vocab): label l of stream i is shown as the symbol
/// `codebook[i, l]`. Stream i depends on (seed, i) alone.
///
/// # Errors
/// When the vocabulary or the batch is below 1 or beyond 2^20, or their product beyond 2^30.
///
/// ```
/// let codebook = mambacl::codebook::draw(64, 0, 2)?;
/// assert_eq!(codebook.size(), [2, 64]);
/// assert_eq!(mambacl::codebook::draw(64, 0, 1)?, codebook.narrow(0, 0, 1));
/// # Ok::<(), mambacl::error::Error>(())
/// ```
pub fn draw(vocab: i64, seed: u64, batch: i64) -> Result<Tensor> {
    check_size("vocab", vocab)?;
    check_size("batch", batch)?;
    check_numbers("codebook", "batch", batch, [vec![batch, vocab]])?;
    let symbols: Vec<i64> = (0..batch as u64)
        .flat_map(|index| permutation(&mut generator(seed, "codebook", index, 0), vocab as usize))
        .map(|symbol| symbol as i64)
        .collect();
    Ok(tensor_of(&symbols, &[batch, vocab]))
}
