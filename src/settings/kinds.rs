//! Parts of a model that come in kinds: an enum of their settings, and what each kind is called.

/// Defines the enum of a part's kinds from one line a kind: the name that settings have for it, the variant, and
/// the struct of its settings, which implements the trait named after the enum.
///
/// The enum serialises as the settings of its kind with the key `kind`. Its schema lists the schemas of all kinds.
macro_rules! kinds {
    (
        $(#[$doc:meta])*
        $part:literal: $Enum:ident, $Settings:path;
        $($name:literal = $Kind:ident($Config:ty);)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "kind")]
        pub enum $Enum {
            $(
                #[doc = concat!("Settings of the kind `", $name, "`.")]
                #[serde(rename = $name)]
                $Kind($Config),
            )*
        }

        impl $Enum {
            /// The names of all kinds.
            pub const KINDS: &'static [&'static str] = &[$($name),*];

            /// The name of the kind.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$Kind(_) => $name,)*
                }
            }

            /// The settings of the kind.
            pub fn settings(&self) -> &dyn $Settings {
                match self {
                    $(Self::$Kind(config) => config,)*
                }
            }
        }

        $(
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
                schemars::json_schema!({
                    // So that an optional part is one of the types "object" and "null".
                    "type": "object",
                    "part": $part,
                    "kinds": {$($name: generator.subschema_for::<$Config>()),*},
                })
            }
        }
    };
}

pub(crate) use kinds;
