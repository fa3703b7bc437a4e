//! The search itself: launches by the number of changes to a recorded one, first one, then two.
//!
//! A launch is a [`Prefix`] (everything before the vCPUs), a [`Vcpu`] (what their pages hold) and a
//! count. Changes of the first two are lists; the count needs none, since a chain passes through
//! every count on its way.

use std::collections::BTreeSet;
use std::mem::discriminant;

use super::chain::Repeated;
use super::change::{Change, Cmdline, Order, Stop};
use super::variants::{self, Reach};
use super::{Candidates, Cause, Explanation, MAX_UPDATES, MAX_VCPUS, Vcpus};
use crate::digest::{Sha256, Sha384};
use crate::launch::cpu::{Cpu, Signature};
use crate::launch::features::SevFeatures;
use crate::launch::firmware::{Firmware, Section, SectionKind};
use crate::launch::hash_table::HashTable;
use crate::launch::measure::updates;
use crate::launch::page::{Chain, PageType, Update};
use crate::launch::profile::{PROFILES, Profile};
use crate::launch::record::{Boot, FirmwareRecord, Record, RecordError};
use crate::launch::vmsa::{BSP_EIP, VMSA_GPA};

pub(super) fn search(
    record: &Record,
    attested: Sha384,
    candidates: &Candidates,
) -> Result<Explanation, RecordError> {
    let setup = Setup {
        profile: Profile::by_id(&record.profile)?,
        firmware: &record.firmware,
        hashes: record.boot.as_ref().map(Boot::hashes).transpose()?,
        order: None,
    };
    let prefixes = prefixes(&setup, &edits(record, &setup, candidates));
    let machines = machines(&prefixes);
    let vcpus = vcpus(record, candidates);
    let mut search = Search {
        attested,
        recorded: (0..=record.vcpus.iter().copied().max().unwrap_or_default())
            .map(|count| record.vcpus.contains(&count))
            .collect(),
        causes: Vec::new(),
        searched: 0,
        updates: 0,
    };
    for changes in 1..=MAX_CHANGES {
        search.stops(&prefixes, changes);
        search.launches(&machines, &vcpus, changes);
        if !search.causes.is_empty() {
            break;
        }
    }
    let Search { causes, searched, updates, .. } = search;
    Ok(Explanation { recorded: None, causes, searched, complete: updates <= MAX_UPDATES })
}

/// How many changes are combined.
const MAX_CHANGES: usize = 2;

/// How many launch updates take as long as the hash of one page: 33 blocks of SHA-384, to 2.
const PAGE_COST: u64 = 16;

struct Search {
    attested: Sha384,
    /// By count, whether the record has it.
    recorded: Vec<bool>,
    causes: Vec<Cause>,
    searched: u64,
    updates: u64,
}

/// The vCPUs that were launched, whatever their number.
struct Vcpu {
    changes: Vec<Change>,
    reach: Reach,
    cpu: Cpu,
    features: SevFeatures,
    gpa: u64,
}

/// Prefixes whose vCPUs start alike.
struct Machine<'p> {
    profile: &'static Profile,
    reset_eip: Option<u32>,
    prefixes: Vec<&'p Prefix>,
}

impl Search {
    /// Values that are not of whole launches.
    fn stops(&mut self, prefixes: &[Prefix], changes: usize) {
        let mut found = |changes: &[Change], stop, profile: &Profile, digest| {
            self.searched += 1;
            if digest == self.attested {
                let changes = changes.iter().cloned().chain([Change::Stop(stop)]).collect();
                self.causes.push(Cause { changes, profile: profile.id, vcpus: None });
            }
        };
        for prefix in prefixes.iter().filter(|prefix| prefix.changes.len() + 1 == changes) {
            let made = prefix.changes.as_slice();
            // Only another image changes the digest after the image.
            if matches!(made, [] | [Change::Firmware { .. }]) {
                found(made, Stop::Firmware, prefix.profile, prefix.image);
            }
            found(made, Stop::Vcpus, prefix.profile, prefix.digest);
            if made.is_empty() {
                found(made, Stop::Zero, prefix.profile, Sha384::ZERO);
                found(made, Stop::Nothing, prefix.profile, Sha384::of([]));
            }
        }
    }

