//! Cargo: the alias, and the lines that have the crates which do the bytes compiled with
//! optimisation. Only where the root is a Cargo workspace.

use camino::Utf8Path;
use toml::{Table, Value};

use super::finding::Finding;

const CHECK: &str = "cargo";
/// The crates that hash and compress.
const CRATES: [&str; 4] = ["sha2", "zstd-sys", "zlib-rs", "flate2"];
/// From here on they run at about release speed.
const LEAST_LEVEL: i64 = 2;

/// What is known of Cargo.
pub(super) struct CargoFacts {
    manifest: Table,
    /// The alias `xtask`, in words.
    alias: Option<Vec<String>>,
}

impl CargoFacts {
    /// Reads the workspace at `root`; none where there is none, or cargo itself cannot read it.
    pub(super) fn gather(root: &Utf8Path) -> Option<Self> {
        let manifest: Table = read(&root.join("Cargo.toml"))?;
        manifest.get("workspace")?;
        // As cargo does: the nearest folder counts, then those above it, then its own home.
        let home = std::env::var("CARGO_HOME").map(Into::into).ok();
        let folders = root.ancestors().map(|folder| folder.join(".cargo"));
        let alias = folders
            .chain(home)
            .flat_map(|folder: camino::Utf8PathBuf| {
                [folder.join("config.toml"), folder.join("config")]
            })
            .find_map(|path| alias_of(&read(&path)?));
        Some(CargoFacts { manifest, alias })
    }

    /// Judges all of it.
    pub(super) fn judge(&self) -> Vec<Finding> {
        vec![self.judge_alias(), self.judge_profile()]
    }

    fn judge_alias(&self) -> Finding {
        const LINES: &str =
            "`.cargo/config.toml` needs:\n[alias]\nxtask = \"run --quiet --package xtask --\"";
        let Some(words) = &self.alias else {
            return Finding::advice(
                CHECK,
                "there is no alias `xtask`",
                "`cargo xtask` is no command without it",
            )
            .mend(LINES);
        };
        let is_run = matches!(words.first().map(String::as_str), Some("run" | "r"));
        let names_package = words.iter().any(|word| {
            matches!(
                word.as_str(),
                "--package" | "-p" | "--manifest-path" | "--bin"
            ) || word.starts_with("--package=")
                || word.starts_with("--manifest-path=")
        });
        let ends_flags = words.last().is_some_and(|word| word == "--");
        if is_run && names_package && ends_flags {
            return Finding::ok(CHECK, "the alias `xtask` is there");
        }
        let what = format!("the alias `xtask` is `{}`", words.join(" "));
        let why = if !is_run || !names_package {
            "it does not run the package by its name, so that it depends on the folder"
        } else {
            "without `--` at its end cargo takes flags such as `--help` and `--quiet` for its own"
        };
        Finding::advice(CHECK, what, why).mend(LINES)
    }

    fn judge_profile(&self) -> Finding {
        let profile = self.profile();
        let slow: Vec<&str> = CRATES
            .into_iter()
            .filter(|name| level(&self.manifest, &profile, name) < LEAST_LEVEL)
            .collect();
        if slow.is_empty() {
            return Finding::ok(
                CHECK,
                format!("hashing and compressing are optimised in profile `{profile}`"),
            );
        }
        let lines: Vec<String> = slow
            .iter()
            .map(|name| format!("[profile.{profile}.package.{name}]\nopt-level = 3"))
            .collect();
        Finding::advice(
            CHECK,
            format!(
                "{} are not optimised in profile `{profile}`",
                slow.join(", ")
            ),
            "hashing and compressing layers run many times slower; nothing else needs it",
        )
        .mend(format!(
            "`Cargo.toml` of the workspace needs:\n{}",
            lines.join("\n")
        ))
    }

    /// Returns the profile that the alias builds with.
    fn profile(&self) -> String {
        let words: Vec<&str> = self.alias.iter().flatten().map(String::as_str).collect();
        if words.contains(&"--release") || words.contains(&"-r") {
            return "release".to_owned();
        }
        let named = words.iter().enumerate().find_map(|(at, word)| {
            word.strip_prefix("--profile=")
                .or_else(|| (*word == "--profile").then(|| words.get(at + 1).copied())?)
        });
        named.unwrap_or("dev").to_owned()
    }
}

