//! Out of one folder and into another.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use filetime::FileTime;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::oci::Digest;

/// All that is known of what is in a folder, by path.
fn state(folder: &Path) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for found in walkdir::WalkDir::new(folder) {
        let found = found.expect("a folder that can be read");
        let metadata = found.path().symlink_metadata().expect("it is there");
        let content = if metadata.is_symlink() {
            let target = fs::read_link(found.path()).expect("a link");
            target.to_string_lossy().into_owned()
        } else if metadata.is_file() {
            Digest::of(&fs::read(found.path()).expect("a file")).to_string()
        } else {
            String::new()
        };
        let path = found.path().strip_prefix(folder).expect("below it");
        let links = if metadata.is_file() {
            metadata.nlink()
        } else {
            0
        };
        state.insert(
            path.to_string_lossy().into_owned(),
            format!(
                "{:o} {}:{} {}.{} {links} {content}",
                metadata.mode(),
                metadata.uid(),
                metadata.gid(),
                metadata.mtime(),
                metadata.mtime_nsec()
            ),
        );
    }
    state
}

fn set_time(path: &Path, seconds: i64, nanoseconds: u32) {
    let time = FileTime::from_unix_time(seconds, nanoseconds);
    filetime::set_symlink_file_times(path, time, time).expect("a time that can be set");
}

/// A folder with something of everything.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let root = folder.path();
    let large: Vec<u8> = (0..9_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::create_dir_all(root.join("a/b")).expect("folders");
    fs::create_dir(root.join("empty")).expect("a folder");
    fs::write(root.join("a/one"), "one").expect("a file");
    fs::write(root.join("a/b/large"), &large[..9_000_000]).expect("a file");
    fs::write(root.join("a/b/nothing"), "").expect("a file");
    fs::write(root.join("per cent % and\nline"), "strange").expect("a file");
    let strange = std::ffi::OsString::from_vec(b"not \xff text".to_vec());
    fs::write(root.join(strange), "bytes").expect("a file");
    fs::hard_link(root.join("a/one"), root.join("z")).expect("a link");
    symlink("/etc/passwd", root.join("a/outside")).expect("a link");
    symlink("b", root.join("a/inside")).expect("a link");
    let mode = |path: &str, mode| {
        fs::set_permissions(root.join(path), Permissions::from_mode(mode)).expect("a mode");
    };
    mode("a/one", 0o4751);
    mode("empty", 0o1777);
    mode("a/b/large", 0o600);
    set_time(&root.join("a/one"), 499_162_500, 0);
    set_time(&root.join("a/outside"), -5, 250_000_000);
    set_time(&root.join("a/b"), 1_000_000_000, 123_456_789);
    set_time(&root.join("a"), 1_000_000_001, 1);
    set_time(root, 1_000_000_002, 2);
    folder
}

/// Writes a folder out and reads the listing.
fn write_out(folder: &Path, out: &Path, before: Option<&Listing>) -> Listing {
    let exported = export(folder, out, before, |_| true, u64::MAX).expect("an export");
    assert!(matches!(exported, Exported::Written { .. }), "{exported:?}");
    read_listing(out)
}

fn read_listing(out: &Path) -> Listing {
    let packed = fs::read(out.join(LISTING_FILE)).expect("a listing");
    let text = zstd::stream::decode_all(packed.as_slice()).expect("zstd");
    Listing::parse(&text).expect("a listing")
}

fn read_in(folder: &Path, listing: &Listing, packs: &Path) -> Result<Imported, MountError> {
    import(folder, listing, |at| {
        packs.join(pack_file(&listing.packs[at].digest))
    })
}

#[test]
fn a_mount_comes_back_as_it_was() {
    let (from, out, to) = (
        folder(),
        TempDir::new().expect("a"),
        TempDir::new().expect("b"),
    );
    let listing = write_out(from.path(), out.path(), None);
    assert_eq!(
        Listing::parse(listing.to_text().as_bytes()),
        Ok(listing.clone())
    );
    let imported = read_in(to.path(), &listing, out.path()).expect("an import");
    assert_eq!(imported, Imported::Filled);
    assert_eq!(state(to.path()), state(from.path()));
    let again = read_in(to.path(), &listing, out.path()).expect("an import");
    assert_eq!(again, Imported::WasFilled);
}