    /// Launches that differ by this many changes, the count of vCPUs being one of them.
    fn launches(&mut self, machines: &[Machine<'_>], vcpus: &[Vcpu], changes: usize) {
        for machine in machines {
            // Where RDX is fixed all CPUs are the same; what comes first is the simplest.
            let mut seen = BTreeSet::new();
            for vcpu in vcpus {
                let eligible = |prefix: &&&Prefix| {
                    let made = prefix.changes.len() + vcpu.changes.len();
                    let alone = prefix.changes.is_empty() && vcpu.changes.len() <= 1;
                    match vcpu.reach {
                        _ if made > changes || made + 1 < changes => false,
                        Reach::Near => true,
                        Reach::Wide => alone,
                        Reach::Far => alone && made == changes,
                    }
                };
                let mut prefixes = machine.prefixes.iter().filter(eligible).peekable();
                if prefixes.peek().is_none() && !vcpu.changes.is_empty() {
                    continue;
                }
                let pages = machine.pages(vcpu);
                self.updates += 2 * PAGE_COST;
                if !seen.insert(pages.map(|page| page.map(|page| (page.gpa, page.contents)))) {
                    continue;
                }
                for prefix in prefixes {
                    self.counts(prefix, vcpu, pages, changes);
                    if self.updates > MAX_UPDATES {
                        return;
                    }
                }
            }
        }
    }

    /// Every count of vCPUs after `prefix`, in one chain: the recorded ones, or, if the count is to
    /// be the last change, the others.
    fn counts(
        &mut self,
        prefix: &Prefix,
        vcpu: &Vcpu,
        [bsp, ap]: [Option<Update>; 2],
        changes: usize,
    ) {
        let made = prefix.changes.len() + vcpu.changes.len();
        let counted = made < changes;
        let most = if counted { MAX_VCPUS as usize } else { self.recorded.len().saturating_sub(1) };
        let mut chain = Repeated::new(prefix.digest);
        for count in 1..=most {
            match (count, &bsp, &ap) {
                (1, Some(page), _) | (2, _, Some(page)) => chain.set(page),
                (1 | 2, ..) => break,
                _ => {}
            }
            let digest = chain.add();
            self.updates += 1;
            if self.recorded.get(count).copied().unwrap_or_default() == counted {
                continue;
            }
            self.searched += 1;
            if digest == self.attested {
                let count = count as u32;
                let vcpus = Vcpus { count, cpu: vcpu.cpu.clone(), features: vcpu.features };
                let changes = (prefix.changes.iter().chain(&vcpu.changes).cloned())
                    .chain(counted.then_some(Change::Vcpus(count)))
                    .collect();
                let profile = prefix.profile.id;
                self.causes.push(Cause { changes, profile, vcpus: Some(vcpus) });
            }
        }
    }
}

impl Machine<'_> {
    /// The pages of the first vCPU and of each other one.
    fn pages(&self, vcpu: &Vcpu) -> [Option<Update>; 2] {
        let state = &self.profile.vcpu;
        [Some(BSP_EIP), self.reset_eip].map(|eip| {
            let page = state.page(eip?, vcpu.cpu.signature, vcpu.features);
            Some(Update::hashed(PageType::Vmsa, vcpu.gpa, &page))
        })
    }
}

