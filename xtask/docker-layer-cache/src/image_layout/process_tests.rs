//! Several processes on one store: this test binary runs itself.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::tests::{entry, save, store};
use super::*;

const ROLE: &str = "STORE_TEST_ROLE";
const ROOT: &str = "STORE_TEST_ROOT";

/// Not a test of its own: what a child process does.
#[test]
fn child() {
    let (Ok(role), Ok(root)) = (std::env::var(ROLE), std::env::var(ROOT)) else {
        return;
    };
    let layout = ImageLayout::open_or_create(root).expect("a store");
    match role.split_once(' ') {
        Some(("save", name)) => {
            for n in 0..10 {
                let writer = layout.writer().expect("a writer");
                let own = format!("{name} {n}");
                save(&writer, &entry(name, &own), &[b"shared", own.as_bytes()]);
            }
        }
        Some(("forever", name)) => {
            for n in 0_u32.. {
                let writer = layout.writer().expect("a writer");
                let own = format!("{name} {n}").repeat(1000);
                save(
                    &writer,
                    &entry(name, &(n % 5).to_string()),
                    &[own.as_bytes()],
                );
                drop(writer);
                let retention = Retention {
                    keep: Some(3),
                    grace: Duration::ZERO,
                    ..Retention::default()
                };
                layout.collect_garbage(&retention).expect("no error");
            }
        }
        _ => unreachable!("{role}"),
    }
}

fn spawn(role: &str, layout: &ImageLayout) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "image_layout::process_tests::child"])
        .env(ROLE, role)
        .env(ROOT, layout.root())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child")
}

/// Every entry is readable, and every blob that it names is what it should be.
fn assert_whole(layout: &ImageLayout) {
    assert!(layout.index().expect("an index").damage.is_none());
    for stored in layout.entries().expect("entries") {
        let manifest = layout.manifest(&stored.descriptor).expect("a manifest");
        let mut blobs = manifest.layers;
        blobs.push(manifest.config);
        for (digest, state) in layout.verify(&blobs) {
            assert_eq!(state, BlobState::Good, "{digest} of {}", stored.name);
        }
    }
}

#[test]
fn processes_lose_nothing_to_each_other() {
    let (_folder, layout) = store();
    let children: Vec<Child> = ["a", "b", "c"]
        .iter()
        .map(|name| spawn(&format!("save {name}"), &layout))
        .collect();
    std::thread::scope(|scope| {
        for name in ["d", "e"] {
            let layout = layout.clone();
            scope.spawn(move || {
                for n in 0..10 {
                    let writer = layout.writer().expect("a writer");
                    let own = format!("{name} {n}");
                    save(&writer, &entry(name, &own), &[own.as_bytes()]);
                    drop(writer);
                    let retention = Retention {
                        grace: Duration::ZERO,
                        ..Retention::default()
                    };
                    layout.collect_garbage(&retention).expect("no error");
                }
            });
        }
    });
    for mut child in children {
        assert!(child.wait().expect("a child").success());
    }
    assert_eq!(layout.entries().expect("entries").len(), 50);
    assert_whole(&layout);
}

#[test]
fn killed_at_any_point_the_store_is_whole() {
    let (_folder, layout) = store();
    let start = Instant::now();
    for round in 0..20_u64 {
        let mut children = [spawn("forever a", &layout), spawn("forever b", &layout)];
        std::thread::sleep(Duration::from_millis(30 + round * 7 % 50));
        for child in &mut children {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
        assert_whole(&layout);
    }
    assert!(start.elapsed() < Duration::from_secs(60));
    let writer = layout.writer().expect("no lock is left");
    let left = std::fs::read_dir(layout.temporary()).expect("tmp").count();
    assert_eq!(left, 0, "the next writer clears what killed ones left");
    assert!(!layout.entries().expect("entries").is_empty());
    drop(writer);
}
