//! The hash tree, held against its own second way and pinned.

use std::collections::BTreeMap;

use counterfoil::digest::Sha256;
use counterfoil::image::verity::{Assembly, Block, EPOCH, Geometry, Hasher, Salt, digests, hash};
use proptest::prelude::*;

use crate::support::many_files::noise;

/// Data of so many blocks with its tree behind it, and the root hash.
pub(crate) fn volume(data: &[u8], salt: &Salt) -> (Vec<u8>, Sha256) {
    let geometry = Geometry::new(data.len() as u64 / 4096).unwrap();
    let mut file = data.to_vec();
    file.resize(usize::try_from(geometry.size()).unwrap(), 0xaa);
    let root = hash(data, geometry, salt, |placed| {
        let at = usize::try_from(placed.at).unwrap() * 4096;
        file[at..at + 4096].copy_from_slice(&placed.block[..]);
    });
    (file, root.unwrap())
}

/// A change that alters these bytes needs a new epoch beside `verity/1`, not a new digest here.
#[test]
fn epoch_1_is_pinned() {
    assert_eq!(EPOCH, "verity/1");
    let (file, root) = volume(&noise(1, 200 * 4096), &Salt::default());
    assert_eq!(
        root.to_string(),
        "6a7f9d7746afdca38f56cd33eb7dc9a37101f2d6eacc7a4bf6d09e1e3455441b"
    );
    assert_eq!(
        Sha256::of(file).to_string(),
        "14f81c468125ef44bf9544bf0e7777252df6153c2b2709f92a41897697420b54"
    );
}

/// verity.rst, "Hash Tree", word by word: levels of digests until one block is left.
fn by_the_book(data: &[u8], salt: &Salt) -> (Vec<Vec<u8>>, Sha256) {
    let digest = |block: &[u8]| Sha256::of([salt.bytes(), block].concat());
    let mut levels = Vec::new();
    let mut below = data.to_vec();
    while below.len() > 4096 {
        let mut level: Vec<u8> = below.chunks(4096).flat_map(|block| digest(block).0).collect();
        level.resize(level.len().next_multiple_of(4096), 0);
        levels.push(level.clone());
        below = level;
    }
    (levels, digest(&below))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_tree_is_that_of_the_book(
        blocks in prop_oneof![1_usize..6, 126_usize..131, 254_usize..259, 1_usize..600],
        salt in "([0-9a-f]{2}){1,64}|-",
        seed in any::<u64>(),
    ) {
        let salt: Salt = salt.parse().unwrap();
        let mut data = noise(seed, blocks * 4096);
        // Zeroes are hashed in another way.
        data[..4096].fill(0);
        let (file, root) = volume(&data, &salt);
        let (levels, wanted) = by_the_book(&data, &salt);
        prop_assert_eq!(root, wanted);
        let mut expected = data;
        expected.extend(levels.iter().rev().flatten());
        prop_assert!(file == expected);
    }

    #[test]
    fn digests_may_arrive_in_any_order(units in 2_u64..700, seed in any::<u64>()) {
        let geometry = Geometry::new(units * 128 - 5).unwrap();
        let hasher = Hasher::new(&Salt::default());
        let digest = |unit: u64| Sha256::of(unit.to_le_bytes());
        let (first, _) = digests(&hasher, &[[1; 4096], [0; 4096]]);
        let assemble = |order: &[u64]| {
            let mut assembly = Assembly::new(geometry, hasher.clone());
            let mut placed: BTreeMap<u64, Box<Block>> = BTreeMap::new();
            let mut put = |block: counterfoil::image::verity::Placed| {
                assert!(placed.insert(block.at, block.block).is_none(), "a block comes once");
            };
            for unit in order {
                assembly.add(*unit, digest(*unit)).into_iter().for_each(&mut put);
            }
            let (root, rest) = assembly.finish(first.clone()).unwrap();
            rest.into_iter().for_each(put);
            (root, placed)
        };
        let mut order: Vec<u64> = (1..units).collect();
        let sorted = assemble(&order);
        let keys: BTreeMap<u64, Sha256> =
            order.iter().map(|unit| (*unit, Sha256::of((seed ^ unit).to_le_bytes()))).collect();
        order.sort_by_key(|unit| keys[unit]);
        prop_assert_eq!(assemble(&order), sorted);
    }
}

/// Taken roughly in order, units leave hardly a block waiting: memory does not grow with the data.
#[test]
fn few_blocks_wait() {
    let geometry = Geometry::new(1 << 28).unwrap();
    let mut assembly = Assembly::new(geometry, Hasher::new(&Salt::default()));
    let mut most = 0;
    // Many threads, each as much as 64 units ahead.
    for window in (0..geometry.units() / 64).map(|window| window * 64) {
        for unit in (window..window + 64).rev().filter(|unit| *unit > 0) {
            assembly.add(unit, Sha256([1; 32]));
            most = most.max(assembly.waiting());
        }
    }
    assert!(most <= 2 * geometry.levels(), "{most}");
    let missing = Assembly::new(geometry, Hasher::new(&Salt::default()));
    assert!(missing.finish(Box::new([0; 4096])).is_err(), "a tree with holes has no root");
}
