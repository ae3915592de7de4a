//! Settings from JSON: a key or value that makes no sense is told by its place, with the nearest
//! name that would.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;

/// Reads settings.
///
/// # Errors
/// [`Error::Config`] with the field's path, what is wrong with it, and the nearest valid name if one
/// was misspelt.
///
/// # Examples
/// ```
/// use mambacl::learners::SequenceConfig;
/// let config: SequenceConfig = mambacl::settings::read(r#"{"d_model": 32}"#)?;
/// assert_eq!((config.d_model, config.n_layer), (32, 2));
/// let error = mambacl::settings::read::<SequenceConfig>(r#"{"d_modl": 32}"#).unwrap_err();
/// assert!(error.to_string().ends_with("did you mean `d_model`?"));
/// # Ok::<(), mambacl::error::Error>(())
/// ```
pub fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let message = error.inner().to_string();
        // serde_json ends with "at line 1 column 20", which means nothing to who wrote no JSON.
        let message = message.split(" at line ").next().unwrap_or(&message);
        let (field, message) = placed(&error.path().to_string(), message);
        Error::Config { field, reason: with_nearest(message) }
    })
}

/// The place of an error, and what is left of its message. Behind a `kind` serde keeps no place: a message of
/// this package begins with the name of the setting there.
fn placed<'a>(path: &str, message: &'a str) -> (String, &'a str) {
    match message.strip_prefix('`').and_then(|rest| rest.split_once("` ")) {
        None => (path.to_owned(), message),
        Some((name, reason)) if path.rsplit('.').next() == Some(name) => (path.to_owned(), reason),
        Some((name, reason)) => (format!("{path}.{name}").trim_start_matches('.').to_owned(), reason),
    }
}

/// The refusal of a name that is none of those known, as [`read`] words it.
pub(crate) fn unknown(field: &str, given: &str, known: &[&str]) -> Error {
    let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    let message =
        format!("unknown variant `{}`, expected one of {}", given.trim_matches('"'), names.join(", "));
    Error::Config { field: field.into(), reason: with_nearest(&message) }
}

/// A message, and the nearest valid name if one was misspelt.
fn with_nearest(message: &str) -> String {
    match nearest(message) {
        Some(name) => format!("{message}; did you mean `{name}`?"),
        None => message.to_owned(),
    }
}

/// Of a message of serde's, "unknown field `a`, expected one of `b`, `c`", the valid name that is most
/// like the one given.
fn nearest(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let given = names.next()?;
    let likeness = |name: &str| strsim::jaro_winkler(given, name);
    names.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|name| likeness(name) > 0.7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learners::SequenceConfig;

    fn refusal(json: &str) -> String {
        read::<SequenceConfig>(json).unwrap_err().to_string()
    }

    #[test]
    fn nothing_is_the_default() {
        let config: SequenceConfig = read("{}").unwrap();
        let default = serde_json::to_string(&SequenceConfig::default()).unwrap();
        assert_eq!(serde_json::to_string(&config).unwrap(), default);
    }

    #[test]
    fn a_misspelt_name_is_told_with_the_nearest() {
        assert_eq!(
            refusal(r#"{"n_layers": 3}"#),
            "configuration: `n_layers` unknown field `n_layers`, expected one of `d_model`, `n_layer`, \
             `encoder`, `target`, `mixer`, `feed_forward`, `norm`, `selectivity`; did you mean `n_layer`?"
        );
        assert!(refusal(r#"{"mixer": {"kind": "manba"}}"#).ends_with("did you mean `mamba`?"));
        assert!(refusal(r#"{"selectivity": {"wait": 1.0}}"#).contains("`weight`"));
        let far = refusal(r#"{"zzz": 3}"#);
        assert!(!far.contains("did you mean"), "{far}");
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        assert_eq!(
            refusal(r#"{"d_model": "128"}"#),
            "configuration: `d_model` invalid type: string \"128\", expected i64"
        );
        assert!(refusal(r#"{"selectivity": {"weight": "much"}}"#).contains("`selectivity.weight`"));
        let decay = r#"{"mixer": {"kind": "mamba2", "initial_decay": "slow"}}"#;
        let text =
            "configuration: `mixer.initial_decay` must be \"published\" or a number from 0.000001 to 1000, ";
        assert_eq!(refusal(decay), format!("{text}got \"slow\""));
        let alone = read::<crate::mixers::mamba::MambaConfig>(r#"{"initial_decay": null}"#).unwrap_err();
        assert_eq!(alone.to_string(), format!("{}got null", text.replace("mixer.", "")));
    }
}
