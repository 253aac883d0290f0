//! Several processes on one store: this test binary runs itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::tests::{all, entry, noise, save, store};
use super::*;

const ROLE: &str = "STORE_TEST_ROLE";
const ROOT: &str = "STORE_TEST_ROOT";
/// How long everything at once is tried, in seconds: a person may want more than the suite.
const SECONDS: &str = "DOCKER_LAYER_CACHE_TEST_SECONDS";
/// What a child says when its work begins.
const READY: &str = "ready";

/// Not a test of its own: what a child process does.
#[test]
fn child() {
    let (Ok(role), Ok(root)) = (std::env::var(ROLE), std::env::var(ROOT)) else {
        return;
    };
    let layout = ImageLayout::open_or_create(root).expect("a store");
    writeln!(std::io::stdout(), "{READY}").expect("a pipe");
    let words: Vec<&str> = role.split(' ').collect();
    let end = |seconds: &str| {
        let seconds = seconds.parse().expect("seconds");
        Instant::now() + Duration::from_secs(seconds)
    };
    match words[..] {
        ["add", name, count] => {
            for n in 0..count.parse().expect("a number") {
                let writer = layout.writer().expect("a writer");
                let own = format!("{name} {n}");
                save(&writer, &entry(name, &own), &[b"shared", own.as_bytes()]);
            }
        }
        ["save", name, seconds] => {
            let end = end(seconds);
            for n in (0_u32..).take_while(|_| Instant::now() < end) {
                then_build(|| save_one(&layout, name, n));
            }
        }
        ["restore", name, seconds] => {
            let end = end(seconds);
            while Instant::now() < end {
                then_build(|| restore_all(&layout, &view_of(&layout, name)));
            }
        }
        ["gc", _, seconds] => {
            let end = end(seconds);
            let mut n_collected = 0;
            while Instant::now() < end {
                n_collected += u32::from(!collect_some(&layout));
            }
            assert!(n_collected > 0, "it had the store for itself at some time");
        }
        _ => unreachable!("{role}"),
    }
}

/// Leaves the store alone for as long as the work took, as a job does while it builds: otherwise
/// garbage collection would hardly ever have it for itself.
fn then_build(work: impl FnOnce()) {
    let start = Instant::now();
    work();
    std::thread::sleep(start.elapsed());
}

/// Does what `docker-save` does: layers, an adopted file, an entry, a note on it.
fn save_one(layout: &ImageLayout, name: &str, n: u32) {
    let writer = layout.writer().expect("a writer");
    let own = format!("{name} {n}").repeat(1000);
    let shared = noise(20_000);
    let entry = entry(name, &(n % 5).to_string());
    let stored = save(&writer, &entry, &[&shared, own.as_bytes()]);
    let exported = layout.root().with_extension(format!("export-{name}"));
    std::fs::write(&exported, &own).expect("written");
    writer.adopt_file(&exported, None).expect("adopted");
    let manifests = [stored.descriptor.digest];
    writer
        .annotate(&manifests, "noted", own.get(..9).unwrap_or_default())
        .expect("annotated");
}

/// Does what `docker-restore` does: while the store is held, every blob that an entry names is good
/// and fits into a view.
fn restore_all(layout: &ImageLayout, view: &Path) {
    let _hold = layout.hold().expect("held");
    assert_whole(layout);
    for stored in layout.entries().expect("entries") {
        layout.touch(&stored);
        let manifest = layout.manifest(&stored.descriptor).expect("a manifest");
        let config = layout
            .read_blob(&manifest.config, 1 << 20)
            .expect("a config");
        View::create(view, layout, &manifest, &config).expect("a view");
        for layer in &manifest.layers {
            let mut reader = layout.open_layer(layer).expect("a layer");
            reader.read_to_end(&mut Vec::new()).expect("undamaged");
        }
    }
}

/// Does what `docker-gc` does, and tells whether others were at work.
fn collect_some(layout: &ImageLayout) -> bool {
    let retention = Retention {
        keep: Some(3),
        ..all()
    };
    layout.collect_garbage(&retention).expect("no error").busy
}

