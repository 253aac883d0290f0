use std::fs::File;

use proptest::prelude::*;

use super::super::tests::{all, collect, entry, names, save, store};
use super::super::{EntryKind, ImageLayout, StoredEntry};
use super::*;

/// Sets the last use of an entry, in seconds before now; a negative number is the future.
fn use_before(layout: &ImageLayout, stored: &StoredEntry, seconds: i64) {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    let time = if seconds < 0 {
        now + distance
    } else {
        now - distance
    };
    let file = File::open(layout.blob_path(&stored.descriptor.digest)).expect("a file");
    file.set_modified(time).expect("a time");
}

const YEAR: i64 = 365 * 86_400;

#[test]
fn each_entry_says_why_it_goes_and_what_that_frees() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let shared = [7; 5000];
    let old = save(&writer, &entry("app", "old"), &[&shared, b"old"]);
    let older = save(&writer, &entry("app", "older"), &[&shared, b"older"]);
    let new = save(&writer, &entry("app", "new"), &[b"new"]);
    let named = save(&writer, &entry("named", "1"), &[b"named"]);
    drop(writer);
    use_before(&layout, &old, 2000);
    use_before(&layout, &older, 3000);

    let retention = Retention {
        max_age: Some(Duration::from_secs(1000)),
        remove: [named.name.clone()].into(),
        dry_run: true,
        ..all()
    };
    let told = collect(&layout, &retention).expect("told");
    assert_eq!(names(&told), [&named.name, &older.name, &old.name]);
    assert_eq!(told.entries[0].reason, DropReason::Named);
    assert!(matches!(told.entries[1].reason, DropReason::TooOld(age) if age.as_secs() >= 3000));
    assert!(
        told.entries[2].freed_bytes > told.entries[1].freed_bytes,
        "the last of those who share a blob frees it"
    );
    let sum: u64 = told.entries.iter().map(|entry| entry.freed_bytes).sum();
    assert_eq!(sum, told.freed_bytes);
    assert_eq!(told.kept.len(), 1);
    assert_eq!(told.kept[0].name, new.name);
    assert_eq!(layout.entries().expect("entries").len(), 4, "only told");

    let done = Retention {
        dry_run: false,
        ..retention
    };
    let before = layout.inventory().expect("an inventory").size_bytes();
    let done = collect(&layout, &done).expect("done");
    let after = layout.inventory().expect("an inventory").size_bytes();
    assert_eq!(names(&done), names(&told));
    assert_eq!((done.freed_bytes, done.kept_bytes), (before - after, after));
}

#[test]
fn a_shared_layer_is_not_freed() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let old = save(&writer, &entry("app", "1"), &[&[7; 5000], b"one"]);
    save(&writer, &entry("other", "1"), &[&[7; 5000], b"two"]);
    drop(writer);
    let retention = Retention {
        remove: [old.name].into(),
        ..Retention::default()
    };
    let collected = collect(&layout, &retention).expect("collected");
    assert!(collected.entries[0].freed_bytes < collected.entries[0].size_bytes);
    assert_eq!(collected.freed_bytes, collected.entries[0].freed_bytes);
    assert_eq!(collected.blobs, 3, "a manifest, a config, a layer");
    let inventory = layout.inventory().expect("an inventory");
    assert_eq!(layout.verify_all(&inventory).damaged, []);
}

#[test]
fn one_too_many_does_not_fill_the_store() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let last = save(&writer, &entry("app", "1"), &[b"one"]);
    let large = save(
        &writer,
        &entry("app", "2"),
        &[&super::super::tests::noise(50_000)],
    );
    let other = save(&writer, &entry("other", "1"), &[b"three"]);
    drop(writer);
    use_before(&layout, &last, 10);
    use_before(&layout, &large, 20);
    use_before(&layout, &other, 30);
    let retention = Retention {
        keep: Some(1),
        max_size_bytes: Some(5000),
        ..all()
    };
    let collected = collect(&layout, &retention).expect("collected");
    assert_eq!(names(&collected), [&large.name]);
    assert_eq!(collected.entries[0].reason, DropReason::TooMany);
}

#[test]
fn of_those_used_at_once_the_newest_stays() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let now = SystemTime::now();
    let made = |key: &str, seconds: u64| Entry {
        created: Timestamp::from(now - Duration::from_secs(seconds)),
        ..entry("app", key)
    };
    let new = save(&writer, &made("new", 10), &[b"new"]);
    let old = save(&writer, &made("old", 1000), &[b"old"]);
    let mut future = entry("app", "future");
    future.created = Timestamp::from(now + Duration::from_secs(86_400));
    let future = save(&writer, &future, &[b"future"]);
    drop(writer);
    let second = SystemTime::from(Timestamp::from(now));
    // As a restore does: the best first.
    for (stored, millis) in [(&new, 100), (&old, 200), (&future, 300)] {
        let file = File::open(layout.blob_path(&stored.descriptor.digest)).expect("a file");
        file.set_modified(second + Duration::from_millis(millis))
            .expect("a time");
    }
    let retention = Retention {
        keep: Some(1),
        ..all()
    };
    let collected = collect(&layout, &retention).expect("collected");
    assert_eq!(names(&collected), [&future.name, &old.name]);
}

