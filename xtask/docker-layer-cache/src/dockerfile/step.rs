//! Running a stage's instructions in mind: the environment, expanded arguments, refusals.

use super::evaluation::{Action, CopyAction, Instruction, Mount, RunAction, Source};
use super::expand::{Environment, Lexer};
use super::global_args::GlobalArgs;
use super::mount::MountFlag;
use super::suggestion::quote;
use super::typed_line::{Arguments, CopyArguments, TypedLine};
use super::value_checks::{check_checksum, check_mode, check_port};
use super::{DockerfileError, EvaluateOptions, Heredoc};

/// What an instruction starts from.
#[derive(Debug, Clone)]
pub(super) struct StepState {
    pub(super) environment: Environment,
    pub(super) workdir: String,
}

/// A source of files of an instruction.
pub(super) struct StepSource {
    pub(super) source: Source,
    pub(super) dispatched: bool,
}

/// Runs instructions.
pub(super) struct Stepper<'a> {
    pub(super) lexer: Lexer,
    pub(super) options: &'a EvaluateOptions,
    pub(super) args: &'a mut GlobalArgs,
    /// The stage's name, for messages.
    pub(super) label: &'a str,
}

impl StepState {
    /// Returns the state of an image with the given `NAME=value` list.
    pub(super) fn new(base_environment: &[String], os: &str) -> Self {
        let mut environment = Environment::default();
        for variable in base_environment {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            environment.set(name, value);
        }
        if environment.get("PATH").is_none() && os != "windows" {
            environment.set(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            );
        }
        Self {
            environment,
            workdir: "/".to_owned(),
        }
    }
}

