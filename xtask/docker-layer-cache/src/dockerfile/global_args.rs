//! Arguments in front of the first `FROM`, and the predefined ones.

use std::collections::{BTreeMap, BTreeSet};

use super::expand::{Environment, Lexer};
use super::typed_line::{Arguments, TypedLine};
use super::{DockerfileError, EvaluateOptions};

/// Build arguments that change a result without being declared.
const IMPLIED: [&str; 4] = [
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_SANDBOX_HOSTNAME",
    "SOURCE_DATE_EPOCH",
];

/// The global arguments.
#[derive(Debug, Clone)]
pub(super) struct GlobalArgs {
    pub(super) environment: Environment,
    /// The build arguments that each value comes from.
    origins: BTreeMap<String, BTreeSet<String>>,
    /// The build arguments that were used so far.
    pub(super) used: BTreeSet<String>,
}

impl GlobalArgs {
    pub(super) fn new(
        lines: &[TypedLine],
        lexer: Lexer,
        target: Option<&str>,
        options: &EvaluateOptions,
    ) -> Result<Self, DockerfileError> {
        let mut args = Self {
            environment: Environment::default(),
            origins: BTreeMap::new(),
            used: IMPLIED
                .into_iter()
                .filter(|name| options.build_args.contains_key(*name))
                .map(str::to_owned)
                .collect(),
        };
        args.set_predefined(target, options);
        for line in lines {
            let Arguments::Arg(definitions) = &line.arguments else {
                continue;
            };
            for (name, default) in definitions {
                if let Some(value) = options.build_args.get(name) {
                    args.environment.set(name, value);
                    args.origins.insert(name.clone(), [name.clone()].into());
                } else if let Some(default) = default {
                    let expanded = lexer
                        .expand(default, &args.environment)
                        .map_err(|error| error.at(line.lines.0))?;
                    let origins = args.origins_of(&expanded.matched);
                    args.environment.set(name, expanded.text);
                    args.origins.insert(name.clone(), origins);
                }
            }
        }
        Ok(args)
    }

    fn set_predefined(&mut self, target: Option<&str>, options: &EvaluateOptions) {
        let build = &options.build_platform;
        let platform = options.platform.normalized();
        for (name, value) in [
            ("BUILDPLATFORM", build.to_string()),
            ("BUILDOS", build.os.clone()),
            ("BUILDOSVERSION", build.os_version.clone()),
            ("BUILDARCH", build.architecture.clone()),
            ("BUILDVARIANT", build.variant.clone()),
            ("TARGETPLATFORM", platform.to_string()),
            ("TARGETOS", platform.os.clone()),
            ("TARGETOSVERSION", platform.os_version.clone()),
            ("TARGETARCH", platform.architecture.clone()),
            ("TARGETVARIANT", platform.variant.clone()),
            ("TARGETSTAGE", target.unwrap_or("default").to_owned()),
        ] {
            match options.build_args.get(name) {
                Some(given) => {
                    self.environment.set(name, given);
                    self.origins
                        .insert(name.to_owned(), [name.to_owned()].into());
                }
                None => self.environment.set(name, value),
            }
        }
    }

    /// Returns the build arguments behind the given names.
    fn origins_of(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        names
            .iter()
            .filter_map(|name| self.origins.get(name))
            .flatten()
            .cloned()
            .collect()
    }

    /// Marks the build arguments behind the given names as used.
    pub(super) fn mark_used(&mut self, names: &BTreeSet<String>) {
        let origins = self.origins_of(names);
        self.used.extend(origins);
    }
}