/// The vCPUs by the number of changes: none, one, two.
fn vcpus(record: &Record, candidates: &Candidates) -> Vec<Vcpu> {
    let recorded: Vec<Signature> = record.cpus.iter().map(|cpu| cpu.signature).collect();
    let mut cpus = variants::signatures(candidates.signature);
    cpus.retain(|(_, cpu)| !recorded.contains(&cpu.signature));
    let features = variants::features(&record.sev_features);
    let mut list = Vec::new();
    let mut add = |changes, reach, cpu: &Cpu, features, gpa| {
        list.push(Vcpu { changes, reach, cpu: cpu.clone(), features, gpa });
    };
    for cpu in &record.cpus {
        for &features in &record.sev_features {
            add(vec![], Reach::Near, cpu, features, VMSA_GPA);
        }
    }
    for &(reach, ref cpu) in &cpus {
        for &features in &record.sev_features {
            add(vec![Change::Cpu(cpu.signature)], reach, cpu, features, VMSA_GPA);
        }
    }
    for cpu in &record.cpus {
        for &(reach, features) in &features {
            add(vec![Change::Features(features)], reach, cpu, features, VMSA_GPA);
        }
        for &features in &record.sev_features {
            let change = Change::VmsaAddress(VMSA_GPA_52);
            add(vec![change], Reach::Near, cpu, features, VMSA_GPA_52);
        }
    }
    for (_, cpu) in cpus.iter().filter(|(reach, _)| *reach == Reach::Near) {
        for &(_, features) in features.iter().filter(|(reach, _)| *reach == Reach::Near) {
            let changes = vec![Change::Cpu(cpu.signature), Change::Features(features)];
            add(changes, Reach::Near, cpu, features, VMSA_GPA);
        }
    }
    list
}

/// The top page of a 52-bit space, where gce-tcb-verifier (sev/measurement.go) has the VMSAs on
/// Genoa. No report with it is known.
const VMSA_GPA_52: u64 = 0xf_ffff_ffff_f000;

/// A launch before its first vCPU.
struct Prefix {
    changes: Vec<Change>,
    profile: &'static Profile,
    reset_eip: Option<u32>,
    image: Sha384,
    digest: Sha384,
}

/// What a prefix is computed from.
#[derive(Clone)]
struct Setup<'a> {
    profile: &'static Profile,
    firmware: &'a FirmwareRecord,
    hashes: Option<HashTable>,
    order: Option<Order>,
}

/// A change to a setup. Two of one variant exclude each other.
enum Edit<'a> {
    Cmdline(Sha256),
    Firmware(&'a FirmwareRecord),
    HashesOff,
    Initrd(Sha256),
    Kernel(Sha256),
    Order(Order),
    Profile(&'static Profile),
}

impl Setup<'_> {
    /// The prefix, if there is one: firmware may lack what the launch needs.
    fn prefix(&self, changes: Vec<Change>) -> Option<Prefix> {
        let layout = self.firmware.layout().ok()?;
        let mut profile = *self.profile;
        let mut sections = layout.sections().to_vec();
        let is = |kind| move |section: &Section| section.kind == kind;
        let hashes = is(SectionKind::KernelHashes);
        match self.order {
            None => {}
            Some(Order::Address) => sections.sort_by_key(|section| section.gpa),
            Some(Order::CpuidInPlace) => profile.cpuid_last = false,
            Some(Order::CpuidLast) => profile.cpuid_last = true,
            Some(Order::HashesFirst) => sections.sort_by_key(|section| !hashes(section)),
            Some(Order::HashesLast) => sections.sort_by_key(hashes),
        }
        let (size, eip, table) = (layout.size(), layout.reset_eip(), layout.hash_table());
        let layout = Firmware::new(size, eip, table, sections).ok()?;
        let image = self.firmware.digest;
        let mut chain = Chain::from(image);
        for update in updates(&profile, &layout, self.hashes.as_ref()).ok()? {
            chain.add(&update);
        }
        let digest = chain.digest();
        Some(Prefix { changes, profile: self.profile, reset_eip: eip, image, digest })
    }
}

