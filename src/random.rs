//! Random numbers that any machine draws the same: `ChaCha8`, keyed by what they are for.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The generator of (seed, name, index), and of a purpose within it: its stream.
///
/// The 32-byte key is, little-endian,
///
/// ```text
/// bytes  0.. 8   seed
/// bytes  8..16   FNV-1a (64 bit) of the name
/// bytes 16..24   index
/// bytes 24..32   zero
/// ```
pub(crate) fn generator(seed: u64, name: &str, index: u64, stream: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[0..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&fnv1a(name).to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(stream);
    rng
}

/// FNV-1a, 64 bit. Written out because std's hasher may change between Rust releases.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A uniform permutation of `0..n`: Fisher-Yates from the front, so that each position is final once
/// drawn.
pub(crate) fn permutation(rng: &mut ChaCha8Rng, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for position in 0..n {
        order.swap(position, position + below(rng, n - position));
    }
    order
}

/// A number in `0..n`, uniform to within n/2⁶⁴: the high half of a 64-bit draw times n.
///
/// Not rand's `random_range`: its values differ between the widths of `usize`, and with a feature
/// that any other crate of a build can switch on.
fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::fnv1a;

    #[test]
    fn fnv1a_agrees_with_its_published_vectors() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }
}
