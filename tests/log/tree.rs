//! Our tree against the naive one.

use std::convert::Infallible;

use counterfoil::digest::Sha256;
use counterfoil::log::merkle::{self, Hashes};
use proptest::prelude::*;

use crate::naive::Naive;
use crate::place::entry;

/// Complete subtrees by height.
struct Complete(Vec<Vec<Sha256>>);

impl Complete {
    fn of(size: usize) -> Self {
        let mut rows = vec![(0..size).map(|index| merkle::leaf(&entry(index))).collect::<Vec<_>>()];
        while rows.last().unwrap().len() > 1 {
            let row = rows.last().unwrap().chunks_exact(2);
            rows.push(row.map(|pair| merkle::node(&pair[0], &pair[1])).collect());
        }
        Self(rows)
    }
}

impl Hashes for Complete {
    type Error = Infallible;

    fn subtree(&mut self, height: u32, index: u64) -> Result<Sha256, Infallible> {
        Ok(self.0[height as usize][usize::try_from(index).unwrap()])
    }
}

fn naive(size: usize) -> Naive {
    let mut naive = Naive::default();
    (0..size).for_each(|index| naive.push(&entry(index)));
    naive
}

const ALL: usize = 600;

#[test]
fn proofs_of_every_small_tree() {
    let (mut naive, mut ours) = (naive(ALL), Complete::of(ALL));
    for size in 0..=ALL {
        let root = naive.root(size);
        let size64 = size as u64;
        assert_eq!(merkle::root(&mut ours, size64).unwrap(), root, "{size}");
        // Of the larger ones every proof would take minutes: each size, with some of its leaves.
        let step = if size <= 130 { 1 } else { 37 };
        for index in (0..size).step_by(step) {
            let proof = merkle::inclusion(&mut ours, index as u64, size64).unwrap();
            assert_eq!(proof, naive.path(index, 0, size), "{index} of {size}");
            let leaf = naive.leaves[index];
            let given =
                |index, size, proof: &[Sha256]| merkle::inclusion_root(index, size, leaf, proof);
            assert_eq!(given(index as u64, size64, &proof), Some(root), "{index} of {size}");
            // One hash more or less is another proof.
            if let Some((_, less)) = proof.split_last() {
                assert_eq!(given(index as u64, size64, less), None);
            }
            assert_eq!(given(index as u64, size64, &[&proof[..], &[root]].concat()), None);
            assert_eq!(given(size64, size64, &proof), None);
        }
        for old in (1..=size).rev().step_by(step) {
            let proof = merkle::consistency(&mut ours, old as u64, size64).unwrap();
            let expected = if old == size { Vec::new() } else { naive.proof(old, size) };
            assert_eq!(proof, expected, "{old} of {size}");
            let before = naive.root(old);
            assert!(
                merkle::consistent(old as u64, &before, size64, &root, &proof),
                "{old} of {size}"
            );
        }
    }
}

#[test]
fn a_forged_proof_of_consistency() {
    let (mut naive, mut ours) = (naive(ALL), Complete::of(ALL));
    let other = Sha256::of("other");
    for (old, new) in [(1, 2), (3, 4), (4, 8), (5, 8), (6, 7), (256, 257), (255, 512), (100, 600)] {
        let proof = merkle::consistency(&mut ours, old, new).unwrap();
        let roots = |size: u64| usize::try_from(size).unwrap();
        let (before, after) = (naive.root(roots(old)), naive.root(roots(new)));
        let holds =
            |before, after, proof: &[Sha256]| merkle::consistent(old, &before, new, &after, proof);
        assert!(holds(before, after, &proof));
        assert!(!holds(other, after, &proof), "{old} {new}");
        assert!(!holds(before, other, &proof), "{old} {new}");
        for at in 0..proof.len() {
            let mut forged = proof.clone();
            forged[at] = other;
            assert!(!holds(before, after, &forged), "{old} {new} {at}");
            forged.remove(at);
            assert!(!holds(before, after, &forged), "{old} {new} {at}");
        }
        assert!(!holds(before, after, &[&proof[..], &[other]].concat()), "{old} {new}");
        assert!(!merkle::consistent(new, &after, old, &before, &proof), "backwards");
    }
    let (empty, one) = (merkle::empty(), naive.root(1));
    assert!(merkle::consistent(0, &empty, 1, &one, &[]));
    assert!(!merkle::consistent(0, &one, 1, &one, &[]), "no tree without leaves has another root");
    assert!(!merkle::consistent(0, &empty, 1, &one, &[one]));
    assert!(!merkle::consistent(1, &one, 1, &one, &[one]));
    assert!(!merkle::consistent(1, &one, 1, &empty, &[]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_large_trees(size in 601_usize..40_000, index in 0_usize..40_000, old in 1_usize..40_000) {
        let (index, old) = (index % size, 1 + old % size);
        let (mut naive, mut ours) = (naive(size), Complete::of(size));
        let root = naive.root(size);
        let proof = merkle::inclusion(&mut ours, index as u64, size as u64).unwrap();
        prop_assert_eq!(&proof, &naive.path(index, 0, size));
        let leaf = naive.leaves[index];
        prop_assert_eq!(merkle::inclusion_root(index as u64, size as u64, leaf, &proof), Some(root));
        let proof = merkle::consistency(&mut ours, old as u64, size as u64).unwrap();
        if old < size {
            prop_assert_eq!(&proof, &naive.proof(old, size));
        }
        prop_assert!(merkle::consistent(old as u64, &naive.root(old), size as u64, &root, &proof));
    }

    /// Whatever a stranger sends is answered, and not believed.
    #[test]
    fn strange_proofs(
        index: u64, size: u64, other: u64, count in 0_usize..70, seed: [u8; 32],
    ) {
        let hashes: Vec<_> = (0..count).map(|n| Sha256::of([&seed[..], &n.to_le_bytes()].concat())).collect();
        let root = Sha256(seed);
        prop_assert_ne!(merkle::inclusion_root(index, size, root, &hashes), Some(Sha256::of("root")));
        if size != other {
            prop_assert!(!merkle::consistent(size, &root, other, &Sha256::of("root"), &hashes));
        }
    }
}
