//! Finds the machine's shell and commands, and what they need to run elsewhere.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::layer::Entry;

/// What `RUN` steps of the demo and the tests call. Only `sh` has to be there.
const COMMANDS: &[&str] = &[
    "sh",
    "cat",
    "cp",
    "mv",
    "mkdir",
    "rm",
    "ls",
    "ln",
    "tar",
    "head",
    "tail",
    "dd",
    "sleep",
    "touch",
    "chmod",
    "env",
    "id",
    "wc",
    "sort",
    "true",
    "false",
    "test",
    "sha256sum",
    "printf",
    "sed",
    "awk",
];

/// Where else than in PATH a busybox lies.
const BUSYBOX_PLACES: &[&str] = &["/bin/busybox", "/usr/lib/initramfs-tools/bin/busybox"];

/// Why no base image could be made.
#[derive(Debug)]
pub struct BaseImageError {
    kind: BaseImageErrorKind,
}

#[derive(Debug)]
enum BaseImageErrorKind {
    NoShell,
    Read {
        path: PathBuf,
        cause: io::Error,
    },
    Run {
        command: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
    MissingLibrary {
        path: PathBuf,
        line: String,
    },
}

/// Returns a busybox that needs no shared library, where the machine has one.
pub(super) fn static_busybox() -> Option<PathBuf> {
    find("busybox")
        .into_iter()
        .chain(BUSYBOX_PLACES.iter().map(PathBuf::from))
        .find(|path| fs::read(path).is_ok_and(|bytes| is_static_elf(&bytes)))
}

/// Returns busybox and a link for each of its applets.
pub(super) fn busybox_entries(path: &Path) -> Result<Vec<Entry>, BaseImageError> {
    let output = Command::new(path)
        .arg("--list")
        .output()
        .map_err(|cause| BaseImageError::run("busybox --list", path, cause))?;
    let applets = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut entries = skeleton();
    entries.push(Entry::file("bin/busybox", read(path)?, 0o755));
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        entries.push(Entry::Link {
            path: format!("bin/{applet}"),
            target: "busybox".to_owned(),
        });
    }
    Ok(entries)
}

/// Returns the machine's own shell and commands under `/bin`, and their libraries where they are.
pub(super) fn command_entries() -> Result<Vec<Entry>, BaseImageError> {
    let mut entries = skeleton();
    let mut libraries = BTreeSet::new();
    for command in COMMANDS {
        let Some(path) = find(command) else {
            if *command == "sh" {
                return Err(BaseImageErrorKind::NoShell.into());
            }
            continue;
        };
        let bytes = read(&path)?;
        if !bytes.starts_with(b"\x7fELF") {
            if *command == "sh" {
                return Err(BaseImageErrorKind::NoShell.into());
            }
            continue;
        }
        if !is_static_elf(&bytes) {
            libraries.extend(shared_libraries(&path)?);
        }
        entries.push(Entry::file(&format!("bin/{command}"), bytes, 0o755));
    }
    for library in libraries {
        let bytes = read(Path::new(&library))?;
        entries.push(Entry::file(library.trim_start_matches('/'), bytes, 0o755));
    }
    Ok(entries)
}

