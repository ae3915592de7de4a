//! Which examples an episode reads and asks: a pure function of (seed, split, index).
//!
//! Any process, worker or rank can draw episode `index` on its own; there is no generator state to
//! save, so resuming is exact.
//!
//! The generator is keyed by (seed, split, index); its stream number separates the purposes (see
//! `Stream`), so that asking more of one never shifts another.
//!
//! Episodes are nested: with more tasks, train shots or test shots the same (seed, split, index)
//! holds the smaller episode's classes and examples, in the same order, and more behind them. Studies
//! over the number of tasks or shots therefore compare like with like.

use crate::error::{Error, Result, check_numbers};
use crate::random::{generator, permutation};
use rand::Rng;

const OP: &str = "episode";

/// What one key is used for; the number is the `ChaCha` stream and is part of the format.
#[derive(Clone, Copy)]
enum Stream {
    Classes = 0,
    Examples = 1,
    Codebook = 2,
    Augmentation = 3,
}

/// The sizes of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodeSpec {
    /// Classes of the episode; each is one task of the stream.
    pub tasks: usize,
    /// Labelled examples read of each class.
    pub train_shots: usize,
    /// Queries asked of each class; they are never among its labelled examples.
    pub test_shots: usize,
    /// Symbols the codebook chooses from, at least `tasks`.
    pub vocab: usize,
}

/// Which examples an episode reads and asks, and under which symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpisodePlan {
    /// `tasks` classes, drawn without replacement; label `l` is class `classes[l]`.
    pub classes: Vec<usize>,
    /// `tasks * train_shots` indices of examples within their class, task after task.
    pub train: Vec<usize>,
    /// `tasks * test_shots` indices of examples within their class, task after task.
    pub test: Vec<usize>,
    /// A permutation of `0..vocab`: the learner sees label `l` as the symbol `codebook[l]`.
    pub codebook: Vec<i64>,
}

impl EpisodePlan {
    /// Draws episode `index` of a split whose class `c` has `examples_per_class[c]` examples.
    ///
    /// # Errors
    /// [`Error::Value`] if `tasks` or `train_shots` is 0, if there are fewer classes or symbols than
    /// tasks, or if any class, drawn or not, has fewer than `train_shots + test_shots` examples; if
    /// symbols, or examples of a class, are more than 2^30.
    ///
    /// # Examples
    /// ```
    /// use mambacl::episode::{EpisodePlan, EpisodeSpec};
    /// let spec = EpisodeSpec { tasks: 3, train_shots: 5, test_shots: 2, vocab: 64 };
    /// let plan = EpisodePlan::draw(&spec, &[20; 100], 0, "train", 7)?;
    /// assert_eq!((plan.train.len(), plan.test.len()), (15, 6));
    /// assert_eq!(plan, EpisodePlan::draw(&spec, &[20; 100], 0, "train", 7)?);
    /// # Ok::<(), mambacl::error::Error>(())
    /// ```
    pub fn draw(
        spec: &EpisodeSpec,
        examples_per_class: &[usize],
        seed: u64,
        split: &str,
        index: u64,
    ) -> Result<Self> {
        check(spec, examples_per_class)?;

        let mut classes =
            permutation(&mut generator(seed, split, index, Stream::Classes as u64), examples_per_class.len());
        classes.truncate(spec.tasks);

        // A class's examples are shuffled whole, read from the front and asked from the back: this
        // is what nests episodes, whichever of the sizes grows.
        let mut rng = generator(seed, split, index, Stream::Examples as u64);
        let mut train = Vec::with_capacity(spec.tasks * spec.train_shots);
        let mut test = Vec::with_capacity(spec.tasks * spec.test_shots);
        for &class in &classes {
            let order = permutation(&mut rng, examples_per_class[class]);
            train.extend(&order[..spec.train_shots]);
            test.extend(order.iter().rev().take(spec.test_shots));
        }

        let mut rng = generator(seed, split, index, Stream::Codebook as u64);
        let codebook = permutation(&mut rng, spec.vocab).into_iter().map(|symbol| symbol as i64).collect();
        Ok(Self { classes, train, test, codebook })
    }
}