fn view_of(layout: &ImageLayout, name: &str) -> PathBuf {
    layout.root().with_extension(format!("view-{name}"))
}

/// Starts a child and waits until its work begins.
fn spawn(role: &str, layout: &ImageLayout) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "image_layout::process_tests::child"])
        .env(ROLE, role)
        .env(ROOT, layout.root())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.ends_with(&format!("{READY}\n")) {
        assert_ne!(stdout.read_line(&mut line).expect("a line"), 0, "{role}");
    }
    child.stdout = Some(stdout.into_inner());
    child
}

/// Every entry is readable, and every blob that it names is what it should be.
fn assert_whole(layout: &ImageLayout) {
    let inventory = layout.inventory().expect("an inventory");
    assert!(inventory.damage.is_none());
    let damaged = layout.verify_all(&inventory).damaged;
    let damaged: Vec<_> = damaged
        .iter()
        // What is no entry's may be just on its way in or out.
        .filter(|blob| !blob.entries.is_empty())
        .collect();
    assert!(damaged.is_empty(), "{damaged:?}");
}

/// Nothing is left that is not of an entry.
fn assert_no_litter(layout: &ImageLayout) {
    super::tests::collect(layout, &all()).expect("collected");
    let inventory = layout.inventory().expect("an inventory");
    assert_eq!(inventory.unnamed_bytes(), 0);
    let left = std::fs::read_dir(layout.temporary()).expect("tmp").count();
    assert_eq!(left, 0);
    for file in std::fs::read_dir(layout.root())
        .expect("the store")
        .flatten()
    {
        let name = file.file_name().to_string_lossy().into_owned();
        let known = [
            "blobs",
            "format",
            "index.json",
            "index.lock",
            "oci-layout",
            "tmp",
            "use.lock",
        ];
        assert!(known.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn processes_lose_nothing_to_each_other() {
    let (_folder, layout) = store();
    let children: Vec<Child> = ["a", "b", "c"]
        .iter()
        .map(|name| spawn(&format!("add {name} 10"), &layout))
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
                    layout.collect_garbage(&all()).expect("no error");
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
fn two_saves_a_gc_and_a_restore_at_once() {
    let (_folder, layout) = store();
    save_one(&layout, "a", 0);
    let seconds = std::env::var(SECONDS).unwrap_or_else(|_| "5".to_owned());
    let roles = ["save a", "save b", "gc x", "restore r"];
    let children = roles.map(|role| (role, spawn(&format!("{role} {seconds}"), &layout)));
    for (role, mut child) in children {
        let mut said = String::new();
        let mut stdout = child.stdout.take().expect("a pipe");
        stdout.read_to_string(&mut said).expect("text");
        assert!(child.wait().expect("a child").success(), "{role}: {said}");
    }
    assert_whole(&layout);
    assert_no_litter(&layout);
    assert!(layout.entries().expect("entries").len() >= 3);
}

/// 210 kills of saves, restores and garbage collections, each at some point of its work.
#[test]
fn killed_at_any_point_the_store_is_whole() {
    const ROUNDS: u64 = 70;
    let (_folder, layout) = store();
    let roles = ["save a 600", "restore r 600", "gc x 600"];
    for round in 0..ROUNDS {
        let mut children = roles.map(|role| spawn(role, &layout));
        // Not waiting for anything: some point of their work.
        std::thread::sleep(Duration::from_micros(round * 7919 % 25_000));
        for child in &mut children {
            assert!(
                child.try_wait().expect("a child").is_none(),
                "it failed by itself"
            );
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
        assert_whole(&layout);
        // The next run completes, over what the killed ones left.
        if round % 10 == 0 {
            restore_all(&layout, &view_of(&layout, "r"));
            save_one(&layout, "next", u32::try_from(round).expect("few"));
        }
    }
    let writer = layout.writer().expect("no lock is left");
    let left = std::fs::read_dir(layout.temporary()).expect("tmp").count();
    assert_eq!(left, 0, "the next writer clears what killed ones left");
    drop(writer);
    assert!(!layout.entries().expect("entries").is_empty());
    assert_no_litter(&layout);
}
