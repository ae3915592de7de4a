//! The ranges that numbers in settings have, as types for `#[schemars(with = "...")]`.
//!
//! A field keeps its plain type; the attribute gives its schema a range, which is checked when settings are read
//! and when a model's schema is made.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// The largest size that a setting may have. A model too large for memory is refused when its tensors are counted.
pub const LARGEST_SIZE: i64 = 1 << 20;

macro_rules! ranges {
    ($($(#[$doc:meta])* $Range:ident: $schema:tt;)*) => {
        $(
            $(#[$doc])*
            pub struct $Range;

            impl JsonSchema for $Range {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($Range).into()
                }

                fn inline_schema() -> bool {
                    true
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )*
    };
}

ranges! {
    /// A size: an integer from 1 to [`LARGEST_SIZE`].
    Size: {"type": "integer", "minimum": 1, "maximum": LARGEST_SIZE};
    /// An integer of at least 1.
    Count: {"type": "integer", "minimum": 1};
    /// An integer of at least 0.
    Index: {"type": "integer", "minimum": 0};
    /// A number above 0.
    Positive: {"type": "number", "exclusiveMinimum": 0.0};
    /// A number of at least 0.
    Weight: {"type": "number", "minimum": 0.0};
    /// A number above 0 and at most 1.
    Fraction: {"type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0};
}
