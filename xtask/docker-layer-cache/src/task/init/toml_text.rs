//! Additions to TOML files of others: text in, the same text with one thing more out.
//!
//! Nothing else moves: comments, order and blanks stay. Each addition is checked by reading the
//! result: where it does not hold what the old text held and the addition, and nothing else, it is
//! refused, and the reader is told what to add by hand.

use std::fmt::Write as _;
use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// Adds `"member"` to `workspace.members`, and the section where there is none.
///
/// # Errors
/// What to do by hand, where the text cannot be added to.
pub(super) fn with_member(text: &str, member: &str) -> Result<String, String> {
    let by_hand = || format!("add \"{member}\" to `workspace.members` by hand");
    let place = Place::of_members(text).ok_or_else(by_hand)?;
    let quoted = format!("\"{member}\"");
    let added = match place {
        Place::NoSection => {
            let gap = gap(text);
            format!("{text}{gap}[workspace]\nmembers = [{quoted}]\n")
        }
        Place::NoList { after_header } => {
            let (before, after) = text.split_at(after_header);
            format!("{before}members = [{quoted}]\n{after}")
        }
        Place::Empty { inside } => {
            let mut text = text.to_owned();
            text.replace_range(inside, &quoted);
            text
        }
        Place::After { last, rest } => after_last(text, last, rest, &quoted),
    };
    checked(text, added, |table| {
        let workspace = table
            .entry("workspace")
            .or_insert_with(|| Value::Table(Table::new()));
        let members = workspace
            .as_table_mut()?
            .entry("members")
            .or_insert_with(|| Value::Array(Vec::new()));
        members.as_array_mut()?.push(Value::String(member.into()));
        Some(())
    })
    .ok_or_else(by_hand)
}

/// Adds `[profile.dev.package.<name>]` with `opt-level = 3` for each of `packages` that has no
/// section of its own.
///
/// # Errors
/// What to do by hand, where the text cannot be added to.
pub(super) fn with_optimized(text: &str, packages: &[&str]) -> Result<String, String> {
    let path = ["profile", "dev", "package"];
    let table: Option<Table> = toml::from_str(text).ok();
    let known = table.as_ref().and_then(|table| at(table, &path));
    let missing = packages
        .iter()
        .filter(|&&name| known.is_none_or(|known| !known.contains_key(name)));
    let mut text = text.to_owned();
    let mut is_first = true;
    for package in missing {
        let by_hand = || {
            let packages = packages.join(", ");
            format!("set `opt-level = 3` for {packages} in `[profile.dev.package]` by hand")
        };
        let mut added = text.clone();
        if is_first {
            added.push_str(gap(&text));
            added.push_str(
                "# `cargo xtask docker-*` is a dev build; these crates do the bytes: digests, zstd, gzip.\n",
            );
        }
        is_first = false;
        let _ = writeln!(added, "[profile.dev.package.{package}]\nopt-level = 3");
        text = checked(&text, added, |table| {
            let mut table = table;
            for name in path.iter().chain([package]) {
                table = table
                    .entry(*name)
                    .or_insert_with(|| Value::Table(Table::new()))
                    .as_table_mut()?;
            }
            table.insert("opt-level".to_owned(), Value::Integer(3));
            Some(())
        })
        .ok_or_else(by_hand)?;
    }
    Ok(text)
}

/// Adds `name = "command"` to `[alias]`.
///
/// # Errors
/// What to do by hand, where the text cannot be added to.
pub(super) fn with_alias(text: &str, name: &str, command: &str) -> Result<String, String> {
    let line = format!("{name} = \"{command}\"");
    let by_hand = || format!("add `{line}` to `[alias]` by hand");
    let added = match after_header(text, "[alias]") {
        Some(at) => format!("{}{line}\n{}", &text[..at], &text[at..]),
        None => format!("{text}{}[alias]\n{line}\n", gap(text)),
    };
    checked(text, added, |table| {
        let alias = table
            .entry("alias")
            .or_insert_with(|| Value::Table(Table::new()));
        let alias = alias.as_table_mut()?;
        alias.insert(name.to_owned(), Value::String(command.to_owned()));
        Some(())
    })
    .ok_or_else(by_hand)
}

/// Returns the table at `path`.
pub(super) fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Table> {
    path.iter().try_fold(table, |table, name| {
        table.get(*name).and_then(Value::as_table)
    })
}

/// Where a member can be put.
enum Place {
    NoSection,
    /// There is `[workspace]` without `members`.
    NoList {
        after_header: usize,
    },
    Empty {
        inside: Range<usize>,
    },
    /// `last` is the last member; `rest` what stands between it and the `]`.
    After {
        last: Range<usize>,
        rest: Range<usize>,
    },
}

impl Place {
    fn of_members(text: &str) -> Option<Place> {
        let table = DeTable::parse(text).ok()?;
        let Some(workspace) = table.get_ref().get("workspace") else {
            return Some(Place::NoSection);
        };
        let members = workspace
            .get_ref()
            .as_table()
            .and_then(|table| table.get("members"));
        let Some(members) = members else {
            return Some(Place::NoList {
                after_header: after_header(text, "[workspace]")?,
            });
        };
        let DeValue::Array(list) = members.get_ref() else {
            return None;
        };
        let whole = members.span();
        let end = whole.end.checked_sub(1)?;
        Some(match list.iter().last() {
            Some(last) => Place::After {
                last: last.span(),
                rest: last.span().end..end,
            },
            None => Place::Empty {
                inside: whole.start + 1..end,
            },
        })
    }
}

