//! IGVM files: a launch written down page by page, vCPUs included, so that neither the VMM's CPU
//! model nor its firmware is in the digest. The format is Microsoft's (the `igvm` crate reads it);
//! what a VMM makes of it is in [`IgvmProfile`].

mod error;
mod kvm;
mod narrow;
mod profile;

use std::iter;

use igvm::snp_defs::SevVmsa;
use igvm::{IgvmDirectiveHeader as Directive, IgvmFile, IgvmInitializationHeader, IsolationType};
use igvm_defs::{IgvmPageDataFlags, IgvmPageDataType};
use zerocopy::IntoBytes as _;

pub use error::IgvmError;
pub use profile::{IgvmProfile, Order, PROFILES};

use super::features::Policy;
use super::page::{Chain, PAGE_SIZE, PageType, Update};
use crate::digest::Sha384;

/// What a file has SEV-SNP launch. Nothing of what it has for other platforms.
#[derive(Clone, Debug)]
pub struct Igvm {
    policy: Option<Policy>,
    id_block: Option<Sha384>,
    steps: Vec<Step>,
    vmsas: Vec<Vmsa>,
}

/// Something that adds pages to the launch.
#[derive(Clone, Debug)]
struct Step {
    /// The place of its directive in the file.
    place: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Page(Page),
    /// An area that the VMM fills; only its place is measured.
    Parameters {
        gpa: u64,
        pages: u64,
    },
    /// The vCPU at this index of [`Igvm::vmsas`].
    Vmsa(usize),
}

#[derive(Clone, Debug)]
struct Page {
    gpa: u64,
    flags: IgvmPageDataFlags,
    kind: IgvmPageDataType,
    /// `None` for zeros.
    contents: Option<Sha384>,
}

#[derive(Clone, Debug)]
struct Vmsa {
    vcpu: u16,
    gpa: u64,
    page: Box<SevVmsa>,
}

impl Igvm {
    /// Reads a file.
    pub fn parse(file: Vec<u8>) -> Result<Self, IgvmError> {
        let narrowed = narrow::narrow(file)?;
        let file = IgvmFile::new_from_binary(&narrowed.file, Some(IsolationType::Snp))?;
        let policy = file.initializations().iter().find_map(|header| match header {
            IgvmInitializationHeader::GuestPolicy { policy, .. } => Some(Policy(*policy)),
            _ => None,
        });
        let mut igvm = Self { policy, id_block: None, steps: Vec::new(), vmsas: Vec::new() };
        let mut areas = std::collections::BTreeMap::new();
        for (&place, directive) in narrowed.places.iter().zip(file.directives()) {
            let what = match directive {
                Directive::PageData { gpa, flags, data_type, data, .. } => What::Page(Page {
                    gpa: *gpa,
                    flags: *flags,
                    kind: *data_type,
                    contents: (!data.is_empty()).then(|| Sha384::of(data)),
                }),
                Directive::ParameterArea { number_of_bytes, parameter_area_index, .. } => {
                    areas.insert(*parameter_area_index, number_of_bytes / u64::from(PAGE_SIZE));
                    continue;
                }
                Directive::ParameterInsert(insert) => {
                    // The reader has seen that there is such an area.
                    let pages = areas.get(&insert.parameter_area_index).copied().unwrap_or(0);
                    What::Parameters { gpa: insert.gpa, pages }
                }
                Directive::SnpVpContext { gpa, vp_index, vmsa, .. } => {
                    igvm.vmsas.push(Vmsa { vcpu: *vp_index, gpa: *gpa, page: vmsa.clone() });
                    What::Vmsa(igvm.vmsas.len() - 1)
                }
                Directive::SnpIdBlock { ld, .. } => {
                    igvm.id_block = Some(Sha384(*ld));
                    continue;
                }
                _ => continue,
            };
            igvm.steps.push(Step { place, what });
        }
        match igvm.steps.is_empty() {
            true => Err(IgvmError::Empty),
            false => Ok(igvm),
        }
    }

    /// The guest policy to launch with, if the file says one.
    pub fn policy(&self) -> Option<Policy> {
        self.policy
    }

    /// The digest in the file's ID block: with another one, the AMD firmware refuses the launch.
    pub fn id_block(&self) -> Option<Sha384> {
        self.id_block
    }

    /// How many pages the launch has, those of vCPUs included; some VMMs leave shared ones out.
    pub fn pages(&self) -> u64 {
        let pages = |step: &Step| match &step.what {
            What::Page(page) => page.pages(),
            What::Parameters { pages, .. } => *pages,
            What::Vmsa(_) => 1,
        };
        self.steps.iter().map(pages).sum()
    }

    /// The VMSAs, in the order of the file.
    pub fn vmsas(&self) -> impl ExactSizeIterator<Item = [u8; PAGE_SIZE as usize]> {
        self.vmsas.iter().map(|vmsa| zerocopy::transmute!(*vmsa.page))
    }

