//! Checks bytes against a digest of any known algorithm.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::oci::Digest;

/// Computes the digest of bytes as they pass.
pub(super) struct Verifier {
    expected: Digest,
    hasher: Hasher,
}

enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Verifier {
    /// Returns a verifier, `None` for an algorithm that is not known.
    pub(super) fn new(expected: &Digest) -> Option<Self> {
        let hasher = match expected.algorithm() {
            "sha256" => Hasher::Sha256(Sha256::new()),
            "sha384" => Hasher::Sha384(Sha384::new()),
            "sha512" => Hasher::Sha512(Sha512::new()),
            _ => return None,
        };
        Some(Self {
            expected: expected.clone(),
            hasher,
        })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.hasher {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha384(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Returns what the bytes are where that is not what was expected.
    pub(super) fn finish(self) -> Result<(), Option<Digest>> {
        let found = match self.hasher {
            Hasher::Sha256(hasher) => hex(&hasher.finalize()),
            Hasher::Sha384(hasher) => hex(&hasher.finalize()),
            Hasher::Sha512(hasher) => hex(&hasher.finalize()),
        };
        if found == self.expected.encoded() {
            Ok(())
        } else {
            Err(format!("{}:{found}", self.expected.algorithm())
                .parse()
                .ok())
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}