impl Stepper<'_> {
    /// Runs one instruction: changes `state`, returns it expanded.
    pub(super) fn run(
        &mut self,
        line: &TypedLine,
        from_onbuild: bool,
        sources: &[StepSource],
        state: &mut StepState,
    ) -> Result<Instruction, DockerfileError> {
        let mut parts = Vec::new();
        let mut action = Action::Metadata;
        let expand = |word: &str| {
            let expanded = self.lexer.expand(word, &state.environment)?;
            Ok(expanded.text)
        };
        match &line.arguments {
            Arguments::From(_) => {}
            Arguments::Arg(definitions) => {
                for (name, default) in definitions {
                    let value = self.arg_value(name, default.as_deref(), state)?;
                    parts.push(match &value {
                        Some(value) => format!("{name}={value}"),
                        None => name.clone(),
                    });
                    // Two arguments that concern the SBOM scanner never reach the environment.
                    let hidden = matches!(
                        name.as_str(),
                        "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE"
                    );
                    if let Some(value) = value.filter(|_| !hidden) {
                        state.environment.set(name, value);
                    }
                }
            }
            Arguments::Pairs(pairs) => {
                let mut expanded = Vec::with_capacity(pairs.len());
                for (name, value) in pairs {
                    expanded.push((expand(name)?, expand(value)?));
                }
                for (name, value) in expanded {
                    parts.push(format!("{name}={value}"));
                    if line.keyword == "ENV" {
                        state.environment.set(&name, value);
                    }
                }
            }
            Arguments::Copy(copy) => {
                let copied = self.copy(copy, line.keyword == "ADD", sources, state, &mut parts)?;
                action = Action::Copy(Box::new(copied));
            }
            Arguments::Run {
                command,
                shell_form,
                mounts,
            } => {
                // `--mount` is expanded, the other flags are not; the command is the shell's.
                let other = |flag: &&String| !flag.starts_with("--mount=");
                parts.extend(line.flags.iter().filter(other).cloned());
                let mut flags = Vec::with_capacity(mounts.len());
                for mount in mounts {
                    flags.push(MountFlag::parse(mount, Some(&expand))?);
                }
                let mounts = run_mounts(flags, sources, state)?;
                parts.extend(mounts.iter().map(|mount| format!("{mount:?}")));
                parts.extend(command.iter().cloned());
                action = Action::Run(RunAction {
                    command: command.clone(),
                    shell_form: *shell_form,
                    mounts,
                });
            }
            Arguments::Onbuild(expression) => parts.push(expression.clone()),
            Arguments::Words(words) => {
                for word in words {
                    let expanded = expand(word)?;
                    if line.keyword == "VOLUME" && expanded.is_empty() {
                        return Err(DockerfileError::new(
                            "VOLUME specified can not be an empty string",
                        ));
                    }
                    if line.keyword == "STOPSIGNAL" && !is_signal(&expanded) {
                        return Err(DockerfileError::new(format!("invalid signal: {expanded}")));
                    }
                    parts.push(expanded);
                }
                if line.keyword == "WORKDIR" {
                    state.workdir = join_path(&state.workdir, &parts[0]);
                }
            }
            Arguments::Expose(ports) => {
                for port in ports {
                    for word in self.lexer.expand(port, &state.environment)?.words {
                        check_port(&word)?;
                        parts.push(word);
                    }
                }
            }
            Arguments::Verbatim(words) => {
                parts.extend(line.flags.iter().cloned());
                parts.extend(words.iter().cloned());
            }
        }
        if matches!(action, Action::Run(_)) {
            parts.extend(line.heredocs.iter().map(Heredoc::chomped_content));
        }
        let mut expanded = line.keyword.clone();
        for part in &parts {
            expanded.push(' ');
            expanded.push_str(&quote(part));
        }
        Ok(Instruction {
            keyword: line.keyword.clone(),
            line: line.lines.0,
            end_line: line.lines.1,
            original: line.original.clone(),
            expanded,
            from_onbuild,
            action,
        })
    }

    /// The value of an `ARG`: from `--build-arg`, else its default, else the global value.
    fn arg_value(
        &mut self,
        name: &str,
        default: Option<&str>,
        state: &StepState,
    ) -> Result<Option<String>, DockerfileError> {
        if let Some(given) = self.options.build_args.get(name) {
            self.args.used.insert(name.to_owned());
            return Ok(Some(given.clone()));
        }
        if let Some(default) = default {
            let expanded = self.lexer.expand(default, &state.environment)?;
            return Ok(Some(expanded.text));
        }
        let inherited = self.args.environment.get(name).map(str::to_owned);
        if inherited.is_some() {
            self.args.mark_used(&[name.to_owned()].into());
        }
        Ok(inherited)
    }

    fn copy(
        &self,
        copy: &CopyArguments,
        is_add: bool,
        sources: &[StepSource],
        state: &StepState,
        parts: &mut Vec<String>,
    ) -> Result<CopyAction, DockerfileError> {
        let expand = |word: &String| {
            let expanded = self.lexer.expand(word, &state.environment)?;
            Ok::<_, DockerfileError>(expanded.text)
        };
        let mut mode = String::new();
        for (name, value) in &copy.attributes {
            let value = expand(value)?;
            parts.push(format!("--{name}={value}"));
            if *name == "chmod" {
                mode = value;
            }
        }
        let checksum = copy.checksum.as_ref().map(expand).transpose()?;
        let checksum = checksum.filter(|checksum| !checksum.is_empty());
        let exclude: Vec<String> = copy.exclude.iter().map(expand).collect::<Result<_, _>>()?;
        let paths: Vec<String> = copy.sources.iter().map(expand).collect::<Result<_, _>>()?;
        let destination = expand(&copy.destination)?;
        let mut inline_files = copy.inline_files.clone();
        for file in &mut inline_files {
            let mut content = file.chomped_content();
            if file.expand {
                let mut lexer = Lexer::new('\\');
                lexer.skip_quotes = true;
                content = lexer.expand(&content, &state.environment)?.text;
            }
            file.content = content;
        }
        let source = sources.first();
        if let Some(source) = source
            && !source.dispatched
        {
            return Err(DockerfileError::new(format!(
                "cannot copy from stage {}, it needs to be defined before current stage {}",
                quote(copy.from.as_deref().unwrap_or_default()),
                quote(self.label)
            )));
        }
        let mut remote = 0;
        for path in &paths {
            let kind = remote_kind(path);
            remote += usize::from(kind.is_some());
            if let Some(git) = kind.filter(|_| !is_add) {
                return Err(DockerfileError::new(if git {
                    "source can't be a git ref for COPY"
                } else {
                    "source can't be a URL for COPY"
                }));
            }
        }
        if checksum.is_some() && is_add && paths.len() != 1 {
            return Err(DockerfileError::new(
                "checksum can't be specified for multiple sources",
            ));
        }
        if checksum.is_some() && is_add && remote == 0 {
            return Err(DockerfileError::new(
                "checksum requires HTTP(S) or Git sources",
            ));
        }
        check_mode(&mode)?;
        if let Some(checksum) = &checksum {
            if is_add && paths.first().and_then(|path| remote_kind(path)) == Some(false) {
                check_checksum(checksum)?;
            }
            parts.push(format!("--checksum={checksum}"));
        }
        let switches = [("--parents", copy.parents), ("--link", copy.link)];
        parts.extend(
            switches
                .into_iter()
                .filter(|(_, on)| *on)
                .map(|(name, _)| name.to_owned()),
        );
        parts.extend(exclude.iter().map(|pattern| format!("--exclude={pattern}")));
        parts.extend(source.map(|source| format!("--from={:?}", source.source)));
        parts.extend(paths.iter().cloned());
        for file in &inline_files {
            parts.push(format!("<<{}", file.name));
            parts.push(file.content.clone());
        }
        parts.push(destination.clone());
        Ok(CopyAction {
            is_add,
            sources: paths,
            inline_files,
            destination: directory_path(&state.workdir, &destination),
            from: source.map(|source| source.source.clone()),
            exclude,
            parents: copy.parents,
            link: copy.link,
            checksum,
        })
    }
}