#[test]
fn only_the_new_is_written_the_second_time() {
    let (from, out) = (folder(), TempDir::new().expect("a folder"));
    let listing = write_out(from.path(), out.path(), None);
    let second = TempDir::new().expect("a folder");
    let same = write_out(from.path(), second.path(), Some(&listing));
    assert_eq!(same, listing);
    assert_eq!(fs::read_dir(second.path()).expect("a folder").count(), 1);

    fs::write(from.path().join("new"), "new").expect("a file");
    let third = TempDir::new().expect("a folder");
    let changed = write_out(from.path(), third.path(), Some(&listing));
    let new = changed.packs.last().expect("a pack");
    assert_eq!((new.size, &new.digest), (3, &Digest::of(b"new")));
    assert_eq!(fs::read_dir(third.path()).expect("a folder").count(), 2);
}

#[test]
fn what_is_too_large_or_empty_is_not_written() {
    let (from, out) = (folder(), TempDir::new().expect("a folder"));
    let size_bytes = 9_000_000 + 3 + 7 + 5;
    let exported = export(from.path(), out.path(), None, |_| true, size_bytes - 1);
    assert_eq!(
        exported.expect("an export"),
        Exported::TooLarge { size_bytes }
    );
    let empty = TempDir::new().expect("a folder");
    let exported = export(empty.path(), out.path(), None, |_| true, u64::MAX);
    assert_eq!(exported.expect("an export"), Exported::Empty);
    assert_eq!(fs::read_dir(out.path()).expect("a folder").count(), 0);
}

#[test]
fn a_damaged_pack_leaves_the_mount_empty() {
    let (from, out, to) = (
        folder(),
        TempDir::new().expect("a"),
        TempDir::new().expect("b"),
    );
    let listing = write_out(from.path(), out.path(), None);
    let pack = out.path().join(pack_file(&listing.packs[1].digest));
    fs::write(&pack, zstd::bulk::compress(b"other", 3).expect("zstd")).expect("a file");
    let error = read_in(to.path(), &listing, out.path()).expect_err("a damaged pack");
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert_eq!(fs::read_dir(to.path()).expect("a folder").count(), 0);
}

#[test]
fn what_a_killed_import_left_is_in_nobodys_way() {
    let (from, out, to) = (
        folder(),
        TempDir::new().expect("a"),
        TempDir::new().expect("b"),
    );
    let listing = write_out(from.path(), out.path(), None);
    let left = to.path().join(".docker-layer-cache-unfinished/a");
    fs::create_dir_all(&left).expect("a folder");
    fs::write(left.join("half"), "half").expect("a file");
    let exported = export(to.path(), out.path(), None, |_| true, u64::MAX);
    assert_eq!(exported.expect("an export"), Exported::Empty);
    read_in(to.path(), &listing, out.path()).expect("an import");
    assert_eq!(state(to.path()), state(from.path()));
}

