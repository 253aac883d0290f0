use super::*;

fn parse(text: &str) -> Result<Images, Error> {
    Images::parse(text, "docker/images.toml".into(), "/repo".into())
}

#[test]
fn nothing_is_one_image_named_as_the_folder() {
    let images = parse("").expect("the empty file is valid");
    assert_eq!(images.store, "/repo/target/docker-layer-cache");
    assert_eq!(images.list[0].name, "repo");
    assert_eq!(images.list[0].tags, ["repo:latest"]);
}

#[test]
fn unknown_fields_name_line_and_nearest() {
    let error =
        parse("[image.app]\ntarget = \"x\"\ndockerfil = \"y\"\n").expect_err("unknown field");
    assert_eq!(
        error.to_string(),
        "`docker/images.toml` line 3: unknown field `dockerfil`, expected one of `dockerfile`, `context`, `target`, `platforms`, `tags`, `build-args`, `build-contexts`, `secrets`, `ssh`, `inputs`, `strategy`"
    );
    assert_eq!(error.hint(), Some("did you mean `dockerfile`?"));
}

#[test]
fn unknown_image_names_the_nearest() {
    let images = parse("[image.web]\n[image.worker]\n").expect("valid");
    let error = images
        .select(&["wokrer".to_owned()])
        .expect_err("no such image");
    assert_eq!(
        error.hint(),
        Some("did you mean `worker`? there is `web`, `worker`")
    );
}

#[test]
fn slugs_are_valid_and_tell_names_apart() {
    assert_eq!(slug("app-1.x"), "app-1.x");
    for (a, b) in [
        ("App", "app"),
        ("ü", "ö"),
        ("a/b", "a-b"),
        ("-a", "a"),
        ("..", "."),
    ] {
        assert_ne!(slug(a), slug(b));
        assert!(
            slug(a).starts_with(|c: char| c.is_ascii_alphanumeric()),
            "{}",
            slug(a)
        );
    }
}

#[test]
fn sizes() {
    for (text, expected) in [
        ("8 GiB", 8 << 30),
        ("500MB", 500_000_000),
        ("1.5 kB", 1500),
        ("12", 12),
    ] {
        assert_eq!(parse_size(text), Ok(expected));
    }
    assert!(parse_size("8 XB").is_err());
}
