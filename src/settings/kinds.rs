//! Parts of a model that come in kinds: an enum of their settings, and what each kind is called.

/// Defines the enum of a part's kinds from one line a kind: the name that settings have for it, the variant, and
/// the struct of its settings, which implements the trait. An attribute before the line, such as a `cfg`, holds for
/// all that is made of it.
///
/// The enum serialises as the settings of its kind with the key `kind`. Its schema lists the schemas of all kinds.
macro_rules! kinds {
    (
        $(#[$doc:meta])*
        $part:literal: $Enum:ident, $Settings:path;
        $($(#[$attribute:meta])* $name:literal = $Kind:ident($Config:ty);)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "kind")]
        pub enum $Enum {
            $(
                #[doc = concat!("Settings of the kind `", $name, "`.")]
                #[serde(rename = $name)]
                $(#[$attribute])*
                $Kind($Config),
            )*
        }

        impl $Enum {
            /// The names of all kinds.
            pub const KINDS: &'static [&'static str] = &[$($(#[$attribute])* $name),*];

            /// The name of the kind.
            pub fn kind(&self) -> &'static str {
                match self {
                    $($(#[$attribute])* Self::$Kind(_) => $name,)*
                }
            }

            /// The settings of the kind.
            pub fn settings(&self) -> &dyn $Settings {
                match self {
                    $($(#[$attribute])* Self::$Kind(config) => config,)*
                }
            }
        }

        $(
            $(#[$attribute])*
            impl From<$Config> for $Enum {
                fn from(config: $Config) -> Self {
                    Self::$Kind(config)
                }
            }
        )*

        impl schemars::JsonSchema for $Enum {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $part.into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut kinds = serde_json::Map::new();
                $(
                    $(#[$attribute])*
                    kinds.insert($name.into(), generator.subschema_for::<$Config>().into());
                )*
                // With a type, so that an optional part is one of the types "object" and "null".
                schemars::json_schema!({"type": "object", "part": $part, "kinds": kinds})
            }
        }
    };
}

pub(crate) use kinds;