/// Returns the level at which `profile` has a package compiled, with what it inherits. `s` and `z`
/// count as 2.
fn level(manifest: &Table, profile: &str, package: &str) -> i64 {
    let mut profile = profile;
    // More than anybody inherits.
    for _ in 0..8 {
        let table = at(manifest, &["profile", profile]);
        let of = |table: Option<&Table>| table.and_then(|table| number(table.get("opt-level")?));
        let packages = table.and_then(|table| at(table, &["package"]));
        let in_packages = |name: &str| of(packages.and_then(|packages| at(packages, &[name])));
        let found = in_packages(package)
            .or_else(|| in_packages("*"))
            .or_else(|| of(table));
        if let Some(level) = found {
            return level;
        }
        profile = match (profile, table.and_then(|table| table.get("inherits"))) {
            ("release", _) => return 3,
            ("dev", _) => return 0,
            (_, Some(Value::String(parent))) => parent,
            _ => "dev",
        };
    }
    0
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Table> {
    path.iter()
        .try_fold(table, |table, name| table.get(*name)?.as_table())
}

fn number(level: &Value) -> Option<i64> {
    match level {
        Value::Integer(level) => Some(*level),
        Value::String(_) => Some(2),
        _ => None,
    }
}

fn alias_of(config: &Table) -> Option<Vec<String>> {
    let words = match at(config, &["alias"])?.get("xtask")? {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(words) => words
            .iter()
            .filter_map(|word| Some(word.as_str()?.to_owned()))
            .collect(),
        _ => return None,
    };
    Some(words)
}

fn read(path: &Utf8Path) -> Option<Table> {
    toml::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn facts(manifest: &str, alias: Option<&str>) -> CargoFacts {
        let alias = alias.map(|alias| {
            let config = toml::from_str(&format!("alias.xtask = {alias}")).expect("TOML");
            alias_of(&config).expect("an alias")
        });
        CargoFacts {
            manifest: toml::from_str(manifest).expect("TOML"),
            alias,
        }
    }

    const GOOD: &str = "\"run --quiet --package xtask --\"";

    #[test]
    fn aliases() {
        use Level::{Advice, Ok};
        for (alias, expected) in [
            (Some(GOOD), Ok),
            (Some("[\"run\", \"-p\", \"xtask\", \"--\"]"), Ok),
            (Some("\"run --release --package=xtask --\""), Ok),
            (Some("\"run --package xtask\""), Advice),
            (Some("\"run --\""), Advice),
            (Some("\"build --package xtask --\""), Advice),
            (None, Advice),
        ] {
            let finding = facts("", alias).judge_alias();
            assert_eq!(finding.level, expected, "{alias:?}");
        }
    }

    #[test]
    fn profiles() {
        use Level::{Advice, Ok};
        let all = CRATES.map(|name| format!("[profile.dev.package.{name}]\nopt-level = 3\n"));
        let release = "\"run --release -p xtask --\"";
        let own = "\"run --profile ci -p xtask --\"";
        for (manifest, alias, expected) in [
            ("", GOOD, Advice),
            (all.concat().as_str(), GOOD, Ok),
            (all[..3].concat().as_str(), GOOD, Advice),
            ("[profile.dev]\nopt-level = 2\n", GOOD, Ok),
            ("[profile.dev]\nopt-level = 1\n", GOOD, Advice),
            ("[profile.dev.package.\"*\"]\nopt-level = \"s\"\n", GOOD, Ok),
            ("", release, Ok),
            ("[profile.release]\nopt-level = 0\n", release, Advice),
            ("[profile.ci]\ninherits = \"release\"\n", own, Ok),
            ("[profile.ci]\ninherits = \"dev\"\n", own, Advice),
            ("[profile.ci]\ninherits = \"ci\"\n", own, Advice),
        ] {
            let finding = facts(manifest, Some(alias)).judge_profile();
            assert_eq!(finding.level, expected, "{manifest} {alias}");
        }
    }

    #[test]
    fn the_lines_to_add_are_those_that_are_missing() {
        let manifest = "[profile.dev.package.sha2]\nopt-level = 3\n[profile.dev.package.flate2]\nopt-level = 3\n";
        let mend = facts(manifest, Some(GOOD)).judge_profile().mend;
        let expected = "`Cargo.toml` of the workspace needs:\n\
                        [profile.dev.package.zstd-sys]\nopt-level = 3\n\
                        [profile.dev.package.zlib-rs]\nopt-level = 3";
        assert_eq!(mend.as_deref(), Some(expected));
    }

    #[test]
    fn this_workspace_has_what_it_asks_of_others() {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let findings = CargoFacts::gather(&root).expect("a workspace").judge();
        assert!(
            findings.iter().all(|one| one.level == Level::Ok),
            "{findings:?}"
        );
    }
}