/// Puts `quoted` behind the last member: on a line of its own where that one has one.
fn after_last(text: &str, last: Range<usize>, rest: Range<usize>, quoted: &str) -> String {
    let line = text[..last.start].rfind('\n').map_or(0, |at| at + 1);
    let indent = &text[line..last.start];
    let (at, added) = if !indent.trim().is_empty() || line == 0 {
        (last.end, format!(", {quoted}"))
    } else {
        let behind = &text[rest.clone()];
        match behind.trim_start().strip_prefix(',') {
            // Behind the comma and the comment that may follow it.
            Some(_) => {
                let comma = rest.start + behind.find(',').unwrap_or(0);
                let end = text[comma..].find('\n').map_or(comma + 1, |n| comma + n);
                (end, format!("\n{indent}{quoted},"))
            }
            None => (last.end, format!(",\n{indent}{quoted}")),
        }
    };
    format!("{}{added}{}", &text[..at], &text[at..])
}

/// Returns the offset behind the line of a section's header.
fn after_header(text: &str, header: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        let code = line.split('#').next().unwrap_or(line).trim();
        if code == header && line.ends_with('\n') {
            return Some(at);
        }
    }
    None
}

/// Returns what separates an added section from the text before it.
fn gap(text: &str) -> &'static str {
    if text.is_empty() {
        ""
    } else if text.ends_with('\n') {
        "\n"
    } else {
        "\n\n"
    }
}

/// Returns `added` where it means what `text` means, changed by `change`.
fn checked(
    text: &str,
    added: String,
    change: impl FnOnce(&mut Table) -> Option<()>,
) -> Option<String> {
    let mut expected: Table = toml::from_str(text).ok()?;
    change(&mut expected)?;
    let found: Table = toml::from_str(&added).ok()?;
    (found == expected).then_some(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_added_where_they_belong() {
        for (text, expected) in [
            ("", "[workspace]\nmembers = [\"x\"]\n"),
            (
                "[package]\nname = \"a\"\n",
                "[package]\nname = \"a\"\n\n[workspace]\nmembers = [\"x\"]\n",
            ),
            ("[package]", "[package]\n\n[workspace]\nmembers = [\"x\"]\n"),
            (
                "[workspace] # ours\nresolver = \"2\"\n",
                "[workspace] # ours\nmembers = [\"x\"]\nresolver = \"2\"\n",
            ),
            (
                "[workspace]\nmembers = []\n",
                "[workspace]\nmembers = [\"x\"]\n",
            ),
            (
                "[workspace]\nmembers = [\"a\", \"b\"] # all\n",
                "[workspace]\nmembers = [\"a\", \"b\", \"x\"] # all\n",
            ),
            (
                "[workspace]\nmembers = [\n    \"a\",\n    \"b\", # late\n]\n",
                "[workspace]\nmembers = [\n    \"a\",\n    \"b\", # late\n    \"x\",\n]\n",
            ),
            (
                "[workspace]\nmembers = [\n  \"a\"\n]\n",
                "[workspace]\nmembers = [\n  \"a\",\n  \"x\"\n]\n",
            ),
            (
                "workspace.members = [\"a\"]\n",
                "workspace.members = [\"a\", \"x\"]\n",
            ),
            (
                "workspace = { members = [\"a\",] }\n",
                "workspace = { members = [\"a\", \"x\",] }\n",
            ),
        ] {
            assert_eq!(with_member(text, "x").as_deref(), Ok(expected), "{text}");
        }
        for text in ["[workspace", "workspace = {}\n", "workspace = 1\n"] {
            let error = with_member(text, "x").expect_err(text);
            assert!(error.contains("by hand"), "{error}");
        }
    }

    #[test]
    fn profiles_are_added_once() {
        let once = with_optimized("a = 1\n", &["sha2", "flate2"]).expect("it can be added");
        assert!(once.starts_with("a = 1\n\n# `cargo"), "{once}");
        assert!(once.ends_with("[profile.dev.package.sha2]\nopt-level = 3\n[profile.dev.package.flate2]\nopt-level = 3\n"));
        assert_eq!(with_optimized(&once, &["sha2", "flate2"]), Ok(once.clone()));
        let own = "[profile.dev.package.sha2]\nopt-level = 1\n";
        assert_eq!(with_optimized(own, &["sha2"]).as_deref(), Ok(own));
        assert!(with_optimized("profile = { dev = {} }\n", &["sha2"]).is_err());
    }

    #[test]
    fn aliases_are_added_to_their_section() {
        for (text, expected) in [
            ("", "[alias]\nx = \"run\"\n"),
            ("[build]\n", "[build]\n\n[alias]\nx = \"run\"\n"),
            (
                "[alias]\nb = \"build\"\n",
                "[alias]\nx = \"run\"\nb = \"build\"\n",
            ),
        ] {
            assert_eq!(
                with_alias(text, "x", "run").as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        assert!(with_alias("alias.x = \"b\"\n", "x", "run").is_err());
    }
}
