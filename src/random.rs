//! Random numbers that any machine draws the same: `ChaCha8`, keyed by what they are for.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

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

/// `rows` vectors of `width` normal numbers, row by row, made orthogonal in blocks of `width` rows:
/// each has a uniform direction, at right angles to the others of its block, and the length of a normal
/// vector drawn for itself.
pub(crate) fn orthogonal(rng: &mut ChaCha8Rng, rows: usize, width: usize) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut normals = || -> Vec<f64> { (0..width).map(|_| StandardNormal.sample(rng)).collect() };
    let mut done = Vec::with_capacity(rows * width);
    let mut block: Vec<Vec<f64>> = Vec::new();
    for _ in 0..rows {
        if block.len() == width {
            block.clear();
        }
        let mut direction = normals();
        // Gram-Schmidt, twice: once leaves an error where little of a vector is left.
        for other in block.iter().chain(&block) {
            let share = dot(&direction, other);
            direction.iter_mut().zip(other).for_each(|(number, other)| *number -= share * other);
        }
        let length = dot(&direction, &direction).sqrt();
        direction.iter_mut().for_each(|number| *number /= length);
        let normal = normals();
        let length = dot(&normal, &normal).sqrt();
        done.extend(direction.iter().map(|number| length * number));
        block.push(direction);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::{fnv1a, generator, orthogonal};

    #[test]
    fn rows_are_orthogonal_in_blocks_and_as_long_as_normal_vectors() {
        let (width, rows) = (8, 8 * 500 + 3);
        let all = orthogonal(&mut generator(0, "rows", 0, 0), rows, width);
        let rows: Vec<&[f64]> = all.chunks(width).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for block in rows.chunks(width) {
            for (index, row) in block.iter().enumerate() {
                assert!(block[..index].iter().all(|other| dot(row, other).abs() < 1e-12));
            }
        }
        let count = rows.len() as f64;
        // E|w|² is the width, its variance twice that; each number's mean is 0, and its variance 1.
        let square = rows.iter().map(|row| dot(row, row)).sum::<f64>() / count;
        assert!((square - 8.0).abs() < 4.0 * (16.0 / count).sqrt(), "{square}");
        for axis in 0..width {
            let mean = rows.iter().map(|row| row[axis]).sum::<f64>() / count;
            assert!(mean.abs() < 4.0 / count.sqrt(), "{mean}");
        }
    }

    #[test]
    fn fnv1a_agrees_with_its_published_vectors() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }
}