#[test]
fn a_clock_that_was_set_back_drops_nothing_new() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let future = save(&writer, &entry("app", "future"), &[b"future"]);
    let used = save(&writer, &entry("app", "used"), &[b"used"]);
    let skewed = save(&writer, &entry("app", "skewed"), &[b"skewed"]);
    let old = save(&writer, &entry("app", "old"), &[b"old"]);
    let garbage = writer.put_blob("any", b"garbage").expect("a blob");
    drop(writer);
    use_before(&layout, &future, -YEAR);
    use_before(&layout, &used, 0);
    use_before(&layout, &skewed, -20);
    use_before(&layout, &old, YEAR);
    let file = File::open(layout.blob_path(&garbage.digest)).expect("a file");
    let far = SystemTime::now() + Duration::from_secs(86_400);
    file.set_modified(far).expect("a time");

    let keep = |keep| Retention {
        keep: Some(keep),
        dry_run: true,
        ..Retention::default()
    };
    let told = collect(&layout, &keep(1)).expect("told");
    assert_eq!(names(&told), [&future.name, &old.name, &used.name]);
    assert_eq!(told.kept[0].name, skewed.name);
    let of_age = Retention {
        max_age: Some(Duration::from_secs(60)),
        ..Retention::default()
    };
    let collected = collect(&layout, &of_age).expect("collected");
    assert_eq!(
        names(&collected),
        [&old.name],
        "the age of the future is unknown"
    );
    assert!(!layout.has_blob(&garbage.digest), "nor is it young");
}

#[test]
fn a_machine_in_the_past_keeps_the_order() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let first = save(&writer, &entry("app", "first"), &[b"first"]);
    let second = save(&writer, &entry("app", "second"), &[b"second"]);
    drop(writer);
    use_before(&layout, &first, -YEAR);
    use_before(&layout, &second, -YEAR - 100);
    let retention = Retention {
        keep: Some(1),
        ..all()
    };
    let collected = collect(&layout, &retention).expect("collected");
    assert_eq!(names(&collected), [&first.name]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A dry run tells what the real one does, and no kept entry loses a blob, whatever is shared
    /// and whenever it was used.
    #[test]
    fn a_dry_run_is_the_real_one(
        entries in prop::collection::vec((0..3_u8, prop::collection::vec(0..6_u8, 1..4), -2..9_i64), 1..7),
        keep in prop::option::of(0..3_usize),
        max_age in prop::option::of(0..600_u64),
        max_size_bytes in prop::option::of(0..6000_u64),
    ) {
        let (_folder, layout) = store();
        let writer = layout.writer().expect("a writer");
        for (n, (image, layers, used)) in entries.iter().enumerate() {
            let layers: Vec<Vec<u8>> = layers.iter().map(|byte| vec![*byte; 300]).collect();
            let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
            let stored = save(&writer, &entry(&image.to_string(), &n.to_string()), &layers);
            use_before(&layout, &stored, used * 100);
        }
        drop(writer);
        let retention = Retention {
            keep,
            max_age: max_age.map(Duration::from_secs),
            max_size_bytes,
            dry_run: true,
            ..all()
        };
        let told = collect(&layout, &retention).expect("told");
        let done = collect(&layout, &Retention { dry_run: false, ..retention }).expect("done");
        prop_assert_eq!(names(&told), names(&done));
        prop_assert_eq!((told.blobs, told.freed_bytes), (done.blobs, done.freed_bytes));
        let sum: u64 = done.entries.iter().map(|entry| entry.freed_bytes).sum();
        prop_assert_eq!(sum, done.freed_bytes, "all blobs were some entry's");
        let inventory = layout.inventory().expect("an inventory");
        prop_assert_eq!(inventory.size_bytes(), done.kept_bytes);
        prop_assert!(max_size_bytes.is_none_or(|max| done.kept_bytes <= max));
        prop_assert_eq!(layout.verify_all(&inventory).damaged, Vec::new());
        prop_assert_eq!(inventory.unnamed_bytes(), 0);
    }
}

#[test]
fn a_cache_mount_has_one_entry_whichever_image_saved_it() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let mount = |image: &str, mount: &str| Entry {
        kind: EntryKind::CacheMount,
        stage: None,
        mount: Some(mount.to_owned()),
        ..entry(image, image)
    };
    for (image, id) in [("app", "npm"), ("app", "cargo"), ("web", "npm")] {
        save(&writer, &mount(image, id), &[image.as_bytes()]);
    }
    drop(writer);
    let retention = Retention {
        keep: Some(1),
        ..all()
    };
    collect(&layout, &retention).expect("collected");
    let entries = layout.entries().expect("entries");
    let found: Vec<_> = entries
        .iter()
        .map(|stored| (stored.entry.mount.as_deref(), stored.entry.image.as_str()))
        .collect();
    assert_eq!(found, [(Some("cargo"), "app"), (Some("npm"), "web")]);
}
