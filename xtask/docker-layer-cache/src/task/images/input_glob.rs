//! One entry of `inputs`: a glob, or a table that says more of it.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// A glob of key inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputGlob {
    /// The glob, relative to the root; `!` in front leaves out.
    pub(crate) glob: String,
    /// That it matches nothing is an error.
    pub(crate) required: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    glob: String,
    #[serde(default)]
    required: bool,
}

// By hand: serde's untagged enums cannot say which field is wrong.
impl<'de> Deserialize<'de> for InputGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = InputGlob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob, or a table `{ glob = \"…\", required = true }`")
            }

            fn visit_str<E: Error>(self, glob: &str) -> Result<InputGlob, E> {
                Ok(InputGlob {
                    glob: glob.to_owned(),
                    required: false,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<InputGlob, A::Error> {
                let Table { glob, required } = Table::deserialize(MapAccessDeserializer::new(map))?;
                if required && glob.starts_with('!') {
                    return Err(A::Error::custom(format_args!(
                        "`{glob}` leaves files out, so it cannot be required"
                    )));
                }
                Ok(InputGlob { glob, required })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        inputs: Vec<InputGlob>,
    }

    fn parse(list: &str) -> Result<Vec<InputGlob>, String> {
        toml::from_str::<File>(&format!("inputs = {list}\n"))
            .map(|file| file.inputs)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn strings_and_tables_mix() {
        let inputs = parse("[\"a\", { glob = \"b/**\", required = true }, { glob = \"!c\" }]")
            .expect("valid");
        let found: Vec<_> = inputs
            .iter()
            .map(|input| (input.glob.as_str(), input.required))
            .collect();
        assert_eq!(found, [("a", false), ("b/**", true), ("!c", false)]);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (list, expected) in [
            ("[7]", "a glob, or a table"),
            (
                "[{ glob = \"a\", requird = true }]",
                "unknown field `requird`",
            ),
            ("[{ required = true }]", "missing field `glob`"),
            ("[{ glob = \"!a\", required = true }]", "cannot be required"),
        ] {
            let error = parse(list).expect_err(list);
            assert!(error.contains(expected), "{list}: {error}");
        }
    }
}
