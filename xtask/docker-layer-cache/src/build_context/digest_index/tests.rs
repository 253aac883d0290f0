use super::*;

const LATER: u128 = 10_000_000_000;

struct Folder {
    _temp: tempfile::TempDir,
    context: Utf8PathBuf,
    index: Utf8PathBuf,
}

fn folder() -> Folder {
    let temp = tempfile::tempdir().expect("a folder");
    let root = Utf8PathBuf::from_path_buf(temp.path().to_owned()).expect("UTF-8");
    let context = root.join("context");
    std::fs::create_dir(&context).expect("a folder");
    Folder {
        _temp: temp,
        context,
        index: root.join("made/index"),
    }
}

impl Folder {
    fn put(&self, path: &str, text: &str) {
        std::fs::write(self.context.join(path), text).expect("a file");
    }

    /// Digests `a`, at `now`, and writes the index; returns the digest.
    fn run(&self, now: u128) -> Digest {
        let mut index = DigestIndex::open_at(&self.index, now);
        let file = ContextFile {
            path: "a".to_owned(),
            kind: ContextFileKind::File,
        };
        let inputs = index.digest_files_at(&self.context, &[file], now);
        index.write().expect("an index");
        inputs.expect("a digest").remove(0).digest
    }

    /// Puts a wrong digest into the index, so that a run tells whether it trusts it.
    fn poison(&self) -> Digest {
        let bytes = std::fs::read(&self.index).expect("an index");
        let (written, mut known) = index_file::parse(&bytes).expect("an index");
        for (_, known) in &mut known {
            known.digest = [7; 32];
        }
        std::fs::write(&self.index, index_file::write(written, &known)).expect("an index");
        Digest::from_sha256(&[7; 32])
    }
}

#[test]
fn a_known_file_is_not_read_again() {
    let folder = folder();
    folder.put("a", "one");
    let later = now() + LATER;
    assert_eq!(folder.run(later), Digest::of(b"one"));
    let poison = folder.poison();
    assert_eq!(folder.run(later + 1), poison);
    // A file that is written anew has other times, or another inode.
    folder.put("a", "two");
    assert_eq!(folder.run(later + 2), Digest::of(b"two"));
}

#[test]
fn inputs_of_a_key_are_not_read_again() {
    let folder = folder();
    folder.put("a", "one");
    folder.put("b", "new");
    let later = now() + LATER;
    folder.run(later);
    let poison = folder.poison();
    let mut index = DigestIndex::open_at(&folder.index, later + 1);
    let patterns = ["b".to_owned(), "*".to_owned()];
    let inputs = super::super::inputs(&folder.context, &patterns, Some(&mut index));
    let digests: Vec<Digest> = inputs
        .expect("inputs")
        .files
        .into_iter()
        .map(|input| input.digest)
        .collect();
    assert_eq!(digests, [poison, Digest::of(b"new")]);
}

#[test]
fn a_file_that_changed_just_now_is_not_kept() {
    let folder = folder();
    folder.put("a", "one");
    assert_eq!(folder.run(now()), Digest::of(b"one"));
    assert!(!folder.index.exists());
}

#[test]
fn an_index_from_the_future_counts_for_nothing() {
    let folder = folder();
    folder.put("a", "one");
    let later = now() + LATER;
    folder.run(later);
    folder.poison();
    assert_eq!(folder.run(later - 1), Digest::of(b"one"));
}

#[test]
fn a_damaged_index_counts_for_nothing() {
    let folder = folder();
    folder.put("a", "one");
    let later = now() + LATER;
    folder.run(later);
    folder.poison();
    let good = std::fs::read(&folder.index).expect("an index");
    for at in [0, 40, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&folder.index, &bad).expect("an index");
        assert_eq!(folder.run(later), Digest::of(b"one"), "byte {at}");
        std::fs::write(&folder.index, &good[..at]).expect("an index");
        assert_eq!(folder.run(later), Digest::of(b"one"), "up to byte {at}");
    }
    std::fs::remove_file(&folder.index).expect("a file");
    std::fs::create_dir(&folder.index).expect("a folder");
    assert!(DigestIndex::open(&folder.index).known.is_empty());
}

#[test]
fn an_index_that_cannot_be_written_is_told() {
    let folder = folder();
    folder.put("a", "one");
    std::fs::create_dir_all(&folder.index).expect("a folder");
    let mut index = DigestIndex::open(&folder.index);
    let file = ContextFile {
        path: "a".to_owned(),
        kind: ContextFileKind::File,
    };
    let later = now() + LATER;
    index
        .digest_files_at(&folder.context, &[file], later)
        .expect("a digest");
    let error = index.write().expect_err("a folder is in the way");
    assert!(error.to_string().starts_with("cannot write `"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn links_and_modes_are_told() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = folder();
    folder.put("a", "one");
    let path = folder.context.join("a");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    symlink("../x", folder.context.join("l")).expect("a link");
    let file = |path: &str, kind| ContextFile {
        path: path.to_owned(),
        kind,
    };
    let files = [
        file("a", ContextFileKind::File),
        file("l", ContextFileKind::Symlink),
    ];
    let stats = crate::build_context::stat_files(&folder.context, &files).expect("stats");
    assert_eq!((stats[0].mode, stats[0].target.as_deref()), (0o640, None));
    assert_eq!(stats[1].target.as_deref(), Some("../x"));
}
