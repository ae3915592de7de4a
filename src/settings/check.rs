//! Checks settings against their schema: every error names the setting, what it must be and what it is.

use super::nearest;
use crate::error::{Error, Result};
use schemars::Schema;
use serde_json::{Map, Value};

/// The key that names the kind of a part.
const KIND: &str = "kind";

/// Checks settings, and those of their parts. `place` is the name of the value, empty for the whole.
///
/// # Errors
/// [`Error::Config`] for the first setting that does not fit.
pub(crate) fn check(value: &Value, schema: &Schema, place: &str) -> Result<()> {
    Check { value, place }.against(schema.as_value())
}

/// The error of a setting that must be something else.
pub(crate) fn refused(place: &str, expected: impl std::fmt::Display, got: &Value) -> Error {
    let field = if place.is_empty() { "settings" } else { place };
    Error::Config { field: field.into(), reason: format!("must be {expected}, got {got}") }
}

#[derive(Clone, Copy)]
struct Check<'a> {
    value: &'a Value,
    place: &'a str,
}

impl Check<'_> {
    fn against(self, schema: &Value) -> Result<()> {
        if let Some(Value::Array(options)) = schema.get("anyOf").or(schema.get("oneOf")) {
            // Names with a description each.
            let names: Option<Vec<_>> = options.iter().map(|option| option.get("const").cloned()).collect();
            return names.map_or_else(|| self.any_of(options), |names| self.one_of_names(&names));
        }
        if let Some(constant) = schema.get("const") {
            return self.require(self.value == constant, constant);
        }
        if let Some(Value::Array(names)) = schema.get("enum") {
            return self.one_of_names(names);
        }
        match schema.get("type") {
            Some(Value::Array(types)) => {
                // An optional value: null, or what the rest of the schema says.
                let null = types.iter().any(|name| name == "null");
                let named = types.iter().filter_map(Value::as_str).find(|&name| name != "null");
                if null && self.value.is_null() {
                    Ok(())
                } else {
                    self.of_type(named.unwrap_or("null"), schema)
                }
            }
            Some(Value::String(name)) => self.of_type(name, schema),
            _ => Ok(()),
        }
    }

    fn require(self, fits: bool, expected: impl std::fmt::Display) -> Result<()> {
        if fits { Ok(()) } else { Err(refused(self.place, expected, self.value)) }
    }

    fn of_type(self, name: &str, schema: &Value) -> Result<()> {
        match name {
            "object" => match schema.get("kinds").and_then(Value::as_object) {
                Some(kinds) => self.one_of_kinds(kinds),
                None => self.table(schema),
            },
            "array" => {
                let Value::Array(items) = self.value else { return self.require(false, "a list") };
                let each = schema.get("items").unwrap_or(&Value::Null);
                items.iter().try_for_each(|value| Check { value, ..self }.against(each))
            }
            "integer" => {
                self.require(self.value.is_i64(), "an integer")?;
                self.in_range(schema)
            }
            "number" => {
                self.require(self.value.is_number(), "a number")?;
                self.in_range(schema)
            }
            "boolean" => self.require(self.value.is_boolean(), "true or false"),
            "string" => self.require(self.value.is_string(), "a text"),
            _ => self.require(self.value.is_null(), "null"),
        }
    }

    fn in_range(self, schema: &Value) -> Result<()> {
        let number = self.value.as_f64().unwrap_or(f64::NAN);
        let bound = |key: &str| schema.get(key).map(|bound| (bound, bound.as_f64().unwrap_or(f64::NAN)));
        if let Some((bound, least)) = bound("minimum") {
            self.require(number >= least, format_args!("at least {bound}"))?;
        }
        if let Some((bound, least)) = bound("exclusiveMinimum") {
            self.require(number > least, format_args!("above {bound}"))?;
        }
        if let Some((bound, most)) = bound("maximum") {
            self.require(number <= most, format_args!("at most {bound}"))?;
        }
        Ok(())
    }

    fn table(self, schema: &Value) -> Result<()> {
        let Value::Object(table) = self.value else { return self.require(false, "a table") };
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        for (key, value) in table {
            let place = self.inside(key);
            let Some(schema) = properties.get(key) else { return Err(self.unknown(key, properties)) };
            Check { value, place: &place }.against(schema)?;
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        match required.filter_map(Value::as_str).find(|&key| !table.contains_key(key)) {
            Some(key) => Err(Error::Config { field: self.inside(key), reason: "is missing".into() }),
            None => Ok(()),
        }
    }

    fn one_of_kinds(self, kinds: &Map<String, Value>) -> Result<()> {
        let Value::Object(table) = self.value else { return self.require(false, "a table") };
        let place = self.inside(KIND);
        let Some(kind) = table.get(KIND) else {
            return Err(Error::Config {
                field: place,
                reason: format!("is missing: {}", one_of(kinds.keys())),
            });
        };
        let schema = kind.as_str().and_then(|kind| kinds.get(kind));
        let Some(schema) = schema else { return Err(unknown_name(&place, kind, kinds.keys())) };
        let mut own = table.clone();
        own.shift_remove(KIND);
        Check { value: &Value::Object(own), place: self.place }.table(schema)
    }

    fn one_of_names(self, names: &[Value]) -> Result<()> {
        if names.contains(self.value) {
            return Ok(());
        }
        Err(unknown_name(self.place, self.value, names.iter().filter_map(Value::as_str)))
    }

    fn any_of(self, options: &[Value]) -> Result<()> {
        let mut errors = Vec::new();
        for option in options {
            match self.against(option) {
                Ok(()) => return Ok(()),
                Err(error) => errors.push((option, error)),
            }
        }
        // The option of the value's own form says most: a table for a table, a number for a number.
        match errors.iter().position(|(option, _)| form(option, self.value)) {
            Some(own) => Err(errors.swap_remove(own).1),
            None => Err(refused(self.place, either(options), self.value)),
        }
    }

    /// The full name of a setting in this table.
    fn inside(self, key: &str) -> String {
        if self.place.is_empty() { key.into() } else { format!("{}.{key}", self.place) }
    }

    fn unknown(self, key: &str, properties: &Map<String, Value>) -> Error {
        let names = properties.keys().map(String::as_str);
        let hint = match nearest(key, names) {
            Some(name) => format!("; did you mean `{}`?", self.inside(name)),
            None if properties.is_empty() => "; there is none here".into(),
            None => format!("; there are {}", one_of(properties.keys())),
        };
        Error::Config { field: self.inside(key), reason: format!("is no setting{hint}") }
    }
}

