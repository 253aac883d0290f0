//! Input patterns: which paths they take, and which folders they can reach.

use globset::{Candidate, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use super::ContextError;

/// The patterns of a key's inputs.
pub(super) struct Globs {
    patterns: Vec<Pattern>,
    set: GlobSet,
    /// The pattern that each glob of `set` comes from.
    pattern_of_glob: Vec<usize>,
}

struct Pattern {
    /// Relative to the root; empty for the root itself.
    text: String,
    exclusion: bool,
    /// No character is special: the pattern names one file, or a folder with all in it.
    literal: bool,
    elements: Vec<Element>,
    /// For an exclusion that ends in `/**`: the folder that it leaves out.
    folder: Option<GlobMatcher>,
}

/// What one element of a pattern takes, for the choice of folders to enter.
enum Element {
    Literal(String),
    Glob(GlobMatcher),
    /// Any number of elements, of any name.
    Deep,
}

impl Globs {
    /// Parses patterns.
    ///
    /// # Errors
    /// When a pattern is empty, malformed, or leaves the root.
    pub(super) fn parse(patterns: &[String]) -> Result<Self, ContextError> {
        let mut set = GlobSetBuilder::new();
        let mut pattern_of_glob = Vec::new();
        let patterns: Vec<Pattern> = patterns
            .iter()
            .map(|pattern| Pattern::parse(pattern))
            .collect::<Result<_, _>>()?;
        for (index, pattern) in patterns.iter().enumerate() {
            for glob in pattern.globs() {
                let glob = builder(&glob)
                    .build()
                    .map_err(|error| ContextError::glob(&pattern.text, error.kind()))?;
                set.add(glob);
                pattern_of_glob.push(index);
            }
        }
        let set = set
            .build()
            .map_err(|error| ContextError::glob("", error.kind()))?;
        Ok(Self {
            patterns,
            set,
            pattern_of_glob,
        })
    }

    /// Returns the patterns that name one path, with their number.
    pub(super) fn literals(&self) -> impl Iterator<Item = (usize, &str)> {
        self.patterns
            .iter()
            .enumerate()
            .filter(|(_, pattern)| pattern.literal && !pattern.exclusion)
            .map(|(index, pattern)| (index, pattern.text.as_str()))
    }

    /// Returns whether each pattern asks for a walk: those that take files and are no literals.
    pub(super) fn walked(&self) -> Vec<bool> {
        self.patterns
            .iter()
            .map(|pattern| !pattern.literal && !pattern.exclusion)
            .collect()
    }

    /// Returns whether the walk enters a folder: a walked pattern can reach something in it, and
    /// it is not left out as a whole.
    pub(super) fn enter(&self, folder: &str, walked: &[bool]) -> bool {
        let reached = self
            .patterns
            .iter()
            .zip(walked)
            .any(|(pattern, &walked)| walked && pattern.reaches_into(folder));
        reached && !self.leave_out_whole(folder)
    }

    /// Returns the patterns that take a path, or `None` if the last that matches is an exclusion
    /// or none matches.
    pub(super) fn takers(&self, path: &str) -> Option<Vec<usize>> {
        let globs = self.set.matches_candidate(&Candidate::new(path));
        let last = self.pattern_of_glob[*globs.last()?];
        if self.patterns[last].exclusion {
            return None;
        }
        let patterns = globs.into_iter().map(|glob| self.pattern_of_glob[glob]);
        Some(
            patterns
                .filter(|&pattern| !self.patterns[pattern].exclusion)
                .collect(),
        )
    }

    /// Whether the last pattern that says something of all that is in a folder is an exclusion.
    fn leave_out_whole(&self, folder: &str) -> bool {
        self.patterns
            .iter()
            .rev()
            .take_while(|pattern| pattern.exclusion)
            .any(|pattern| match &pattern.folder {
                Some(matcher) => matcher.is_match(folder),
                None => pattern.literal && pattern.text == folder,
            })
    }
}

impl Pattern {
    fn parse(written: &str) -> Result<Self, ContextError> {
        let (exclusion, text) = match written.strip_prefix('!') {
            Some(text) => (true, text),
            None => (false, written),
        };
        if text.is_empty() {
            return Err(ContextError::glob(written, "is empty"));
        }
        if text.starts_with('/') {
            return Err(ContextError::outside_root(written));
        }
        let elements: Vec<&str> = text
            .split('/')
            .filter(|element| !matches!(*element, "" | "."))
            .collect();
        if elements.contains(&"..") {
            return Err(ContextError::outside_root(written));
        }
        let text = elements.join("/");
        // Say what is wrong with the pattern as it is written.
        builder(&text)
            .build()
            .map_err(|error| ContextError::glob(written, error.kind()))?;
        let folder = match text.strip_suffix("/**") {
            Some(folder) if exclusion => builder(folder).build().ok(),
            _ => None,
        };
        Ok(Self {
            literal: !text.contains(['*', '?', '[', ']', '{', '}', '\\']),
            elements: elements_of(&elements),
            folder: folder.map(|folder| folder.compile_matcher()),
            text,
            exclusion,
        })
    }

    /// Returns the globs that stand for the pattern: a literal takes a folder with all in it.
    fn globs(&self) -> Vec<String> {
        match (self.literal, self.text.is_empty()) {
            (true, true) => vec!["**".to_owned()],
            (true, false) => vec![self.text.clone(), format!("{}/**", self.text)],
            (false, _) => vec![self.text.clone()],
        }
    }

    /// Whether the pattern may take something in a folder.
    fn reaches_into(&self, folder: &str) -> bool {
        let mut elements = self.elements.iter();
        for name in folder.split('/') {
            let matched = match elements.next() {
                Some(Element::Deep) => return true,
                Some(Element::Literal(literal)) => literal == name,
                Some(Element::Glob(glob)) => glob.is_match(name),
                None => self.literal,
            };
            if !matched {
                return false;
            }
        }
        // The rest must take a name in the folder.
        self.literal || elements.next().is_some()
    }
}

/// Returns what the elements take, up to the first that may take several.
fn elements_of(elements: &[&str]) -> Vec<Element> {
    let mut taken = Vec::new();
    for element in elements {
        let element = if !element.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            Element::Literal((*element).to_owned())
        } else if element.contains("**") {
            Element::Deep
        } else {
            // An element that is no glob by itself is part of a `{…/…}` or the like.
            match builder(element).build() {
                Ok(glob) => Element::Glob(glob.compile_matcher()),
                Err(_) => Element::Deep,
            }
        };
        let deep = matches!(element, Element::Deep);
        taken.push(element);
        if deep {
            break;
        }
    }
    taken
}

fn builder(glob: &str) -> GlobBuilder<'_> {
    let mut builder = GlobBuilder::new(glob);
    builder.literal_separator(true).backslash_escape(true);
    builder
}