fn run_mounts(
    flags: Vec<MountFlag>,
    sources: &[StepSource],
    state: &StepState,
) -> Result<Vec<Mount>, DockerfileError> {
    let mut mounts = Vec::with_capacity(flags.len());
    for (flag, source) in flags.into_iter().zip(sources) {
        let from = flag.from.as_ref().map(|_| source.source.clone());
        if let Some(name) = &flag.from
            && !source.dispatched
        {
            return Err(DockerfileError::new(format!(
                "cannot mount from stage {} to {}, stage needs to be defined before current command",
                quote(name),
                quote(&flag.target)
            )));
        }
        if !matches!(flag.kind.as_str(), "secret" | "ssh") {
            let target = join_path(&state.workdir, &flag.target);
            if target == "/" {
                return Err(DockerfileError::new(format!(
                    "invalid mount target {}",
                    quote(&target)
                ))
                .with_hint("add `target=…` to the mount"));
            }
        }
        mounts.push(Mount {
            kind: flag.kind,
            from,
            source: flag.source,
            target: flag.target,
            id: flag.id,
            read_only: flag.read_only,
            uid: flag.uid,
            gid: flag.gid,
            mode: flag.mode,
        });
    }
    Ok(mounts)
}

/// A number that is not 0, or the name of a signal of Linux.
fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    name.starts_with("RTM") || SIGNALS.contains(&name)
}

const SIGNALS: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "EMT", "LOST",
];

/// Returns `Some(true)` for a git repository, `Some(false)` for another address by HTTP.
pub(super) fn remote_kind(source: &str) -> Option<bool> {
    if source.starts_with("git://") || source.starts_with("ssh://") {
        return Some(true);
    }
    let http = ["http://", "https://"]
        .iter()
        .find_map(|scheme| source.strip_prefix(scheme));
    if let Some(rest) = http {
        let path = rest.split(['#', '?']).next().unwrap_or_default();
        let is_git = path
            .rsplit_once('/')
            .is_some_and(|(_, name)| name.strip_suffix(".git").is_some());
        return Some(is_git);
    }
    let (user, rest) = source.split_once('@')?;
    let (host, _) = rest.split_once(':')?;
    let word = |text: &str, extra: &[char]| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || extra.contains(&c))
    };
    (word(user, &['-', '_']) && word(host, &['-', '.'])).then_some(true)
}

/// Joins, and keeps a slash at the end: it says that the destination is a directory.
fn directory_path(directory: &str, path: &str) -> String {
    let mut joined = join_path(directory, path);
    if (path.ends_with('/') || matches!(path, "." | "")) && joined != "/" {
        joined.push('/');
    }
    joined
}

/// Joins and cleans, as Go's `path.Join("/", directory, path)`; an absolute path stands alone.
fn join_path(directory: &str, path: &str) -> String {
    let mut components = Vec::new();
    let prefix = if path.starts_with('/') { "" } else { directory };
    for component in prefix.split('/').chain(path.split('/')) {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            component => components.push(component),
        }
    }
    format!("/{}", components.join("/"))
}