/// Whether a value has the JSON form that a schema asks for.
fn form(schema: &Value, value: &Value) -> bool {
    match value {
        Value::Object(_) => schema["type"] == "object",
        Value::Array(_) => schema["type"] == "array",
        Value::Number(_) => schema["type"] == "number" || schema["type"] == "integer",
        _ => false,
    }
}

/// What a value of one of several schemas may be, as errors say it.
fn either(options: &[Value]) -> String {
    let each = options.iter().map(|option| {
        if let Some(constant) = option.get("const") {
            return constant.to_string();
        }
        if let Some(Value::Array(names)) = option.get("oneOf") {
            return either(names);
        }
        match option["type"].as_str() {
            Some("number") => "a number".into(),
            Some("integer") => "an integer".into(),
            Some("array") => "a list".into(),
            Some("object") => "a table".into(),
            _ => "null".into(),
        }
    });
    each.collect::<Vec<_>>().join(" or ")
}

fn unknown_name<'a>(
    place: &str,
    given: &Value,
    known: impl IntoIterator<Item = impl AsRef<str> + 'a> + Clone,
) -> Error {
    let known: Vec<_> = known.into_iter().map(|name| name.as_ref().to_owned()).collect();
    let near = given.as_str().and_then(|given| nearest(given, known.iter().map(String::as_str)));
    let hint = near.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
    let expected = one_of(&known);
    Error::Config { field: place.into(), reason: format!("must be {expected}, got {given}{hint}") }
}

fn one_of(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match &names[..] {
        [] => "nothing".into(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
