//! The listing: what is in a cache mount, one line each.
//!
//! ```text
//! docker-layer-cache cache-mount 1
//! p <digest> <size>                                  a pack: SHA-256 and size, uncompressed
//! d <mode> <uid> <gid> <time> <path>                 a folder; the first is the mount itself, `.`
//! f <mode> <uid> <gid> <time> <path> <chunk> …       a file
//! l <uid> <gid> <time> <path> <target>               a symbolic link
//! h <path> <path of a file before it>                a hard link
//! ```
//!
//! A chunk is `<pack>:<offset>:<size>:<digest>`: the number of the pack, from 0, the place in it,
//! and its SHA-256. A time is seconds since 1970, a point, nine digits. In paths and targets every byte that
//! is not printable ASCII, the space and `%` are written as `%` and two hex digits. What is in a
//! folder comes behind the folder.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use crate::oci::Digest;

/// What a listing begins with.
const HEAD: &str = "docker-layer-cache cache-mount 1";
/// No pack is larger, in bytes: it is held in memory.
pub(super) const PACK_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The mount itself.
const ROOT: &[u8] = b".";

/// What is in a cache mount, and where in the packs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The packs in use.
    pub packs: Vec<Pack>,
    /// The mount itself, then everything in it: a folder before what is in it.
    pub nodes: Vec<Node>,
}

/// A pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Of its uncompressed bytes.
    pub digest: Digest,
    /// Uncompressed, in bytes.
    pub size: u64,
}

/// Something in a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The path below the mount; `.` for the mount itself.
    pub path: Vec<u8>,
    /// Permissions, with the set-user-ID, set-group-ID and sticky bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When it was last changed.
    pub modified: Modified,
    /// What it is.
    pub kind: NodeKind,
}

/// A time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modified {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds behind them.
    pub nanoseconds: u32,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A folder.
    Folder,
    /// A file: its chunks, in order.
    File(Vec<Chunk>),
    /// A symbolic link: its target as it is.
    Symlink(Vec<u8>),
    /// A hard link: the path of a file before it. Mode, owner and time are that file's.
    HardLink(Vec<u8>),
}

/// A file, or a piece of it, in a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The pack, by its place in the listing.
    pub pack: usize,
    /// Where in the pack, in bytes.
    pub offset: u64,
    /// How long, in bytes.
    pub size: u64,
    /// Of its bytes.
    pub digest: Digest,
}

/// Why a text is no listing that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingError {
    line: usize,
    reason: &'static str,
}

impl Listing {
    /// Reads a listing. One that was read names no path outside the mount and none twice, has every
    /// node in a folder of the listing, and every chunk within its pack.
    ///
    /// # Errors
    /// Returns the first line that is wrong.
    pub fn parse(text: &[u8]) -> Result<Listing, ListingError> {
        let error = |line, reason| ListingError { line, reason };
        let text = std::str::from_utf8(text).map_err(|_| error(1, "it is not text"))?;
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        if lines.next().is_none_or(|(_, head)| head != HEAD) {
            return Err(error(1, "it is no listing of this version"));
        }
        let mut listing = Listing::default();
        let mut known: HashMap<Vec<u8>, Known> = HashMap::new();
        for (number, line) in lines {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            let mut words = rest.split(' ');
            let read = if kind == "p" {
                pack(&mut words).map(|pack| listing.packs.push(pack))
            } else {
                node(kind, &mut words, &listing.packs)
                    .and_then(|node| add(&mut listing.nodes, &mut known, node))
            };
            let read = read.and_then(|()| match words.next() {
                None => Ok(()),
                Some(_) => Err("there is something behind it"),
            });
            read.map_err(|reason| error(number, reason))?;
        }
        if listing.nodes.is_empty() {
            return Err(error(2, "it lists nothing, not even the mount"));
        }
        Ok(listing)
    }

    /// Returns the text of the listing.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for pack in &self.packs {
            let _ = writeln!(text, "p {} {}", pack.digest.encoded(), pack.size);
        }
        for node in &self.nodes {
            let path = Escaped(&node.path);
            let Node { uid, gid, .. } = node;
            let (mode, time) = (format_args!("{:o}", node.mode), node.modified);
            let _ = match &node.kind {
                NodeKind::Folder => writeln!(text, "d {mode} {uid} {gid} {time} {path}"),
                NodeKind::Symlink(target) => {
                    writeln!(text, "l {uid} {gid} {time} {path} {}", Escaped(target))
                }
                NodeKind::HardLink(file) => writeln!(text, "h {path} {}", Escaped(file)),
                NodeKind::File(chunks) => {
                    let _ = write!(text, "f {mode} {uid} {gid} {time} {path}");
                    for chunk in chunks {
                        let Chunk {
                            pack, offset, size, ..
                        } = chunk;
                        let digest = chunk.digest.encoded();
                        let _ = write!(text, " {pack}:{offset}:{size}:{digest}");
                    }
                    writeln!(text)
                }
            };
        }
        text
    }

    /// Returns the size of all files together, in bytes; a file with several hard links counts once.
    pub fn size_bytes(&self) -> u64 {
        self.nodes.iter().map(Node::size_bytes).sum()
    }
}

impl Node {
    /// Returns the size in bytes; 0 for what is no file.
    pub(super) fn size_bytes(&self) -> u64 {
        match &self.kind {
            NodeKind::File(chunks) => chunks.iter().map(|chunk| chunk.size).sum(),
            _ => 0,
        }
    }
}

