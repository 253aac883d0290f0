use super::*;

fn endpoints() -> Endpoints {
    let text = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut endpoints = Endpoints::new(
        &text(&["http://127.0.0.1:5000/", "https://mirror.example.com/hub"]),
        &text(&[
            "::1/128",
            "127.0.0.0/8",
            "10.1.0.0/16",
            "lab.example.com:8443",
        ]),
    )
    .expect("the lists are good");
    endpoints.look_up = |host| match host {
        "inside.example.com" => vec![IpAddr::from([10, 1, 2, 3])],
        _ => vec![IpAddr::from([192, 0, 2, 1])],
    };
    endpoints
}

#[test]
fn urls_of_registries() {
    for (domain, path, expected) in [
        (
            "docker.io",
            "library/alpine",
            "http://127.0.0.1:5000/v2/library/alpine/x (None), \
             https://mirror.example.com/hub/v2/library/alpine/x (Verified), \
             https://registry-1.docker.io/v2/library/alpine/x (Verified)",
        ),
        ("ghcr.io", "o/app", "https://ghcr.io/v2/o/app/x (Verified)"),
        (
            "quay.io",
            "coreos/etcd",
            "https://quay.io/v2/coreos/etcd/x (Verified)",
        ),
        (
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
            "team/app",
            "https://123456789012.dkr.ecr.eu-central-1.amazonaws.com/v2/team/app/x (Verified)",
        ),
        (
            "europe-docker.pkg.dev",
            "project/repository/app",
            "https://europe-docker.pkg.dev/v2/project/repository/app/x (Verified)",
        ),
        (
            "gcr.io",
            "example.com/project/app",
            "https://gcr.io/v2/example.com/project/app/x (Verified)",
        ),
        (
            "team.azurecr.io",
            "app",
            "https://team.azurecr.io/v2/app/x (Verified)",
        ),
        (
            "company.jfrog.io",
            "docker-virtual/team/app",
            "https://company.jfrog.io/v2/docker-virtual/team/app/x (Verified)",
        ),
        (
            "harbor.example.com:8443",
            "proxy-cache/library/alpine",
            "https://harbor.example.com:8443/v2/proxy-cache/library/alpine/x (Verified)",
        ),
        (
            "localhost:5000",
            "app",
            "http://localhost:5000/v2/app/x (None), https://localhost:5000/v2/app/x (Unverified)",
        ),
        (
            "[::1]:5000",
            "app",
            "http://[::1]:5000/v2/app/x (None), https://[::1]:5000/v2/app/x (Unverified)",
        ),
        (
            "10.1.2.3",
            "app",
            "https://10.1.2.3/v2/app/x (Unverified), http://10.1.2.3/v2/app/x (None)",
        ),
        (
            "inside.example.com",
            "app",
            "https://inside.example.com/v2/app/x (Unverified), http://inside.example.com/v2/app/x (None)",
        ),
        ("10.2.0.1", "app", "https://10.2.0.1/v2/app/x (Verified)"),
        (
            "lab.example.com:8443",
            "app",
            "https://lab.example.com:8443/v2/app/x (Unverified), http://lab.example.com:8443/v2/app/x (None)",
        ),
    ] {
        let endpoints = endpoints();
        let registry = endpoints.registry(domain).expect("the domain is good");
        let got = endpoints
            .mirrors(domain)
            .iter()
            .chain([&registry])
            .flat_map(|endpoint| endpoint.bases.clone())
            .map(|base| format!("{} ({:?})", base.url(path, &["x"]), base.tls))
            .collect::<Vec<_>>()
            .join(", ");
        assert_eq!(got, expected, "{domain}");
    }
}

#[test]
fn named_by_another_answer() {
    for (url, came_by, expected) in [
        (
            "https://auth.example.com/token",
            Tls::Verified,
            Some(Tls::Verified),
        ),
        ("http://auth.example.com/token", Tls::Verified, None),
        ("http://auth.example.com/token", Tls::Unverified, None),
        ("http://auth.example.com/token", Tls::None, Some(Tls::None)),
        (
            "http://127.0.0.1:5003/token",
            Tls::Verified,
            Some(Tls::None),
        ),
        (
            "https://10.1.0.9/token",
            Tls::Unverified,
            Some(Tls::Unverified),
        ),
        ("ftp://auth.example.com/token", Tls::None, None),
    ] {
        let url = Url::parse(url).expect("a URL");
        assert_eq!(
            endpoints().tls_for(&url, came_by),
            expected,
            "{url} {came_by:?}"
        );
    }
}

#[test]
fn mirrors_that_are_no_urls() {
    for text in ["http://", "ftp://mirror", "http://user:pw@:80"] {
        let error = Endpoints::new(&[text.to_owned()], &[]).expect_err(text);
        assert_eq!(error.kind(), &ErrorKind::Options, "{text}");
        assert!(!error.to_string().contains("pw"), "{error}");
    }
}