impl<'a> Edit<'a> {
    fn apply(&self, setup: &mut Setup<'a>) {
        match self {
            Self::Firmware(firmware) => setup.firmware = firmware,
            Self::HashesOff => setup.hashes = None,
            Self::Order(order) => setup.order = Some(*order),
            Self::Profile(profile) => setup.profile = profile,
            Self::Cmdline(_) | Self::Initrd(_) | Self::Kernel(_) => {
                let Some(hashes) = &mut setup.hashes else { return };
                match self {
                    Self::Cmdline(sha256) => hashes.cmdline = *sha256,
                    Self::Initrd(sha256) => hashes.initrd = *sha256,
                    Self::Kernel(sha256) => hashes.kernel = *sha256,
                    _ => {}
                }
            }
        }
    }
}

/// Everything before the vCPUs that could be different, most likely first.
fn edits<'a>(
    record: &'a Record,
    setup: &Setup<'_>,
    candidates: &'a Candidates,
) -> Vec<(Change, Edit<'a>)> {
    let mut edits = Vec::new();
    for (name, firmware) in &candidates.firmware {
        let (name, sha256) = (name.clone(), firmware.sha256);
        edits.push((Change::Firmware { name, sha256 }, Edit::Firmware(firmware)));
    }
    if let Some(boot) = &record.boot {
        for (name, sha256) in &candidates.kernels {
            let change = Change::Kernel { name: name.clone(), sha256: *sha256 };
            edits.push((change, Edit::Kernel(*sha256)));
        }
        for (name, sha256) in &candidates.initrds {
            let change = Change::Initrd { name: name.clone(), sha256: *sha256 };
            edits.push((change, Edit::Initrd(*sha256)));
        }
        let given = candidates.cmdlines.iter().cloned().map(Cmdline::Given);
        for cmdline in given.chain(Cmdline::ALL) {
            let sha256 = Sha256::of(cmdline.bytes(&boot.cmdline));
            edits.push((Change::Cmdline(cmdline), Edit::Cmdline(sha256)));
        }
        edits.push((Change::NoInitrd, Edit::Initrd(Sha256::of([]))));
        edits.push((Change::KernelHashesOff, Edit::HashesOff));
    }
    for profile in PROFILES.iter().filter(|profile| profile.id != setup.profile.id) {
        edits.push((Change::Profile(profile.id), Edit::Profile(profile)));
    }
    for order in [
        Order::HashesFirst,
        Order::HashesLast,
        Order::CpuidLast,
        Order::CpuidInPlace,
        Order::Address,
    ] {
        edits.push((Change::Order(order), Edit::Order(order)));
    }
    edits
}

/// The prefixes by the number of changes: none, one, two. What an edit leaves as it was, alone or
/// after another, is not there twice.
fn prefixes(base: &Setup<'_>, edits: &[(Change, Edit<'_>)]) -> Vec<Prefix> {
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    let mut add =
        |made: &[&(Change, Edit<'_>)]| {
            let mut setup = base.clone();
            made.iter().for_each(|(_, edit)| edit.apply(&mut setup));
            let changes = made.iter().map(|(change, _)| change.clone()).collect();
            list.extend(setup.prefix(changes).filter(|prefix| {
                seen.insert((prefix.profile.id, prefix.reset_eip, prefix.digest))
            }));
        };
    add(&[]);
    edits.iter().for_each(|edit| add(&[edit]));
    for (at, first) in edits.iter().enumerate() {
        for second in edits.iter().skip(at + 1) {
            if discriminant(&first.1) != discriminant(&second.1) {
                add(&[first, second]);
            }
        }
    }
    list
}

fn machines(prefixes: &[Prefix]) -> Vec<Machine<'_>> {
    let mut machines: Vec<Machine<'_>> = Vec::new();
    for prefix in prefixes {
        let Prefix { profile, reset_eip, .. } = *prefix;
        let same = |machine: &&mut Machine<'_>| {
            machine.profile.id == profile.id && machine.reset_eip == reset_eip
        };
        match machines.iter_mut().find(same) {
            Some(machine) => machine.prefixes.push(prefix),
            None => machines.push(Machine { profile, reset_eip, prefixes: vec![prefix] }),
        }
    }
    machines
}
