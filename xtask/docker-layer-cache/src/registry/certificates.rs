//! Certificates for one registry: `certs.d/HOST[:PORT]/`.
//!
//! `*.crt` are certificate authorities; `NAME.cert` with `NAME.key` is what the client shows.
//!
//! Source: <https://docs.docker.com/engine/security/certificates/>

use camino::{Utf8Path, Utf8PathBuf};
use reqwest::{Certificate, Identity};

/// What a folder holds.
pub(super) struct Certificates {
    pub(super) authorities: Vec<Certificate>,
    pub(super) identity: Option<Identity>,
}

/// Returns the first folder among `certs_dirs` that exists for `host`.
pub(super) fn folder_of(host: &str, certs_dirs: &[Utf8PathBuf]) -> Option<Utf8PathBuf> {
    certs_dirs
        .iter()
        .map(|folder| folder.join(host))
        .find(|folder| folder.is_dir())
}

/// Reads a folder's certificates.
///
/// # Errors
///
/// Names the file that cannot be read or holds something else.
pub(super) fn load(folder: &Utf8Path) -> Result<Certificates, String> {
    let mut certificates = Certificates {
        authorities: Vec::new(),
        identity: None,
    };
    let mut paths: Vec<Utf8PathBuf> = folder
        .read_dir_utf8()
        .map_err(|error| format!("`{folder}`: {error}"))?
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .collect();
    paths.sort();
    for path in paths {
        match path.extension() {
            Some("crt") => {
                // Bytes without any certificate are no error to the parser, but surely one of the
                // person who put them there.
                let found = Certificate::from_pem_bundle(&read(&path)?)
                    .ok()
                    .filter(|found| !found.is_empty())
                    .ok_or_else(|| format!("`{path}` does not hold certificates in PEM form"))?;
                certificates.authorities.extend(found);
            }
            Some("cert") => {
                let mut pem = read(&path)?;
                pem.push(b'\n');
                pem.extend(read(&path.with_extension("key"))?);
                let identity = Identity::from_pem(&pem).map_err(|_| {
                    format!("`{path}` and its key are not a certificate in PEM form")
                })?;
                certificates.identity = Some(identity);
            }
            _ => {}
        }
    }
    Ok(certificates)
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("`{path}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
        let host = path.join("registry.example.com:5000");
        std::fs::create_dir(&host).expect("created");
        let found = folder_of("registry.example.com:5000", std::slice::from_ref(&path));
        assert_eq!(found.as_deref(), Some(host.as_path()));
        assert_eq!(folder_of("registry.example.com", &[path]), None);

        assert!(load(&host).is_ok_and(|found| found.authorities.is_empty()));
        for (name, expected) in [
            ("ca.crt", "ca.crt` does not hold certificates"),
            ("a.cert", "a.key`: No such file"),
        ] {
            std::fs::write(host.join(name), "nothing").expect("written");
            let error = load(&host).err().expect("not a certificate");
            assert!(error.contains(expected), "{error}");
        }
    }
}
