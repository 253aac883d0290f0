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
        "`docker/images.toml` line 3: unknown field `dockerfil`, expected one of `dockerfile`, `context`, `target`, `platforms`, `tags`, `build-args`, `build-contexts`, `secrets`, `ssh`, `inputs`, `strategy`, `build-cache`, `reuse-with-secrets`, `cache-mounts`, `cache-mounts-max-size`"
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

#[test]
fn cache_mounts_are_kept_where_that_is_said() {
    let images = parse(
        "[image.a]\n[image.b]\ncache-mounts = true\n[image.c]\ncache-mounts = true\ncache-mounts-max-size = \"500 MB\"\n",
    )
    .expect("valid");
    let found: Vec<_> = images
        .list
        .iter()
        .map(|image| (image.cache_mounts, image.cache_mounts_max_bytes))
        .collect();
    assert_eq!(
        found,
        [(false, 2 << 30), (true, 2 << 30), (true, 500_000_000)]
    );
    let error = parse("[image.a]\ncache-mounts-max-size = \"much\"\n").expect_err("no size");
    assert!(
        error.to_string().contains("cache-mounts-max-size: `much`"),
        "{error}"
    );
}

#[test]
fn a_build_cache_is_checked_and_is_one_images_own() {
    let cache = |image: &str, fields: &str| {
        format!("[image.{image}]\nbuild-cache = {{ type = \"registry\", {fields} }}\n")
    };
    let one = cache("app", "ref = \"r.example/app:cache\"");
    let images = parse(&one).expect("valid");
    assert_eq!(
        images.list[0].strategy,
        Some(crate::engine::Strategy::RemoteBuildCache)
    );
    let check = |text: &str, part: &str| {
        let error = parse(text).expect_err("refused").to_string();
        assert!(error.contains(part), "{error}");
    };
    check(&cache("app", ""), "image `app`: build-cache: ");
    check(
        &format!("{one}strategy = \"stage-images\"\n"),
        "leave `strategy` out",
    );
    check(
        &format!("{one}{}", cache("web", "ref = \"r.example/app:cache\"")),
        "images `app` and `web` have the same `build-cache`",
    );
}