    /// The digest under one VMM's rules.
    pub fn digest(&self, profile: &IgvmProfile) -> Result<Sha384, IgvmError> {
        let mut chain = Chain::START;
        self.updates(profile)?.iter().for_each(|update| chain.add(update));
        Ok(chain.digest())
    }

    /// The launch updates under one VMM's rules, first to last.
    pub fn updates(&self, profile: &IgvmProfile) -> Result<Vec<Update>, IgvmError> {
        match profile.order {
            Order::File => Ok(self.in_order(profile)),
            Order::Kvm => self.as_kvm(profile),
        }
    }

    fn in_order(&self, profile: &IgvmProfile) -> Vec<Update> {
        let updates = |step: &Step| match &step.what {
            What::Page(page) => page.updates(profile),
            What::Parameters { gpa, pages } => parameters(*gpa, *pages),
            What::Vmsa(index) => self.vmsas.get(*index).map(Vmsa::update).into_iter().collect(),
        };
        self.steps.iter().flat_map(updates).collect()
    }

    fn as_kvm(&self, profile: &IgvmProfile) -> Result<Vec<Update>, IgvmError> {
        let (mut updates, mut run) = (Vec::new(), Vec::new());
        let mut last: Option<(usize, &Page)> = None;
        for step in &self.steps {
            match &step.what {
                What::Page(page) => {
                    let goes_on = last
                        .is_some_and(|(place, last)| place + 1 == step.place && page.follows(last));
                    if !goes_on {
                        updates.append(&mut run);
                    }
                    run.extend(page.updates(profile));
                    last = Some((step.place, page));
                }
                What::Parameters { gpa, pages } => updates.extend(parameters(*gpa, *pages)),
                What::Vmsa(_) => {}
            }
        }
        updates.append(&mut run);
        let mut vmsas: Vec<&Vmsa> = self.vmsas.iter().collect();
        vmsas.sort_by_key(|vmsa| vmsa.vcpu);
        for (vcpu, vmsa) in (0u16..).zip(&vmsas) {
            if vmsa.vcpu != vcpu {
                return Err(match vmsa.vcpu < vcpu {
                    true => IgvmError::Vmsa { vcpu: vmsa.vcpu, why: "there are two".to_owned() },
                    false => IgvmError::NoVmsa { vcpu },
                });
            }
            kvm::check(vcpu, vmsa.gpa, &vmsa.page)?;
            updates.push(vmsa.update());
        }
        match vmsas.is_empty() {
            true => Err(IgvmError::NoVmsa { vcpu: 0 }),
            false => Ok(updates),
        }
    }
}

impl Page {
    fn updates(&self, profile: &IgvmProfile) -> Vec<Update> {
        if self.flags.shared() && !profile.shared {
            return Vec::new();
        }
        let kind = match self.kind {
            IgvmPageDataType::SECRETS => PageType::Secrets,
            IgvmPageDataType::CPUID_DATA | IgvmPageDataType::CPUID_XF => PageType::Cpuid,
            _ if self.flags.unmeasured() => PageType::Unmeasured,
            _ if self.contents.is_none() => profile.zero,
            _ => PageType::Normal,
        };
        let contents = match kind {
            PageType::Normal => self.contents.unwrap_or(*ZERO_PAGE),
            _ => Sha384::ZERO,
        };
        let update = |gpa| Update { kind, gpa, contents };
        places(self.gpa, self.pages()).map(update).collect()
    }

    fn pages(&self) -> u64 {
        if self.flags.is_2mb_page() { narrow::LARGE_PAGE } else { 1 }
    }

    /// Whether QEMU adds this page together with the one before it in the file.
    fn follows(&self, last: &Self) -> bool {
        self.flags == last.flags
            && self.kind == last.kind
            && self.contents.is_some() == last.contents.is_some()
            && self.gpa == last.gpa.wrapping_add(last.pages() * u64::from(PAGE_SIZE))
    }
}

impl Vmsa {
    fn update(&self) -> Update {
        Update::hashed(PageType::Vmsa, self.gpa, self.page.as_bytes())
    }
}

fn parameters(gpa: u64, pages: u64) -> Vec<Update> {
    places(gpa, pages).map(|gpa| Update::placed(PageType::Unmeasured, gpa)).collect()
}

fn places(gpa: u64, pages: u64) -> impl Iterator<Item = u64> {
    iter::successors(Some(gpa), |gpa| Some(gpa.wrapping_add(PAGE_SIZE.into()))).take(pages as usize)
}

static ZERO_PAGE: std::sync::LazyLock<Sha384> =
    std::sync::LazyLock::new(|| Sha384::of([0; PAGE_SIZE as usize]));
