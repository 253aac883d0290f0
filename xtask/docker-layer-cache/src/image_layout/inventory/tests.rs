use std::fs;

use super::super::tests::{DAMAGES, all, collect, entry, noise, save, store};
use super::super::{BlobState, Retention};
use super::*;

#[test]
fn who_shares_what() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    let shared = noise(10_000);
    let a = save(&writer, &entry("a", "1"), &[&shared, b"of a"]);
    let b = save(&writer, &entry("b", "1"), &[&shared, b"of b"]);
    writer.put_blob("any", b"garbage").expect("a blob");

    let inventory = layout.inventory().expect("an inventory");
    let names: Vec<&str> = inventory
        .items
        .iter()
        .map(|item| item.name.as_str())
        .collect();
    assert_eq!(names, [&a.name, &b.name]);
    assert_eq!(inventory.unnamed_bytes(), 7);
    let layer = &layout.manifest(&a.descriptor).expect("a manifest").layers[0];
    assert_eq!(inventory.users(&layer.digest).count(), 2);
    let sums: Vec<(u64, u64)> = inventory
        .items
        .iter()
        .map(|item| inventory.own_and_shared_bytes(item))
        .collect();
    assert_eq!((sums[0].1, sums[1].1), (layer.size, layer.size));
    assert_eq!(
        inventory.size_bytes(),
        sums[0].0 + sums[1].0 + layer.size + 7,
        "every byte is somebody's own, shared, or garbage"
    );
    assert_eq!(layout.verify_all(&inventory).damaged, []);
}

#[test]
fn all_damage_is_found_with_those_who_need_it() {
    for (name, damage, expected) in DAMAGES {
        let (_folder, layout) = store();
        let writer = layout.writer().expect("a writer");
        let shared = noise(10_000);
        let a = save(&writer, &entry("a", "1"), &[&shared, b"of a"]);
        let b = save(&writer, &entry("b", "1"), &[&shared, b"of b"]);
        let manifest = layout.manifest(&a.descriptor).expect("a manifest");
        for (digest, entries) in [
            (&manifest.layers[0].digest, vec![a.name.clone(), b.name]),
            (&a.descriptor.digest, vec![a.name.clone()]),
        ] {
            damage(&layout.blob_path(digest));
            let verified = layout.verify_all(&layout.inventory().expect("an inventory"));
            let found = verified.damaged.iter().find(|blob| blob.digest == *digest);
            let found = found.unwrap_or_else(|| panic!("{name}: {verified:?}"));
            assert_eq!((&found.state, &found.entries), (&expected, &entries));
        }
    }
}

#[test]
fn damaged_garbage_is_told_and_goes() {
    let (_folder, layout) = store();
    let writer = layout.writer().expect("a writer");
    save(&writer, &entry("a", "1"), &[b"one"]);
    let garbage = writer.put_blob("any", b"garbage").expect("a blob");
    drop(writer);
    fs::write(layout.blob_path(&garbage.digest), b"GARBAGE").expect("written");
    let verified = layout.verify_all(&layout.inventory().expect("an inventory"));
    let [blob] = verified.damaged.as_slice() else {
        panic!("{verified:?}");
    };
    assert_eq!(blob.state, BlobState::Damaged("other bytes"));
    assert_eq!(blob.entries, [""; 0]);
    collect(&layout, &all()).expect("collected");
    let verified = layout.verify_all(&layout.inventory().expect("an inventory"));
    assert_eq!((verified.good_blobs, verified.damaged), (3, Vec::new()));
}

#[test]
fn a_store_that_is_not_there_holds_nothing() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let layout = ImageLayout::open_read_only(folder.path().join("none")).expect("empty");
    let inventory = layout.inventory().expect("an inventory");
    assert!(inventory.items.is_empty() && inventory.damage.is_none());
    assert_eq!(inventory.size_bytes(), 0);
    layout
        .collect_garbage(&Retention::default())
        .expect("nothing to do");
    assert!(!layout.root().exists());
}
