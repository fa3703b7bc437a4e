//! What could be different: the lists that the search goes through, most likely first.

use crate::launch::cpu::{Cpu, Signature};
use crate::launch::features::SevFeatures;

/// How far off the beaten track a variant is, which says with what else it is combined.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Reach {
    /// With any one other change.
    Near,
    /// With another number of vCPUs.
    Wide,
    /// With nothing else.
    Far,
}

/// CPU signatures, none twice.
pub(super) fn signatures(reported: Option<Signature>) -> Vec<(Reach, Cpu)> {
    let named = Cpu::names().filter_map(|name| Cpu::named(&name).ok());
    let parts = PARTS.iter().map(|(_, signature)| Cpu::of(Signature(*signature)));
    let near = reported.map(Cpu::of).into_iter().chain(named).chain(parts);
    let grid = |steppings: std::ops::RangeInclusive<u32>| {
        let ranges = SERVERS.iter().cloned();
        let models = ranges.flat_map(|(family, models)| models.map(move |model| (family, model)));
        models.flat_map(move |(family, model)| {
            let signature = move |stepping| Signature::new(family, model, stepping).ok();
            steppings.clone().filter_map(signature).map(Cpu::of)
        })
    };
    let mut list: Vec<(Reach, Cpu)> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (reach, cpu) in near
        .map(|cpu| (Reach::Near, cpu))
        .chain(grid(0..=3).map(|cpu| (Reach::Wide, cpu)))
        .chain(grid(4..=15).map(|cpu| (Reach::Far, cpu)))
    {
        if seen.insert(cpu.signature) {
            list.push((reach, cpu));
        }
    }
    list
}

/// The processor of this signature, by AMD's name for it.
pub(super) fn part(signature: Signature) -> Option<&'static str> {
    PARTS.iter().find(|(_, known)| *known == signature.0).map(|(name, _)| *name)
}

/// Values of SEV_FEATURES near to `recorded`, none twice and none that is recorded.
pub(super) fn features(recorded: &[SevFeatures]) -> Vec<(Reach, SevFeatures)> {
    let sets = |bits: &'static [u32]| {
        (0..1u64 << bits.len()).map(move |choice| {
            let chosen = bits.iter().enumerate().filter(move |(at, _)| choice >> at & 1 == 1);
            SevFeatures(chosen.fold(SevFeatures::SNP.0, |value, (_, bit)| value | 1 << bit))
        })
    };
    let flips = |reach, bits: &[u32]| {
        let flip = |bit: u32| recorded.iter().map(move |value| SevFeatures(value.0 ^ 1 << bit));
        bits.iter().copied().flat_map(flip).map(|features| (reach, features)).collect::<Vec<_>>()
    };
    let every: Vec<u32> = (0..u64::BITS).collect();
    let mut list: Vec<(Reach, SevFeatures)> = Vec::new();
    for (reach, features) in flips(Reach::Near, SEEN)
        .into_iter()
        .chain(sets(SEEN).map(|features| (Reach::Near, features)))
        .chain(flips(Reach::Wide, &every))
        .chain(sets(NAMED).map(|features| (Reach::Wide, features)))
    {
        if !recorded.contains(&features) && !list.iter().any(|(_, known)| *known == features) {
            list.push((reach, features));
        }
    }
    list
}

/// SEV_FEATURES bits that hosts are known to set, or will: DEBUG_SWAP (Linux 6.6 and 6.7 by
/// default), SECURE_TSC, SECURE_AVIC, IBPB_ON_ENTRY.
const SEEN: &[u32] = &[5, 9, 16, 21];

/// With those that a paravisor or another VMM may set: VTOM, the two kinds of injection,
/// VMSA_REG_PROT.
const NAMED: &[u32] = &[1, 3, 4, 5, 9, 14, 16, 21];

/// The signatures of the processors themselves, which `-cpu host` hands to the guest. They differ
/// in the stepping from the models that QEMU has under the same names (Linux 7.0,
/// arch/x86/kernel/cpu/microcode/amd.c, `need_sha_check`, where each has its microcode level).
const PARTS: &[(&str, u32)] = &[
    ("Milan", 0xa0_0f11),
    ("Milan-X", 0xa0_0f12),
    ("Milan", 0xa0_0f10),
    ("Genoa", 0xa1_0f11),
    ("Genoa-X", 0xa1_0f12),
    ("Bergamo or Siena", 0xaa_0f01),
    ("Bergamo or Siena", 0xaa_0f02),
    ("Turin", 0xb0_0f21),
    ("Turin Dense", 0xb1_0f10),
];

/// Families and ranges of models of server processors with SEV-SNP, or near to them: Naples and
/// Rome (QEMU's models of them are used for launches on later ones), Milan and Genoa, Bergamo and
/// Siena, Turin, and what comes after it.
const SERVERS: &[(u32, std::ops::RangeInclusive<u32>)] = &[
    (0x17, 0x00..=0x0f),
    (0x17, 0x30..=0x3f),
    (0x19, 0x00..=0x1f),
    (0x19, 0xa0..=0xaf),
    (0x1a, 0x00..=0x1f),
    (0x1a, 0x50..=0x5f),
];
