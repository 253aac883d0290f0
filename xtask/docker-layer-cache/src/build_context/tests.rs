//! Tests of the ignore rules and of the inputs, on real folders.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// A row of answers of `BuildKit`'s frontend.
#[derive(Deserialize)]
struct Row {
    id: String,
    dockerignore: String,
    files: Vec<String>,
    patterns: Option<Vec<String>>,
    #[serde(default)]
    kept: Option<Vec<String>>,
    #[serde(default)]
    sent: Option<Vec<String>>,
    error: Option<String>,
}

fn folder(files: &[&str]) -> (tempfile::TempDir, Utf8PathBuf) {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let root = Utf8PathBuf::from_path_buf(temp.path().to_owned()).expect("UTF-8");
    for file in files {
        write(&root, file, file);
    }
    (temp, root)
}

fn write(root: &Utf8Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folder");
    fs::write(path, content).expect("file");
}

fn sent(root: &Utf8Path, rules: &IgnoreRules) -> Result<Vec<String>, ContextError> {
    Ok(sent_files(root, rules)?
        .into_iter()
        .filter(|file| file.kind != ContextFileKind::Folder)
        .map(|file| file.path)
        .collect())
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are what the test reports")]
fn agrees_with_buildkit_on_every_row() {
    let rows = include_str!("../../tests/conformance/dockerignore.jsonl");
    let mut differences = Vec::new();
    let mut n_rows = 0;
    for row in rows.lines() {
        let row: Row = serde_json::from_str(row).expect("a row");
        n_rows += 1;
        if let Err(difference) = compare(&row) {
            differences.push(format!("{}: {difference}", row.id));
        }
    }
    println!(
        "ignore files: {} agree, {} differ",
        n_rows - differences.len(),
        differences.len()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn compare(row: &Row) -> Result<(), String> {
    let answer = || -> Result<_, ContextError> {
        let patterns = ignore_file::patterns(row.dockerignore.as_bytes())?;
        let rules = IgnoreRules::parse(row.dockerignore.as_bytes())?;
        let files: Vec<&str> = row.files.iter().map(String::as_str).collect();
        let mut kept = Vec::new();
        for file in &files {
            if rules.keeps(file)? {
                kept.push((*file).to_owned());
            }
        }
        kept.sort();
        let (_temp, root) = folder(&files);
        let sent = sent(&root, &rules)?;
        Ok((patterns, kept, sent))
    };
    match (answer(), &row.error) {
        (Err(_), Some(_)) => Ok(()),
        (Err(error), None) => Err(format!("refused: {error}")),
        (Ok(_), Some(error)) => Err(format!("not refused: {error}")),
        (Ok((patterns, kept, sent)), None) => {
            if patterns != row.patterns.clone().unwrap_or_default() {
                return Err(format!("patterns {patterns:?}, not {:?}", row.patterns));
            }
            for (what, ours, theirs) in [("kept", kept, &row.kept), ("sent", sent, &row.sent)] {
                let Some(theirs) = theirs else { continue };
                let mut theirs = theirs.clone();
                theirs.sort();
                if ours != theirs {
                    return Err(format!("{what} {ours:?}, not {theirs:?}"));
                }
            }
            Ok(())
        }
    }
}

#[test]
fn patterns_match_as_the_original_does() {
    // Pattern, path, whether it matches. From the tests and the source of moby/patternmatcher.
    let rows = [
        ("**", "file", true),
        ("**", "dir/file", true),
        ("**/", "dir/file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("**/dir", "dir2/dir/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/**", "dir/dir2/dir3/file", true),
        ("**file", "dir/file", true),
        ("**/*.txt", "dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("a**/*.txt", "a/dir/dir/file.txt", true),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a[b-d]e", "ae", false),
        ("a[b-d]e", "ace", true),
        ("a[^b-d]e", "aze", true),
        (".*", ".foo", true),
        (".*", "foo", false),
        ("abc.def", "abcdef", false),
        ("abc?def", "abczdef", true),
        ("a\\\\", "a\\", true),
        ("**/foo/bar", "dir/foo/bar", true),
        ("abc/**", "abc", false),
        ("abc/**", "abc/def/ghi", true),
        ("**/.foo", "bar.foo", false),
        ("a(b)c/def", "a(b)c/def", true),
        ("a(b)c/*", "a(b)c/def", true),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
        ("foo**", "foo/bar/baz", true),
        ("*.c[p][p]", "x.cpp", true),
        // `[!c]` is no negation: `!` and `c`.
        ("ab[!c]", "abc", true),
        ("ab[!c]", "ab!", true),
        ("ab[!c]", "abd", false),
        // Escapes reach the regular expression.
        ("docs\\deep", "docs7eep", true),
        ("docs\\deep", "docs\\deep", false),
        ("\\!bang", "!bang", true),
        // ASCII alone.
        ("\\d", "٣", false),
        ("x[[:digit:]]", "x7", true),
        ("x[[:digit:]]", "x:", false),
        // A class with a `*`: `[[^/]*]`.
        ("[*]", "[[]", true),
        ("[*]", "*", false),
        // Not escaped: an alternation and a count.
        ("b|*c", "b-and-more", true),
        ("a{2}?", "aab", true),
        ("a{2}?", "a{2}b", false),
        ("a{,2}*", "a{,2}b", true),
        // An anchor in the middle matches nothing, but only in a regular expression.
        ("a^b*", "a^b", false),
        ("a^b", "a^b", true),
        ("café*", "café.txt", true),
        ("caf?.txt", "café.txt", true),
    ];
    for (pattern, path, expected) in rows {
        let rules = IgnoreRules::parse(pattern.as_bytes()).expect(pattern);
        let matched = !rules.keeps(path).expect(pattern);
        assert_eq!(matched, expected, "`{pattern}` on `{path}`");
    }
}

#[test]
fn malformed_patterns_are_refused() {
    for pattern in [
        "[", "[a", "[]", "[^]", "[]a]", "[a-]", "[-a]", "a\\", "!", "! ", "!/", "[\\",
    ] {
        assert!(IgnoreRules::parse(pattern.as_bytes()).is_err(), "{pattern}");
    }
    // Go sees these only when a path is compared.
    for pattern in ["x*[a", "[z-a]", "\\q", "\\8", "*{2}", "a{1001}*", "\\pL"] {
        let rules = IgnoreRules::parse(pattern.as_bytes()).expect(pattern);
        assert!(rules.keeps("x").is_err(), "{pattern}");
    }
    // A piece that Go never looks at; what comes of it is a dollar sign.
    let rules = IgnoreRules::parse(b"a*\\").expect("never looked at");
    assert!(!rules.keeps("ab$").expect("an expression"));
    // Never compared: nothing was left out before.
    let rules = IgnoreRules::parse(b"![z-a]").expect("well formed so far");
    assert!(rules.keeps("x").expect("not compared"));
}

#[test]
fn ignore_file_lines() {
    let rows: [(&[u8], &[&str]); 8] = [
        (b"\xef\xbb\xbf#c\nx", &["x"]),
        (b"  #x\n#y", &["#x"]),
        (b"/a/\n//b//c/./d/../e", &["a", "b/c/e"]),
        (b"! /a/b \r\n!\t", &["!a/b", "!"]),
        (b"/\n.\n./\n../x", &["/", ".", ".", "../x"]),
        (b"!!x", &["!!x"]),
        (b"\n\n   \n", &[]),
        ("x\u{a0}\n".as_bytes(), &["x"]),
    ];
    for (file, expected) in rows {
        let patterns = ignore_file::patterns(file).expect("lines are short");
        assert_eq!(patterns, expected, "{}", String::from_utf8_lossy(file));
    }
    let long = vec![b'x'; 64 * 1024];
    assert!(IgnoreRules::parse(&long).is_err());
    assert!(IgnoreRules::parse(&long[1..]).is_ok());
}

#[test]
fn folders_with_exceptions_are_entered() {
    let (_temp, root) = folder(&["a/keep/x", "a/drop/y", "b/z"]);
    let rules = IgnoreRules::parse(b"*\n!a/keep\n").expect("rules");
    let all: Vec<_> = sent_files(&root, &rules)
        .expect("files")
        .into_iter()
        .map(|file| (file.path, file.kind))
        .collect();
    let expected = [
        ("a", ContextFileKind::Folder),
        ("a/keep", ContextFileKind::Folder),
        ("a/keep/x", ContextFileKind::File),
    ]
    .map(|(path, kind)| (path.to_owned(), kind));
    assert_eq!(all, expected);
}

/// `!*` keeps the folder `c` by itself, but is not compared with it since nothing left it out. The
/// walk remembers that as "did not match"; a path seen alone is compared with all its folders.
#[test]
fn walk_and_single_paths_differ_as_in_the_original() {
    let (_temp, root) = folder(&["c/a"]);
    let rules = IgnoreRules::parse(b"c/*\n!*\n").expect("rules");
    assert!(rules.keeps("c/a").expect("well formed"));
    assert_eq!(sent(&root, &rules).expect("files"), Vec::<String>::new());
}

#[test]
fn the_dockerfiles_own_ignore_file_wins() {
    let (_temp, root) = folder(&["Dockerfile", "docker/Dockerfile", ".dockerignore"]);
    let find = |dockerfile: &str| find_ignore_file(&root.join(dockerfile), &root);
    assert_eq!(find("docker/Dockerfile"), Some(root.join(".dockerignore")));
    write(&root, "docker/Dockerfile.dockerignore", "");
    assert_eq!(
        find("docker/Dockerfile"),
        Some(root.join("docker/Dockerfile.dockerignore"))
    );
    assert_eq!(find("Dockerfile"), Some(root.join(".dockerignore")));
}

fn paths(root: &Utf8Path, patterns: &[&str]) -> (Vec<String>, Vec<String>) {
    let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
    let inputs = inputs(root, &patterns, None).expect("inputs");
    let files = inputs.files.into_iter().map(|file| file.path).collect();
    (files, inputs.unmatched)
}

#[test]
fn input_patterns() {
    let (_temp, root) = folder(&[
        "Gemfile.lock",
        ".env",
        ".git/HEAD",
        "a/package-lock.json",
        "a/b/package-lock.json",
        "vendor/x/package-lock.json",
        "src/main.rs",
        "src/deep/lib.rs",
        "a b/ü.txt",
    ]);
    let rows: [(&[&str], &[&str], &[&str]); 14] = [
        (&["Gemfile.lock"], &["Gemfile.lock"], &[]),
        (&["./Gemfile.lock", "Gemfile.lock"], &["Gemfile.lock"], &[]),
        (
            &["**/package-lock.json", "!vendor/**"],
            &["a/b/package-lock.json", "a/package-lock.json"],
            &[],
        ),
        (
            &["!vendor/**", "**/package-lock.json"],
            &[
                "a/b/package-lock.json",
                "a/package-lock.json",
                "vendor/x/package-lock.json",
            ],
            &[],
        ),
        (&["*"], &[".env", "Gemfile.lock"], &[]),
        (&["src"], &["src/deep/lib.rs", "src/main.rs"], &[]),
        (&["src/", "!src/deep"], &["src/main.rs"], &[]),
        (&["src/*.rs", "*.toml"], &["src/main.rs"], &["*.toml"]),
        (&["nothing", ".git/HEAD"], &[], &["nothing", ".git/HEAD"]),
        (&["a*/ü.txt"], &["a b/ü.txt"], &[]),
        (&["{src,a}/*"], &["a/package-lock.json", "src/main.rs"], &[]),
        (
            &["{src/deep,a}/*"],
            &["a/package-lock.json", "src/deep/lib.rs"],
            &[],
        ),
        (
            &["**", "!**/*.json", "!src", "!.*"],
            &["Gemfile.lock", "a b/ü.txt"],
            &[],
        ),
        (&["src/main.rs/x"], &[], &["src/main.rs/x"]),
    ];
    for (patterns, files, unmatched) in rows {
        let found = paths(&root, patterns);
        assert_eq!(found.0, files, "{patterns:?}");
        assert_eq!(found.1, unmatched, "{patterns:?}");
    }
}

#[test]
fn input_patterns_stay_in_the_root() {
    let (_temp, root) = folder(&["x"]);
    for pattern in ["../x", "a/../../x", "/etc/passwd", "!../x"] {
        let error = inputs(&root, &[pattern.to_owned()], None).expect_err(pattern);
        assert_eq!(
            error.to_string(),
            format!("input pattern `{pattern}` leaves the root of the repository")
        );
    }
    for pattern in ["", "!", "[a", "{a", "a\\"] {
        let error = inputs(&root, &[pattern.to_owned()], None).expect_err(pattern);
        assert!(
            error
                .to_string()
                .starts_with(&format!("input pattern `{pattern}`: ")),
            "{error}"
        );
    }
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::oci::Digest;

    #[test]
    fn links_are_digested_as_text_and_never_followed() {
        let (_outside_temp, outside) = folder(&["secret"]);
        let (_temp, root) = folder(&["src/x"]);
        symlink(&outside, root.join("src/out")).expect("link");
        symlink("../loop", root.join("src/loop")).expect("link");
        let inputs_of = |pattern: &str| inputs(&root, &[pattern.to_owned()], None);
        let found = inputs_of("**").expect("inputs");
        let paths: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["src/loop", "src/out", "src/x"]);
        assert_eq!(found.files[0].kind, InputKind::Symlink);
        assert_eq!(found.files[0].digest, Digest::of(b"../loop"));
        let error = inputs_of("src/out/secret").expect_err("through a link");
        assert_eq!(
            error.to_string(),
            "input pattern `src/out/secret` goes through the symbolic link `src/out`"
        );
        let rules = IgnoreRules::default();
        assert_eq!(
            sent(&root, &rules).expect("files"),
            ["src/loop", "src/out", "src/x"]
        );
    }

    #[test]
    fn only_the_owners_execute_bit_counts() {
        let (_temp, root) = folder(&["tool"]);
        let read = |mode: u32| {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(root.join("tool"), permissions).expect("mode");
            inputs(&root, &["tool".to_owned()], None)
                .expect("inputs")
                .files
        };
        assert_eq!(read(0o644), read(0o600));
        assert_eq!(read(0o755), read(0o700));
        assert_ne!(read(0o644), read(0o755));
    }

    #[test]
    fn names_that_are_not_utf8_count_only_where_they_are_taken() {
        let (_temp, root) = folder(&["a.txt"]);
        fs::write(root.as_std_path().join(OsStr::from_bytes(b"b\xff.bin")), "").expect("file");
        let inputs_of = |pattern: &str| inputs(&root, &[pattern.to_owned()], None);
        assert_eq!(inputs_of("*.txt").expect("inputs").files.len(), 1);
        let error = inputs_of("*").expect_err("a name that is not UTF-8");
        assert!(
            error.to_string().ends_with("b\u{fffd}.bin` is not UTF-8"),
            "{error}"
        );
        assert!(sent_files(&root, &IgnoreRules::default()).is_err());
        let rules = IgnoreRules::parse(b"*.bin").expect("rules");
        assert_eq!(sent(&root, &rules).expect("files"), ["a.txt"]);
    }

    #[test]
    fn errors_name_the_file() {
        let (_temp, root) = folder(&["a", "locked/b"]);
        fs::set_permissions(root.join("locked"), fs::Permissions::from_mode(0o000)).expect("mode");
        let readable = fs::read_dir(root.join("locked")).is_ok();
        let result = inputs(&root, &["**/*".to_owned()], None);
        let outside = inputs(&root, &["a*".to_owned()], None);
        fs::set_permissions(root.join("locked"), fs::Permissions::from_mode(0o755)).expect("mode");
        assert_eq!(outside.expect("the folder is not entered").files.len(), 1);
        // Root reads everything.
        if !readable {
            let error = result.expect_err("an unreadable folder").to_string();
            assert!(
                error.starts_with(&format!("cannot read `{root}/locked`: ")),
                "{error}"
            );
        }
    }
}

/// More answers of `BuildKit`'s client on one set of files: what each ignore file leaves out.
#[derive(Deserialize)]
struct MoreRows {
    files: Vec<String>,
    rows: Vec<LeftOut>,
}

#[derive(Deserialize)]
struct LeftOut {
    dockerignore: String,
    /// Nothing where the build is refused.
    left_out: Option<Vec<String>>,
}

#[test]
#[cfg(unix)]
#[expect(clippy::print_stdout, reason = "the counts are what the test reports")]
fn agrees_with_buildkit_on_odd_patterns() {
    let more: MoreRows = serde_json::from_str(include_str!(
        "../../tests/conformance/dockerignore-odd.json"
    ))
    .expect("rows");
    let files: Vec<&str> = more.files.iter().map(String::as_str).collect();
    let (_temp, root) = folder(&files);
    let mut differences = Vec::new();
    for row in &more.rows {
        let ours = IgnoreRules::parse(row.dockerignore.as_bytes())
            .and_then(|rules| sent(&root, &rules))
            .map(|sent| {
                let mut left_out = more.files.clone();
                left_out.retain(|file| !sent.contains(file));
                left_out
            })
            .ok();
        if ours != row.left_out {
            differences.push(format!(
                "{:?}: {ours:?}, not {:?}",
                row.dockerignore, row.left_out
            ));
        }
    }
    println!(
        "odd ignore files: {} agree, {} differ",
        more.rows.len() - differences.len(),
        differences.len()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

proptest! {
    #[test]
    fn no_ignore_file_is_a_panic(file in any::<Vec<u8>>(), path in "[a-c/.]{1,8}") {
        if let Ok(rules) = IgnoreRules::parse(&file) {
            let _ = rules.keeps(&path);
        }
    }

    #[test]
    fn no_pattern_is_a_panic(
        file in r"([*?\[\]\\^!|{}$.,/\n:a-cdQEx0-9 -]|\[:alpha:\]){0,12}",
        path in "[a-c0-9/.]{1,8}",
    ) {
        if let Ok(rules) = IgnoreRules::parse(file.as_bytes()) {
            let _ = rules.keeps(&path);
        }
    }

    #[test]
    fn a_literal_pattern_takes_its_file_alone(name in "[a-z .#@!()+,-]{1,8}") {
        prop_assume!(!name.starts_with('!'));
        prop_assume!(![".", "..", ".git", "other"].contains(&name.as_str()));
        let (_temp, root) = folder(&[&name, "other/file"]);
        let (files, unmatched) = paths(&root, &[&name]);
        prop_assert_eq!(files, [name]);
        prop_assert!(unmatched.is_empty());
    }
}
