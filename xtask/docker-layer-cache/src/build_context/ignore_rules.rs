//! All patterns of an ignore file together.
//!
//! Source: <https://github.com/moby/patternmatcher/blob/v0.6.0/patternmatcher.go>

use super::ContextError;
use super::ignore_file;
use super::ignore_pattern::Pattern;

/// What an ignore file leaves out of the build context. The default leaves out nothing.
#[derive(Debug, Default)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
}

/// Which patterns a folder, or a folder above it, matched.
#[derive(Debug, Clone, Default)]
pub(super) struct FolderMatches(Vec<bool>);

impl IgnoreRules {
    /// Parses an ignore file as `BuildKit` does.
    ///
    /// # Errors
    /// When a pattern is malformed, such as `[a`, or a lone `!`. Some patterns pass here and are
    /// refused only when a path is compared with them, as there.
    pub fn parse(bytes: &[u8]) -> Result<Self, ContextError> {
        let mut patterns = Vec::new();
        for line in ignore_file::patterns(bytes)? {
            patterns.extend(Pattern::parse(&line)?);
        }
        Ok(Self { patterns })
    }

    /// Returns whether the rules keep a path, seen alone: relative, forward slashes.
    ///
    /// # Errors
    /// When a pattern that decides is malformed in a way that shows only now.
    pub fn keeps(&self, path: &str) -> Result<bool, ContextError> {
        let (left_out, _) = self.leave_out(path, None)?;
        Ok(!left_out)
    }

    /// Returns whether the rules leave out a path, and what to pass on to the paths in it.
    ///
    /// Without the matches of its folder, all folders above are compared as well.
    pub(super) fn leave_out(
        &self,
        path: &str,
        folder: Option<&FolderMatches>,
    ) -> Result<(bool, FolderMatches), ContextError> {
        let mut left_out = false;
        let mut matches = vec![false; self.patterns.len()];
        for (index, pattern) in self.patterns.iter().enumerate() {
            let mut matched = folder.is_some_and(|folder| folder.0[index]);
            if !matched {
                // What is left out already cannot be left out again, nor what is kept be kept.
                if pattern.is_exception() != left_out {
                    continue;
                }
                matched = pattern.matches(path)?;
                if !matched && folder.is_none() {
                    matched = matches_folder_of(pattern, path);
                }
            }
            matches[index] = matched;
            if matched {
                left_out = !pattern.is_exception();
            }
        }
        Ok((left_out, FolderMatches(matches)))
    }

    /// Returns whether a folder that is left out is entered all the same, since an exception may
    /// bring back something in it.
    pub(super) fn enters_left_out(&self, folder: &str) -> bool {
        let exceptions = || self.patterns.iter().filter(|p| p.is_exception());
        let only_prefixes = !exceptions().any(|pattern| {
            pattern
                .without_trailing_glob()
                .contains(['*', '[', ']', '?', '^', '\\'])
        });
        if !only_prefixes {
            return true;
        }
        let folder = format!("{folder}/");
        exceptions()
            .any(|pattern| format!("{}/", pattern.without_trailing_glob()).starts_with(&folder))
    }
}

fn matches_folder_of(pattern: &Pattern, path: &str) -> bool {
    path.match_indices('/')
        .any(|(end, _)| pattern.matches(&path[..end]).unwrap_or(false))
}