#[test]
fn listings_that_reach_out_of_the_mount_are_refused() {
    const HEAD: &str = "docker-layer-cache cache-mount 1";
    const ROOT: &str = "d 755 0 0 0.000000000 .";
    const FOLDER: &str = "d 755 0 0 0.000000000 a";
    const FILE: &str = "f 644 0 0 0.000000000 a/f";
    let pack = format!("p {} 10", Digest::of(b"").encoded());
    let chunk = |place: &str| {
        let digest = Digest::of(b"");
        format!("f 644 0 0 0.000000000 a/f {place}:{}", digest.encoded())
    };
    let check = |lines: &[&str]| {
        let text = [&[HEAD], lines].concat().join("\n");
        Listing::parse(text.as_bytes()).map_err(|error| error.to_string())
    };
    for good in [
        &[ROOT][..],
        &[
            ROOT,
            FOLDER,
            FILE,
            "h a/g a/f",
            "l 0 0 -1.000000000 a/l ../../etc",
        ],
        &[ROOT, &pack, FOLDER, &chunk("0:0:10")],
    ] {
        check(good).expect("a listing that can be used");
    }
    for (lines, reason) in [
        (&[][..], "not even the mount"),
        (&[FOLDER], "the mount itself"),
        (&[ROOT, ROOT], "within the mount"),
        (&[ROOT, "d 755 0 0 0.000000000 .."], "within the mount"),
        (&[ROOT, "d 755 0 0 0.000000000 /etc"], "within the mount"),
        (
            &[ROOT, FOLDER, "d 755 0 0 0.000000000 a/../b"],
            "within the mount",
        ),
        (
            &[ROOT, FOLDER, "d 755 0 0 0.000000000 a//b"],
            "within the mount",
        ),
        (
            &[ROOT, FOLDER, "d 755 0 0 0.000000000 a/%00"],
            "within the mount",
        ),
        (
            &[ROOT, FOLDER, "d 755 0 0 0.000000000 a/%2e."],
            "within the mount",
        ),
        (&[ROOT, FILE], "in no folder"),
        (&[ROOT, "l 0 0 0.000000000 a /etc", FILE], "in no folder"),
        (
            &[ROOT, FOLDER, FILE, "f 644 0 0 0.000000000 a/f/g"],
            "in no folder",
        ),
        (&[ROOT, FOLDER, FOLDER], "twice"),
        (&[ROOT, FOLDER, "l 0 0 0.000000000 a /etc"], "twice"),
        (&[ROOT, "h b /etc/passwd"], "hard link"),
        (&[ROOT, FOLDER, "h b a"], "hard link"),
        (&[ROOT, "l 0 0 0.000000000 a /etc", "h b a"], "hard link"),
        (&[ROOT, "h a a"], "hard link"),
        (&[ROOT, FOLDER, &chunk("0:0:1")], "in no pack"),
        (&[ROOT, &pack, FOLDER, &chunk("0:1:10")], "in no pack"),
        (
            &[ROOT, &pack, FOLDER, &chunk("0:1:18446744073709551615")],
            "in no pack",
        ),
        (&[ROOT, &pack.replace(" 10", " 4194305")], "too large"),
        (&[ROOT, "d 17777 0 0 0.000000000 a"], "mode"),
        (&[ROOT, "c 755 0 0 0.000000000 a"], "no kind"),
        (&[ROOT, "d 755 0 0 0.000000000 a b"], "behind it"),
        (&[ROOT, "d 755 0 0 0.5 a"], "time"),
        (&[ROOT, "d 755 0 0 0.000000000"], "missing"),
    ] {
        let error = check(lines).expect_err(reason);
        assert!(error.contains(reason), "{lines:?}: {error}");
    }
    assert!(Listing::parse(b"").is_err());
    assert!(Listing::parse(b"docker-layer-cache cache-mount 2\n").is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_listing_or_an_error(text in "(docker-layer-cache cache-mount 1\n)?([dflhp] [0-9a-f.:%/ ]{0,30}\n){0,4}") {
        if let Ok(listing) = Listing::parse(text.as_bytes()) {
            prop_assert_eq!(Listing::parse(listing.to_text().as_bytes()), Ok(listing));
        }
    }

    #[test]
    fn any_name_comes_through_a_listing(name in proptest::collection::vec(any::<u8>(), 1..20)) {
        prop_assume!(!name.contains(&0) && !name.contains(&b'/') && name != b"." && name != b"..");
        let node = |path: &[u8], kind| Node {
            path: path.to_vec(),
            mode: 0,
            uid: 0,
            gid: 0,
            modified: Modified::default(),
            kind,
        };
        let listing = Listing {
            packs: Vec::new(),
            nodes: vec![
                node(b".", NodeKind::Folder),
                node(&name, NodeKind::Symlink(std::ffi::OsStr::from_bytes(&name).as_bytes().to_vec())),
            ],
        };
        prop_assert_eq!(Listing::parse(listing.to_text().as_bytes()), Ok(listing));
    }
}
