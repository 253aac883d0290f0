//! Instructions, typed, with their arguments as written.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/instructions/parse.go>

use super::flags::{FlagKind, Flags, KnownFlags};
use super::logical_line::LogicalLine;
use super::mount::MountFlag;
use super::suggestion::{quote, suggest};
use super::{DockerfileError, Heredoc, health_check};

/// A typed instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypedLine {
    /// In capitals.
    pub(super) keyword: String,
    pub(super) lines: (usize, usize),
    pub(super) original: String,
    pub(super) flags: Vec<String>,
    pub(super) heredocs: Vec<Heredoc>,
    pub(super) arguments: Arguments,
}

/// The arguments of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arguments {
    From(FromArguments),
    Arg(Vec<(String, Option<String>)>),
    /// `ENV` and `LABEL`.
    Pairs(Vec<(String, String)>),
    Copy(CopyArguments),
    Run {
        command: Vec<String>,
        shell_form: bool,
        mounts: Vec<String>,
    },
    /// The trigger's text.
    Onbuild(String),
    /// Words that are expanded each: `WORKDIR`, `USER`, `STOPSIGNAL`, `VOLUME`.
    Words(Vec<String>),
    Expose(Vec<String>),
    /// Not expanded: `CMD`, `ENTRYPOINT`, `SHELL`, `HEALTHCHECK`, `MAINTAINER`.
    Verbatim(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FromArguments {
    pub(super) base: String,
    pub(super) name: Option<String>,
    pub(super) platform: Option<String>,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyArguments {
    pub(super) sources: Vec<String>,
    pub(super) inline_files: Vec<Heredoc>,
    pub(super) destination: String,
    pub(super) from: Option<String>,
    pub(super) checksum: Option<String>,
    pub(super) exclude: Vec<String>,
    pub(super) parents: bool,
    pub(super) link: bool,
    /// Flags that are expanded and go into the result: owner, mode.
    pub(super) attributes: Vec<(String, String)>,
}

/// The most used first: of two that are equally near to a typing error, `BuildKit` takes any.
const KEYWORDS: [&str; 18] = [
    "FROM",
    "RUN",
    "COPY",
    "ENV",
    "ARG",
    "ADD",
    "CMD",
    "USER",
    "LABEL",
    "EXPOSE",
    "VOLUME",
    "SHELL",
    "WORKDIR",
    "ONBUILD",
    "ENTRYPOINT",
    "HEALTHCHECK",
    "STOPSIGNAL",
    "MAINTAINER",
];

const NO_FLAGS: KnownFlags = &[];
const FROM_FLAGS: KnownFlags = &[("platform", FlagKind::Text)];
const ADD_FLAGS: KnownFlags = &[
    ("exclude", FlagKind::Texts),
    ("chown", FlagKind::Text),
    ("chmod", FlagKind::Text),
    ("link", FlagKind::Bool),
    ("keep-git-dir", FlagKind::Bool),
    ("checksum", FlagKind::Text),
    ("unpack", FlagKind::Bool),
];
const COPY_FLAGS: KnownFlags = &[
    ("exclude", FlagKind::Texts),
    ("parents", FlagKind::Bool),
    ("chown", FlagKind::Text),
    ("from", FlagKind::Text),
    ("chmod", FlagKind::Text),
    ("link", FlagKind::Bool),
];
const RUN_FLAGS: KnownFlags = &[
    ("mount", FlagKind::Texts),
    ("network", FlagKind::Text),
    ("security", FlagKind::Text),
    ("device", FlagKind::Texts),
];

impl TypedLine {
    pub(super) fn parse(line: &LogicalLine) -> Result<Self, DockerfileError> {
        let keyword = line.keyword.to_lowercase().to_ascii_uppercase();
        let arguments = parse_arguments(&keyword, line).map_err(|error| error.at(line.lines.0))?;
        Ok(Self {
            keyword,
            lines: line.lines,
            original: line.original.trim().to_owned(),
            flags: line.flags.clone(),
            heredocs: line.heredocs.clone(),
            arguments,
        })
    }
}

fn parse_arguments(keyword: &str, line: &LogicalLine) -> Result<Arguments, DockerfileError> {
    let words = &line.arguments;
    let error = |message: String| Err(DockerfileError::new(message));
    let exactly_one = || match words.as_slice() {
        [word] => Ok(word.clone()),
        _ => Err(DockerfileError::new(format!(
            "{keyword} requires exactly one argument"
        ))),
    };
    let at_least_one = || {
        if words.is_empty() {
            return Err(DockerfileError::new(format!(
                "{keyword} requires at least one argument"
            )));
        }
        Ok(())
    };
    let no_flags = || Flags::parse(&line.flags, NO_FLAGS);
    match keyword {
        "FROM" => parse_from(line).map(Arguments::From),
        "ARG" => {
            at_least_one()?;
            let mut definitions = Vec::with_capacity(words.len());
            for word in words {
                definitions.push(match word.split_once('=') {
                    Some(("", _)) => return error("ARG names can not be blank".to_owned()),
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word.clone(), None),
                });
            }
            Ok(Arguments::Arg(definitions))
        }
        "ENV" | "LABEL" => {
            no_flags()?;
            at_least_one()?;
            let mut pairs = Vec::with_capacity(words.len() / 3);
            for pair in words.chunks(3) {
                if pair[0].is_empty() {
                    return error(format!("{keyword} names can not be blank"));
                }
                pairs.push((pair[0].clone(), pair.get(1).cloned().unwrap_or_default()));
            }
            Ok(Arguments::Pairs(pairs))
        }
        "ADD" | "COPY" => parse_copy(keyword, line).map(Arguments::Copy),
        "RUN" => parse_run(line),
        "ONBUILD" => {
            at_least_one()?;
            no_flags()?;
            let trigger = words[0].trim().to_uppercase();
            match trigger.as_str() {
                "ONBUILD" => {
                    return error(
                        "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned(),
                    );
                }
                "MAINTAINER" | "FROM" => {
                    return error(format!("{trigger} isn't allowed as an ONBUILD trigger"));
                }
                _ => {}
            }
            let original = line.original.trim_start();
            let mut expression = original
                .get("ONBUILD".len()..)
                .unwrap_or_default()
                .trim_start()
                .to_owned();
            for heredoc in &line.heredocs {
                expression.push('\n');
                expression.push_str(&heredoc.content);
                expression.push_str(&heredoc.name);
            }
            Ok(Arguments::Onbuild(expression))
        }
        "WORKDIR" | "USER" => {
            let word = exactly_one()?;
            no_flags()?;
            Ok(Arguments::Words(vec![word]))
        }
        "STOPSIGNAL" => Ok(Arguments::Words(vec![exactly_one()?])),
        "MAINTAINER" => {
            let word = exactly_one()?;
            no_flags()?;
            Ok(Arguments::Verbatim(vec![word]))
        }
        "VOLUME" => {
            at_least_one()?;
            no_flags()?;
            let volumes: Vec<String> = words.iter().map(|word| word.trim().to_owned()).collect();
            if volumes.iter().any(String::is_empty) {
                return error("VOLUME specified can not be an empty string".to_owned());
            }
            Ok(Arguments::Words(volumes))
        }
        "EXPOSE" => {
            at_least_one()?;
            no_flags()?;
            let mut ports = words.clone();
            ports.sort();
            Ok(Arguments::Expose(ports))
        }
        "CMD" | "ENTRYPOINT" => {
            no_flags()?;
            Ok(Arguments::Verbatim(words.clone()))
        }
        "SHELL" => {
            no_flags()?;
            at_least_one()?;
            if !line.json {
                return error(format!(
                    "{keyword} requires the arguments to be in JSON form"
                ));
            }
            Ok(Arguments::Verbatim(words.clone()))
        }
        "HEALTHCHECK" => {
            at_least_one()?;
            health_check::validate(line)?;
            Ok(Arguments::Verbatim(words.clone()))
        }
        _ => {
            let message = format!("unknown instruction: {}", line.keyword);
            error(suggest(message, &line.keyword, KEYWORDS, false))
        }
    }
}

fn parse_from(line: &LogicalLine) -> Result<FromArguments, DockerfileError> {
    let words = &line.arguments;
    let name = match words.as_slice() {
        [_] => None,
        [_, as_word, name] if as_word.eq_ignore_ascii_case("as") => {
            let lower = name.to_lowercase();
            let valid = lower.starts_with(|c: char| c.is_ascii_lowercase())
                && lower.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')
                });
            if !valid {
                return Err(DockerfileError::new(format!(
                    "invalid name for build stage: {}, name can't start with a number or contain symbols",
                    quote(name)
                )));
            }
            Some(lower)
        }
        _ => {
            let error = DockerfileError::new("FROM requires either one or three arguments");
            return Err(if words.iter().any(|word| word.starts_with('#')) {
                error.with_hint("a comment needs a line of its own")
            } else if words.iter().any(|word| word.contains("${")) {
                error.with_hint("no spaces inside `${…}`")
            } else {
                error
            });
        }
    };
    let flags = Flags::parse(&line.flags, FROM_FLAGS)?;
    Ok(FromArguments {
        base: words[0].clone(),
        name,
        platform: flags.text("platform"),
    })
}

