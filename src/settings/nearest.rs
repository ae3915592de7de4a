//! The name that was probably meant.

/// Names less alike than this have nothing to do with one another.
const LEAST_LIKENESS: f64 = 0.7;

/// The known name that is most like a given one, None where none is.
///
/// # Examples
/// ```
/// use mambacl::settings::nearest;
/// assert_eq!(nearest("manba", ["mamba", "attention"]), Some("mamba"));
/// assert_eq!(nearest("zzz", ["mamba", "attention"]), None);
/// ```
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(given, name);
    let best = known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > LEAST_LIKENESS).then_some(best)
}
