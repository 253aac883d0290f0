//! This very program, with all that it needs to run where there is nothing else: the dynamic
//! loader and the shared libraries of this machine.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use camino::Utf8Path;

/// The names in the folder of the program.
const PROGRAM: &str = "xtask";
const LOADER: &str = "loader";

/// Why the program cannot run elsewhere.
#[derive(Debug)]
pub(super) struct ProgramError(String);

/// What an ELF file says of how it is run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Elf {
    /// The dynamic loader; none for a static program.
    loader: Option<PathBuf>,
    /// Where the last part ends that is loaded, in bytes. Behind it come names and debug
    /// information: more than half of a dev build.
    loaded_bytes: u64,
}

/// Copies the program into `folder`, which is `place` in the container, and returns the command that
/// runs it there.
pub(super) fn copy_to(folder: &Utf8Path, place: &str) -> Result<Vec<String>, ProgramError> {
    let executable = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let cannot = |error: io::Error| ProgramError(error.to_string());
    let mut file = File::open(&executable).map_err(cannot)?;
    let mut head = Vec::new();
    file.by_ref()
        .take(64 * 1024)
        .read_to_end(&mut head)
        .map_err(cannot)?;
    let elf =
        elf(&head).ok_or_else(|| ProgramError("it is no program of 64-bit Linux".to_owned()))?;
    fs::create_dir_all(folder).map_err(cannot)?;
    copy(&executable, elf.loaded_bytes, &folder.join(PROGRAM)).map_err(cannot)?;
    let program = format!("{place}/{PROGRAM}");
    let Some(loader) = elf.loader else {
        return Ok(vec![program]);
    };
    let output = Command::new(&loader)
        .arg("--list")
        .arg(&executable)
        .output();
    let output = output.map_err(cannot)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(ProgramError(format!(
            "its libraries are not known: {}",
            said.trim()
        )));
    }
    for (name, path) in libraries(&String::from_utf8_lossy(&output.stdout)) {
        let target = folder.join(name);
        copy(path, u64::MAX, &target).map_err(cannot)?;
    }
    copy(&loader, u64::MAX, &folder.join(LOADER)).map_err(cannot)?;
    let loader = format!("{place}/{LOADER}");
    Ok(vec![
        loader,
        "--library-path".to_owned(),
        place.to_owned(),
        program,
    ])
}

/// Returns the shared libraries of the loader's list: name and path. The loader itself and what the
/// kernel brings have no name of their own.
fn libraries(list: &str) -> Vec<(&str, &Path)> {
    list.lines().filter_map(library).collect()
}

fn library(line: &str) -> Option<(&str, &Path)> {
    let (name, rest) = line.trim().split_once(" => ")?;
    let (path, _) = rest.rsplit_once(" (")?;
    (path.starts_with('/') && !name.contains('/')).then_some((name, Path::new(path)))
}

/// Copies the first bytes of a file, and its time, by which builders tell that it has not changed.
/// A copy that is there already stays.
fn copy(from: &Path, max_bytes: u64, to: &Utf8Path) -> io::Result<()> {
    let source = File::open(from)?;
    let metadata = source.metadata()?;
    let (size, modified) = (metadata.len().min(max_bytes), metadata.modified()?);
    let is_same = |found: fs::Metadata| {
        found.len() == size && found.modified().is_ok_and(|time| time == modified)
    };
    if fs::symlink_metadata(to).is_ok_and(is_same) {
        return Ok(());
    }
    let _ = fs::remove_file(to);
    let mut target = File::create(to)?;
    io::copy(&mut source.take(max_bytes), &mut target)?;
    target.set_permissions(fs::Permissions::from_mode(0o755))?;
    target.set_modified(modified)
}

/// Reads the head of an ELF file; none where it is another kind of file, or not of 64 bits.
///
/// Source: <https://man7.org/linux/man-pages/man5/elf.5.html>
fn elf(head: &[u8]) -> Option<Elf> {
    const LOAD: u64 = 1;
    const INTERPRETER: u64 = 3;
    let number = |at: usize, size: usize| {
        let bytes = head.get(at..at.checked_add(size)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |number: u64, byte| number << 8 | u64::from(*byte)),
        )
    };
    let index = |number: u64| usize::try_from(number).ok();
    // The mark, 64 bits, the lower byte first.
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let mut elf = Elf::default();
    for at in 0..count {
        let at = index(first.checked_add(size.checked_mul(at)?)?)?;
        let (start, n_bytes) = (
            number(at.checked_add(8)?, 8)?,
            number(at.checked_add(32)?, 8)?,
        );
        let end = start.checked_add(n_bytes)?;
        match number(at, 4)? {
            LOAD => elf.loaded_bytes = elf.loaded_bytes.max(end),
            INTERPRETER => {
                let text = head.get(index(start)?..index(end)?)?;
                let text = std::str::from_utf8(text).ok()?;
                elf.loader = Some(text.trim_end_matches('\0').into());
            }
            _ => {}
        }
    }
    (elf.loaded_bytes > 0).then_some(elf)
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this program cannot run in a container: {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_both_loaders() {
        let glibc = "\tlinux-vdso.so.1 (0x00007fa8)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc-2.31.so (0x7fa)\n\t/lib64/ld-linux-x86-64.so.2 (0x7fa)\n\tlibx.so => not found\n";
        assert_eq!(
            libraries(glibc),
            [("libc.so.6", Path::new("/lib/x86_64-linux-gnu/libc-2.31.so"))]
        );
        let musl = "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibgcc_s.so.1 => /usr/lib/libgcc_s.so.1 (0x7f)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n";
        assert_eq!(
            libraries(musl),
            [
                ("libgcc_s.so.1", Path::new("/usr/lib/libgcc_s.so.1")),
                (
                    "libc.musl-x86_64.so.1",
                    Path::new("/lib/ld-musl-x86_64.so.1")
                ),
            ]
        );
    }

    #[test]
    fn heads_that_are_cut_or_lie_are_refused() {
        let mut head = vec![0; 64 + 2 * 56 + 8];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[32] = 64;
        head[54] = 56;
        head[56] = 2;
        // An interpreter of 8 bytes behind the headers, and a part up to byte 1000.
        (head[64], head[64 + 8], head[64 + 32]) = (3, 176, 8);
        (head[120], head[120 + 32], head[120 + 33]) = (1, 232, 3);
        head[176..].copy_from_slice(b"/ld.so\0\0");
        let expected = Elf {
            loader: Some("/ld.so".into()),
            loaded_bytes: 1000,
        };
        assert_eq!(elf(&head), Some(expected));
        for cut in 0..head.len() {
            assert_eq!(elf(&head[..cut]), None, "{cut}");
        }
        head[32..40].fill(0xff);
        assert_eq!(elf(&head), None);
        assert_eq!(elf(b"#!/bin/sh\n"), None);
    }
}