fn parse_copy(keyword: &str, line: &LogicalLine) -> Result<CopyArguments, DockerfileError> {
    let [words @ .., destination] = line.arguments.as_slice() else {
        return Err(no_destination(keyword));
    };
    if words.is_empty() {
        return Err(no_destination(keyword));
    }
    let known = if keyword == "ADD" {
        ADD_FLAGS
    } else {
        COPY_FLAGS
    };
    let flags = Flags::parse(&line.flags, known)?;
    if Heredoc::is_word(destination) {
        return Err(DockerfileError::new(format!(
            "{keyword} cannot accept a heredoc as a destination"
        )));
    }
    let (mut sources, mut inline_files) = (Vec::new(), Vec::new());
    for word in words {
        let Ok(Some(heredoc)) = Heredoc::parse(word) else {
            sources.push(word.clone());
            continue;
        };
        let attached = line.heredocs.iter().rfind(|h| h.name == heredoc.name);
        inline_files.push(Heredoc {
            content: attached.map(|h| h.content.clone()).unwrap_or_default(),
            ..heredoc
        });
    }
    let attribute = |name: &str| Some((name.to_owned(), flags.text(name)?));
    Ok(CopyArguments {
        sources,
        inline_files,
        destination: destination.clone(),
        from: flags.text("from"),
        checksum: flags.text("checksum"),
        exclude: flags.texts("exclude"),
        parents: flags.is_true("parents"),
        link: flags.is_true("link"),
        attributes: ["chown", "chmod", "keep-git-dir", "unpack"]
            .into_iter()
            .filter_map(attribute)
            .collect(),
    })
}

fn no_destination(keyword: &str) -> DockerfileError {
    DockerfileError::new(format!(
        "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
    ))
}

fn parse_run(line: &LogicalLine) -> Result<Arguments, DockerfileError> {
    let flags = Flags::parse(&line.flags, RUN_FLAGS)?;
    let mounts = flags.texts("mount");
    for mount in &mounts {
        MountFlag::parse(mount, None)?;
    }
    if let Some(network) = flags.text("network")
        && !matches!(network.as_str(), "default" | "none" | "host")
    {
        return Err(DockerfileError::new(format!(
            "invalid network mode {}",
            quote(&network)
        )));
    }
    if let Some(security) = flags.text("security")
        && !matches!(security.as_str(), "sandbox" | "insecure")
    {
        return Err(DockerfileError::new(format!(
            "security {} is not valid",
            quote(&security)
        )));
    }
    Ok(Arguments::Run {
        command: line.arguments.clone(),
        shell_form: !line.json,
        mounts,
    })
}
