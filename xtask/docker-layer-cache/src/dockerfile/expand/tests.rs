//! Expansions, with the answers of `BuildKit`'s own tests.

use super::*;

fn environment(variables: &[&str]) -> Environment {
    let mut environment = Environment::default();
    for variable in variables {
        let (name, value) = variable.split_once('=').expect("NAME=value");
        environment.set(name, value);
    }
    environment
}

/// Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/shell/lex_test.go>
#[test]
fn expands_as_buildkit() {
    let foo: &[&str] = &["FOO=xxx", "BAR="];
    for (word, variables, expected) in [
        ("x", foo, Some("x")),
        ("x ${UNUSED}", foo, Some("x ")),
        ("${FOO-aaa} ${BAR-bbb} ${BAZ-ccc}", foo, Some("xxx  ccc")),
        (
            "${FOO:-aaa} ${BAR:-bbb} ${BAZ:-ccc}",
            foo,
            Some("xxx bbb ccc"),
        ),
        ("${FOO:-}", foo, Some("xxx")),
        ("${NONE:-}", foo, Some("")),
        ("${FOO+aaa} ${BAR+bbb} ${BAZ+ccc}", foo, Some("aaa bbb ")),
        ("${FOO:+aaa} ${BAR:+bbb} ${BAZ:+ccc}", foo, Some("aaa  ")),
        ("${FOO?aaa}", foo, Some("xxx")),
        ("${BAR?bbb}", foo, Some("")),
        ("${BAZ?ccc}", foo, None),
        ("${BAR:?bbb}", foo, None),
        ("${BAZ:?}", foo, None),
        ("${FOO=aaa}", foo, None),
        ("${FOO=:aaa}", foo, None),
        (
            r"${FOO#()[]{\}^$.\*\?|\\}",
            &[r"FOO=()[]{}^$.*?|\x"],
            Some("x"),
        ),
        (r"${FOO%%\**}", &["FOO=xx**"], Some("xx")),
        ("${FOO#*x*y}", &["FOO=xxyy"], Some("y")),
        ("${FOO#*}", &["FOO=xxyy"], Some("xxyy")),
        ("${FOO##*}", &["FOO=xxyy"], Some("")),
        ("${FOO#$BAR}", &["FOO=xxyy", "BAR=x"], Some("xyy")),
        ("${FOO#$BAR}", &["FOO=xxyy", "BAR="], Some("xxyy")),
        ("${FOO#}", &["FOO=xxyy"], Some("xxyy")),
        ("${FOO##*x}", &["FOO=xxyy"], Some("yy")),
        ("${FOO##}", &["FOO=xxyy"], Some("xxyy")),
        (r"${FOO#?\?}", &["FOO=???y"], Some("?y")),
        ("${ABC:-.}${FOO%x}${ABC:-.}", &["FOO=xxyy"], Some(".xxyy.")),
        (r"${FOO%%\**\*}", &["FOO=a***yy*"], Some("a")),
        ("${FOO%}", &["FOO=xxyy"], Some("xxyy")),
        ("${FOO%%$BAR}", &["FOO=xxyy", "BAR="], Some("xxyy")),
        (
            "${FOO/$NEEDLE/.} - ${FOO//$NEEDLE/.}",
            &["FOO=/foo*/*/*.txt", r"NEEDLE=\*/"],
            Some("/foo.*/*.txt - /foo..*.txt"),
        ),
        (
            "${FOO/$NEEDLE/} - ${FOO//$NEEDLE/}",
            &["FOO=/tmp/tmp/bar.txt", "NEEDLE=/tmp"],
            Some("/tmp/bar.txt - /bar.txt"),
        ),
        (
            "${FOO/$NEEDLE/$R} - ${FOO//$NEEDLE/$R}",
            &["FOO=/a/foo/b/c.txt", "NEEDLE=/?/", "R=/"],
            Some("/foo/b/c.txt - /foo/c.txt"),
        ),
        (
            "${FOO/$NEEDLE/$R}",
            &["FOO=http://google.de", "NEEDLE=http://", "R=https://"],
            Some("https://google.de"),
        ),
        (
            r"${FOO//\//\/}",
            &["FOO=/tmp/foo.txt"],
            Some(r"\/tmp\/foo.txt"),
        ),
        ("${FOO/$BAR/ww}", &["FOO=xxyy", "BAR="], Some("wwxxyy")),
        ("${FOO//ww}", &["FOO=xxyy"], None),
        ("${FOO//}", &["FOO=xxyy"], None),
        ("${FOO///}", &["FOO=xxyy"], Some("xxyy")),
        ("${FOO///}", &[], Some("")),
        ("${V:#x}", &["V=x"], None),
        ("he'llo$xx'", &["xx=1"], Some("hello$xx")),
        ("he\"llo$xx\"", &["xx=1"], Some("hello1")),
        ("he'llo", &[], None),
        ("he\"llo", &[], None),
        (r"he\'llo", &[], Some("he'llo")),
        (r"\$PWD", &["PWD=/home"], Some("$PWD")),
        (r#""\$PWD""#, &["PWD=/home"], Some("$PWD")),
        ("he$PWD.", &["PWD=/home"], Some("he/home.")),
        ("$$", &[], Some("")),
        ("$", &[], Some("$")),
        ("${}", &[], None),
        ("${", &[], None),
        ("${{x}", &[], None),
        ("${PWD", &["PWD=x"], None),
        ("${xx:-${yy:-z}}", &[], Some("z")),
        ("안녕${K}", &["K=한국어"], Some("안녕한국어")),
    ] {
        let actual = Lexer::new('\\').expand(word, &environment(variables));
        let actual = actual.ok().map(|expanded| expanded.text);
        assert_eq!(actual.as_deref(), expected, "{word}");
    }
}

#[test]
fn tells_which_names_were_set() {
    let expanded = Lexer::new('\\')
        .expand("$A${B:-$C}", &environment(&["A=1"]))
        .expect("a good word");
    assert_eq!(expanded.matched, ["A".to_owned()].into());
    assert_eq!(expanded.unmatched, ["B".to_owned(), "C".to_owned()].into());
}

#[test]
fn deep_nesting_is_refused_not_fatal() {
    let word = "${a:-".repeat(100_000);
    assert!(
        Lexer::new('\\')
            .expand(&word, &Environment::default())
            .is_err()
    );
}

#[test]
fn long_values_are_replaced_in_time() {
    let value = "ab".repeat(30_000);
    let environment = environment(&[&format!("A={value}")]);
    for (word, length) in [
        ("${A//b/}", 30_000),
        ("${A//*x/}", 60_000),
        ("${A//a*a/}", 1),
    ] {
        let expanded = Lexer::new('\\').expand(word, &environment).expect(word);
        assert_eq!(expanded.text.len(), length, "{word}");
    }
}