type Words<'a> = std::str::Split<'a, char>;

fn word<'a>(words: &mut Words<'a>) -> Result<&'a str, &'static str> {
    words.next().ok_or("something is missing")
}

fn number<T: std::str::FromStr>(words: &mut Words<'_>) -> Result<T, &'static str> {
    word(words)?.parse().map_err(|_| "a number is none")
}

fn digest(hex: &str) -> Result<Digest, &'static str> {
    let digest = format!("sha256:{hex}").parse();
    digest.map_err(|_| "a digest is none")
}

fn pack(words: &mut Words<'_>) -> Result<Pack, &'static str> {
    let digest = digest(word(words)?)?;
    let size = number(words)?;
    if size > PACK_BYTES_MAX {
        return Err("a pack is too large");
    }
    Ok(Pack { digest, size })
}

fn node(kind: &str, words: &mut Words<'_>, packs: &[Pack]) -> Result<Node, &'static str> {
    let mut node = Node {
        path: Vec::new(),
        mode: 0,
        uid: 0,
        gid: 0,
        modified: Modified::default(),
        kind: NodeKind::Folder,
    };
    if matches!(kind, "d" | "f") {
        node.mode = u32::from_str_radix(word(words)?, 8).map_err(|_| "a mode is none")?;
        if node.mode > 0o7777 {
            return Err("a mode is none");
        }
    }
    if matches!(kind, "d" | "f" | "l") {
        node.uid = number(words)?;
        node.gid = number(words)?;
        node.modified = time(word(words)?)?;
    }
    node.path = unescape(word(words)?)?;
    node.kind = match kind {
        "d" => NodeKind::Folder,
        "f" => {
            let chunks = words.map(|word| chunk(word, packs));
            NodeKind::File(chunks.collect::<Result<_, _>>()?)
        }
        "l" => NodeKind::Symlink(unescape(word(words)?)?),
        "h" => NodeKind::HardLink(unescape(word(words)?)?),
        _ => return Err("it is of no kind that we know"),
    };
    Ok(node)
}

fn chunk(text: &str, packs: &[Pack]) -> Result<Chunk, &'static str> {
    let mut words = text.split(':');
    let chunk = Chunk {
        pack: number(&mut words)?,
        offset: number(&mut words)?,
        size: number(&mut words)?,
        digest: digest(word(&mut words)?)?,
    };
    let end = chunk.offset.checked_add(chunk.size);
    let fits = |pack: &Pack| end.is_some_and(|end| end <= pack.size);
    match packs.get(chunk.pack) {
        Some(pack) if fits(pack) => Ok(chunk),
        _ => Err("a chunk is in no pack"),
    }
}

fn time(text: &str) -> Result<Modified, &'static str> {
    let wrong = "a time is none";
    let (seconds, nanoseconds) = text.split_once('.').ok_or(wrong)?;
    if nanoseconds.len() != 9 || nanoseconds.bytes().any(|byte| !byte.is_ascii_digit()) {
        return Err(wrong);
    }
    Ok(Modified {
        seconds: seconds.parse().map_err(|_| wrong)?,
        nanoseconds: nanoseconds.parse().map_err(|_| wrong)?,
    })
}

/// What a path is that was listed before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Folder,
    File,
    Other,
}

/// Adds a node where its path may be. `known` are the paths so far.
fn add(
    nodes: &mut Vec<Node>,
    known: &mut HashMap<Vec<u8>, Known>,
    node: Node,
) -> Result<(), &'static str> {
    let kind = match node.kind {
        NodeKind::Folder => Known::Folder,
        NodeKind::File(_) => Known::File,
        NodeKind::Symlink(_) | NodeKind::HardLink(_) => Known::Other,
    };
    if nodes.is_empty() {
        if node.path != ROOT || kind != Known::Folder {
            return Err("the mount itself is not the first");
        }
        nodes.push(node);
        return Ok(());
    }
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
    if !node.path.split(|byte| *byte == b'/').all(is_name) {
        return Err("a path is none within the mount");
    }
    let parent = node.path.iter().rposition(|byte| *byte == b'/');
    let is_in_folder =
        parent.is_none_or(|end| known.get(&node.path[..end]) == Some(&Known::Folder));
    if !is_in_folder {
        return Err("a path is in no folder that is listed before it");
    }
    match &node.kind {
        NodeKind::HardLink(file) if known.get(file) != Some(&Known::File) => {
            return Err("a hard link is to no file that is listed before it");
        }
        NodeKind::Symlink(target) if target.is_empty() || target.contains(&0) => {
            return Err("a symbolic link has no target");
        }
        _ => {}
    }
    if known.insert(node.path.clone(), kind).is_some() {
        return Err("a path is listed twice");
    }
    nodes.push(node);
    Ok(())
}

/// Writes bytes such that they are one word of a line.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'%';
        if let (true, Ok(text)) = (self.0.iter().all(is_plain), std::str::from_utf8(self.0)) {
            return f.write_str(text);
        }
        for byte in self.0 {
            if is_plain(byte) {
                f.write_char(char::from(*byte))?;
            } else {
                write!(f, "%{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, &'static str> {
    if !text.contains('%') {
        return Ok(text.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let hex = part
            .get(..2)
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.ok_or("a path is written wrongly")?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    Ok(bytes)
}

impl fmt::Display for Modified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanoseconds)
    }
}

impl fmt::Display for ListingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for ListingError {}