/// Returns this machine's architecture in the words of images.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn skeleton() -> Vec<Entry> {
    let text = |path: &str, text: &str| Entry::file(path, text.as_bytes().to_vec(), 0o644);
    vec![
        Entry::Directory {
            path: "root".to_owned(),
            mode: 0o700,
        },
        Entry::Directory {
            path: "tmp".to_owned(),
            mode: 0o1777,
        },
        text(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        ),
        text("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ]
}

/// Returns the libraries that `ldd` names, with the loader, as absolute paths.
fn shared_libraries(path: &Path) -> Result<Vec<String>, BaseImageError> {
    let output = Command::new("ldd")
        .arg(path)
        .output()
        .map_err(|cause| BaseImageError::run("ldd", path, cause))?;
    parse_ldd(&String::from_utf8_lossy(&output.stdout)).map_err(|line| {
        BaseImageErrorKind::MissingLibrary {
            path: path.to_owned(),
            line,
        }
        .into()
    })
}

/// Reads `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`; the kernel's
/// `linux-vdso.so.1 (0x…)` is no file. A line that says `not found` is the error.
fn parse_ldd(output: &str) -> Result<Vec<String>, String> {
    let mut libraries = Vec::new();
    for line in output.lines().map(str::trim) {
        let place = line.rsplit_once("=> ").map_or(line, |(_, place)| place);
        if place.starts_with("not found") {
            return Err(line.to_owned());
        }
        let place = place.split(" (").next().unwrap_or(place);
        if place.starts_with('/') {
            libraries.push(place.to_owned());
        }
    }
    Ok(libraries)
}

fn find(command: &str) -> Option<PathBuf> {
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .chain(["/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(command))
        .find(|path| path.is_absolute() && path.is_file())
}

fn read(path: &Path) -> Result<Vec<u8>, BaseImageError> {
    fs::read(path).map_err(|cause| {
        BaseImageErrorKind::Read {
            path: path.to_owned(),
            cause,
        }
        .into()
    })
}

/// Tells whether a 64-bit or 32-bit little-endian ELF file names no loader (`PT_INTERP`).
///
/// Source: <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html>
fn is_static_elf(bytes: &[u8]) -> bool {
    const PT_INTERP: usize = 3;
    let number = |at: usize, length: usize| {
        let field = bytes.get(at..at.checked_add(length)?)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0usize, |n, byte| n << 8 | usize::from(*byte)),
        )
    };
    if !bytes.starts_with(b"\x7fELF") || bytes.get(5) != Some(&1) {
        return false;
    }
    let wide = bytes.get(4) == Some(&2);
    let (table, size, count) = if wide {
        (number(32, 8), number(54, 2), number(56, 2))
    } else {
        (number(28, 4), number(42, 2), number(44, 2))
    };
    let (Some(table), Some(size), Some(count)) = (table, size, count) else {
        return false;
    };
    (0..count)
        .all(|n| number(table.saturating_add(n * size), 4).is_some_and(|kind| kind != PT_INTERP))
}

impl BaseImageError {
    fn run(command: &'static str, path: &Path, cause: io::Error) -> Self {
        BaseImageErrorKind::Run {
            command,
            path: path.to_owned(),
            cause,
        }
        .into()
    }
}

impl From<BaseImageErrorKind> for BaseImageError {
    fn from(kind: BaseImageErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for BaseImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            BaseImageErrorKind::NoShell => f.write_str(
                "found neither a static `busybox` nor a Linux `sh` in PATH to make a base image of",
            ),
            BaseImageErrorKind::Read { path, cause } => {
                write!(f, "failed to read `{}`: {cause}", path.display())
            }
            BaseImageErrorKind::Run {
                command,
                path,
                cause,
            } => write!(
                f,
                "failed to run `{command}` on `{}`: {cause}",
                path.display()
            ),
            BaseImageErrorKind::MissingLibrary { path, line } => {
                write!(
                    f,
                    "`{}` needs a library that is not there: {line}",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for BaseImageError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_of_glibc_and_musl() {
        let glibc = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            parse_ldd(glibc),
            Ok(vec![
                "/lib/x86_64-linux-gnu/libc.so.6".to_owned(),
                "/lib64/ld-linux-x86-64.so.2".to_owned()
            ])
        );
        let musl = "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n";
        assert_eq!(parse_ldd(musl).map(|libraries| libraries.len()), Ok(2));
        assert_eq!(
            parse_ldd("\tlibx.so => not found\n"),
            Err("libx.so => not found".to_owned())
        );
    }

    #[test]
    fn garbage_is_no_static_binary() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01"] {
            assert!(!is_static_elf(bytes), "{bytes:?}");
        }
    }
}
