//! RFC 6962, section 2.1, word by word and without a thought for speed; and a log's files read without our code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use counterfoil::digest::Sha256;

/// A tree over leaf hashes. Hashes of ranges are kept, since the same ones are asked for again and again.
#[derive(Default)]
pub(crate) struct Naive {
    pub(crate) leaves: Vec<Sha256>,
    ranges: BTreeMap<(usize, usize), Sha256>,
}

impl Naive {
    pub(crate) fn push(&mut self, entry: &[u8]) {
        self.leaves.push(Sha256::of([&[0], entry].concat()));
    }

    /// MTH(D[n])
    pub(crate) fn root(&mut self, size: usize) -> Sha256 {
        if size == 0 {
            return Sha256::of("");
        }
        self.range(0, size)
    }

    fn range(&mut self, from: usize, to: usize) -> Sha256 {
        if to - from == 1 {
            return self.leaves[from];
        }
        if let Some(known) = self.ranges.get(&(from, to)) {
            return *known;
        }
        let k = k(to - from);
        let (left, right) = (self.range(from, from + k), self.range(from + k, to));
        let hash = Sha256::of([&[1][..], &left.0, &right.0].concat());
        self.ranges.insert((from, to), hash);
        hash
    }

    /// PATH(m, D[n])
    pub(crate) fn path(&mut self, m: usize, from: usize, to: usize) -> Vec<Sha256> {
        let n = to - from;
        if n <= 1 {
            return Vec::new();
        }
        let k = k(n);
        if m < k {
            let mut path = self.path(m, from, from + k);
            path.push(self.range(from + k, to));
            path
        } else {
            let mut path = self.path(m - k, from + k, to);
            path.push(self.range(from, from + k));
            path
        }
    }

    /// PROOF(m, D[n])
    pub(crate) fn proof(&mut self, m: usize, n: usize) -> Vec<Sha256> {
        self.subproof(m, 0, n, true)
    }

    fn subproof(&mut self, m: usize, from: usize, to: usize, known: bool) -> Vec<Sha256> {
        let n = to - from;
        if m == n {
            return if known { Vec::new() } else { vec![self.range(from, to)] };
        }
        let k = k(n);
        if m <= k {
            let mut proof = self.subproof(m, from, from + k, known);
            proof.push(self.range(from + k, to));
            proof
        } else {
            let mut proof = self.subproof(m - k, from + k, to, false);
            proof.push(self.range(from, from + k));
            proof
        }
    }
}

/// "k be the largest power of two smaller than n"
fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// Size and root of a checkpoint.
pub(crate) fn head(log: &Path) -> (usize, Sha256) {
    let text = fs::read_to_string(log.join("checkpoint")).unwrap();
    let mut lines = text.lines().skip(1);
    let size = lines.next().unwrap().parse().unwrap();
    let root = Base64::decode_vec(lines.next().unwrap()).unwrap();
    (size, Sha256(root.try_into().unwrap()))
}

/// The first `size` entries, out of the bundles, from bundle `from` on.
pub(crate) fn entries(log: &Path, from: usize, size: usize) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for bundle in from..size.div_ceil(256) {
        let width = (size - bundle * 256).min(256);
        let full = bundle_path(log, bundle);
        let partial = PathBuf::from(format!("{}.p/{width}", full.display()));
        let bytes = fs::read(&partial).or_else(|_| fs::read(&full)).unwrap();
        let mut rest = &bytes[..];
        for _ in 0..width {
            let length = usize::from(rest[0]) << 8 | usize::from(rest[1]);
            entries.push(rest[2..2 + length].to_vec());
            rest = &rest[2 + length..];
        }
    }
    entries
}

fn bundle_path(log: &Path, index: usize) -> PathBuf {
    let (thousands, rest) = (index / 1000, index % 1000);
    match thousands {
        0 => log.join(format!("tile/entries/{rest:03}")),
        _ => log.join(format!("tile/entries/x{thousands:03}/{rest:03}")),
    }
}