/// `count` numbers uniform in [0, 1) for the augmentation of episode `index`, each a multiple of 2⁻²⁴.
///
/// # Errors
/// [`Error::Value`] if there are more than 2^30.
///
/// # Examples
/// ```
/// use mambacl::episode::uniforms;
/// assert_eq!(uniforms(0, "train", 7, 4)?, uniforms(0, "train", 7, 6)?[..4]);
/// # Ok::<(), mambacl::error::Error>(())
/// ```
pub fn uniforms(seed: u64, split: &str, index: u64, count: usize) -> Result<Vec<f32>> {
    at_most("count", count)?;
    let mut rng = generator(seed, split, index, Stream::Augmentation as u64);
    Ok((0..count).map(|_| (rng.next_u32() >> 8) as f32 / (1 << 24) as f32).collect())
}

/// Checks a number of things that are drawn.
fn at_most(argument: &str, count: usize) -> Result<()> {
    let got = i64::try_from(count).unwrap_or(i64::MAX);
    check_numbers(OP, argument, got, [vec![got]])
}

fn check(spec: &EpisodeSpec, examples_per_class: &[usize]) -> Result<()> {
    let refuse = |argument: &str, expected: String, got: String| {
        Err(Error::Value { op: OP, argument: argument.to_owned(), expected, got })
    };
    let EpisodeSpec { tasks, train_shots, test_shots, vocab } = *spec;
    if tasks == 0 {
        return refuse("tasks", "at least 1".to_owned(), "0".to_owned());
    }
    if train_shots == 0 {
        return refuse("train_shots", "at least 1".to_owned(), "0".to_owned());
    }
    let classes = examples_per_class.len();
    if tasks > classes {
        return refuse("tasks", format!("at most the number of classes, {classes}"), tasks.to_string());
    }
    if vocab < tasks {
        return refuse("vocab", format!("at least the number of tasks, {tasks}"), vocab.to_string());
    }
    at_most("vocab", vocab)?;
    at_most("examples_per_class", examples_per_class.iter().copied().max().unwrap_or(0))?;
    // Refused whether or not the class is drawn: an error must not depend on the index.
    let needed = train_shots.saturating_add(test_shots);
    match examples_per_class.iter().position(|&examples| examples < needed) {
        Some(class) => refuse(
            "examples_per_class",
            format!("at least train_shots + test_shots = {needed} for every class"),
            format!("{} for class {class}", examples_per_class[class]),
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SPEC: EpisodeSpec = EpisodeSpec { tasks: 3, train_shots: 2, test_shots: 2, vocab: 8 };

    fn draw(spec: EpisodeSpec, seed: u64, split: &str, index: u64) -> EpisodePlan {
        EpisodePlan::draw(&spec, &[6; 10], seed, split, index).unwrap()
    }

    /// Whoever changes these numbers changes every published episode.
    #[test]
    fn plan_is_pinned() {
        let plan = draw(SPEC, 1, "train", 2);
        assert_eq!(plan.classes, [6, 4, 5]);
        assert_eq!(plan.train, [2, 3, 0, 4, 3, 2]);
        assert_eq!(plan.test, [4, 1, 2, 3, 0, 4]);
        assert_eq!(plan.codebook, [4, 1, 3, 0, 7, 2, 6, 5]);
    }

    #[test]
    fn seed_split_and_index_each_change_every_part() {
        let spec = EpisodeSpec { tasks: 10, train_shots: 3, test_shots: 3, vocab: 64 };
        let plan = draw(spec, 1, "train", 2);
        assert_eq!(plan, draw(spec, 1, "train", 2));
        for other in [
            draw(spec, 3, "train", 2),
            draw(spec, 1, "test", 2),
            draw(spec, 1, "train", 3),
            draw(spec, 2, "train", 1),
        ] {
            assert_ne!(plan.classes, other.classes);
            assert_ne!(plan.train, other.train);
            assert_ne!(plan.test, other.test);
            assert_ne!(plan.codebook, other.codebook);
        }
    }

    #[test]
    fn classes_are_distinct_and_queries_are_never_read() {
        for index in 0..200 {
            let spec = EpisodeSpec { tasks: 7, train_shots: 2, test_shots: 3, vocab: 9 };
            let plan = draw(spec, 0, "train", index);
            let classes: BTreeSet<_> = plan.classes.iter().collect();
            assert_eq!(classes.len(), 7);
            assert!(plan.classes.iter().all(|&class| class < 10));
            for (train, test) in plan.train.chunks(2).zip(plan.test.chunks(3)) {
                let examples: BTreeSet<_> = train.iter().chain(test).collect();
                assert_eq!(examples.len(), 5);
                assert!(examples.into_iter().all(|&example| example < 6));
            }
            let mut symbols = plan.codebook;
            symbols.sort_unstable();
            assert_eq!(symbols, (0..9).collect::<Vec<i64>>());
        }
    }

    #[test]
    fn larger_episodes_hold_the_smaller_one() {
        let small = draw(SPEC, 0, "test", 5);
        let large = draw(EpisodeSpec { tasks: 5, train_shots: 3, test_shots: 3, vocab: 8 }, 0, "test", 5);
        assert_eq!(small.classes, large.classes[..3]);
        assert_eq!(small.codebook, large.codebook);
        for task in 0..3 {
            assert_eq!(small.train[task * 2..][..2], large.train[task * 3..][..2]);
            assert_eq!(small.test[task * 2..][..2], large.test[task * 3..][..2]);
        }
    }

    #[test]
    fn exactly_enough_examples_are_all_used() {
        let plan = draw(EpisodeSpec { tasks: 10, train_shots: 4, test_shots: 2, vocab: 10 }, 0, "train", 0);
        for (train, test) in plan.train.chunks(4).zip(plan.test.chunks(2)) {
            let examples: BTreeSet<_> = train.iter().chain(test).copied().collect();
            assert_eq!(examples, (0..6).collect());
        }
    }

    /// Chi-square of (label, symbol) over many indices: 64 cells, 49 degrees of freedom, mean 49 and
    /// standard deviation 9.9; the draws are fixed, so this passes or fails for good.
    #[test]
    fn codebook_is_uniform_over_indices() {
        let episodes = 8000;
        let mut counts = [[0_u32; 8]; 8];
        for index in 0..episodes {
            for (label, &symbol) in draw(SPEC, 0, "train", index).codebook.iter().enumerate() {
                counts[label][symbol as usize] += 1;
            }
        }
        let expected = episodes as f64 / 8.0;
        let chi_square: f64 =
            counts.iter().flatten().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        assert!((20.0..80.0).contains(&chi_square), "chi-square {chi_square}");
    }

    /// The symbol of the first label must tell nothing of the class behind it.
    #[test]
    fn codebook_is_independent_of_the_class() {
        let episodes = 10_000;
        let mut counts = [[0_u32; 8]; 10];
        for index in 0..episodes {
            let plan = draw(SPEC, 0, "train", index);
            counts[plan.classes[0]][plan.codebook[0] as usize] += 1;
        }
        let expected = episodes as f64 / 80.0;
        let chi_square: f64 =
            counts.iter().flatten().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        assert!((40.0..120.0).contains(&chi_square), "chi-square {chi_square}"); // 79 +- 12.6
    }

    #[test]
    fn uniforms_are_pinned_and_fill_the_unit_interval() {
        let pinned = [8_746_565.0, 4_755_823.0, 2_220_717.0].map(|n: f32| n / (1 << 24) as f32);
        assert_eq!(uniforms(1, "train", 2, 3).unwrap(), pinned);
        let many = uniforms(0, "train", 0, 100_000).unwrap();
        assert!(many.iter().all(|u| (0.0..1.0).contains(u)));
        let mean = many.iter().map(|&u| f64::from(u)).sum::<f64>() / 1e5;
        assert!((mean - 0.5).abs() < 0.003, "mean {mean}");
        assert_ne!(uniforms(0, "train", 1, 4).unwrap(), uniforms(0, "train", 0, 4).unwrap());
    }

    fn refusal(spec: EpisodeSpec, examples_per_class: &[usize]) -> String {
        EpisodePlan::draw(&spec, examples_per_class, 0, "train", 0).unwrap_err().to_string()
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        assert_eq!(
            refusal(EpisodeSpec { tasks: 0, ..SPEC }, &[6; 10]),
            "episode: argument `tasks` must be at least 1, got 0"
        );
        assert_eq!(
            refusal(EpisodeSpec { train_shots: 0, ..SPEC }, &[6; 10]),
            "episode: argument `train_shots` must be at least 1, got 0"
        );
        assert_eq!(
            refusal(SPEC, &[6; 2]),
            "episode: argument `tasks` must be at most the number of classes, 2, got 3"
        );
        assert_eq!(
            refusal(EpisodeSpec { vocab: 2, ..SPEC }, &[6; 10]),
            "episode: argument `vocab` must be at least the number of tasks, 3, got 2"
        );
        assert_eq!(
            refusal(SPEC, &[6, 6, 6, 3]),
            "episode: argument `examples_per_class` must be at least train_shots + test_shots = 4 \
             for every class, got 3 for class 3"
        );
        assert!(refusal(EpisodeSpec { train_shots: usize::MAX, ..SPEC }, &[6; 10]).contains("class 0"));
    }
}
