//! IGVM files: a launch written down page by page, vCPUs included, so that neither the VMM's CPU
//! model nor its firmware is in the digest. The format is Microsoft's (the `igvm` crate reads it);
//! what a VMM makes of it is in [`IgvmProfile`].

mod doubt;
mod error;
mod kvm;
mod memory;
mod narrow;
mod profile;
pub mod record;

use igvm::snp_defs::SevVmsa;
use igvm::{IgvmDirectiveHeader as Directive, IgvmFile, IgvmInitializationHeader, IsolationType};
use igvm_defs::{IgvmPageDataFlags, IgvmPageDataType};
use zerocopy::IntoBytes as _;

pub use doubt::Doubt;
pub use error::{IgvmError, Section, VmsaFault};
pub use profile::{IgvmProfile, Order, PROFILES};
pub use record::IgvmRecord;

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
    /// The platforms that it is for, SEV-SNP among them.
    mask: u32,
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
                Directive::PageData { gpa, compatibility_mask, flags, data_type, data } => {
                    What::Page(Page {
                        gpa: *gpa,
                        mask: *compatibility_mask,
                        flags: *flags,
                        kind: *data_type,
                        contents: (!data.is_empty()).then(|| Sha384::of(data)),
                    })
                }
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

    /// Why no SEV-SNP guest comes of the file, digest or not.
    pub fn doubts(&self) -> Vec<Doubt> {
        let off = self.vmsas.iter().find(|vmsa| !vmsa.page.sev_features.snp());
        let off = off
            .map(|vmsa| Doubt::NotSnp { vcpu: vmsa.vcpu, features: vmsa.page.sev_features.into() });
        self.vmsas.is_empty().then_some(Doubt::NoVmsa).into_iter().chain(off).collect()
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
        updates.extend(self.as_vcpus()?);
        Ok(updates)
    }

    /// The VMSAs in the order of the vCPUs, if there is one for each and KVM can have them.
    fn as_vcpus(&self) -> Result<Vec<Update>, IgvmError> {
        let mut vmsas: Vec<&Vmsa> = self.vmsas.iter().collect();
        vmsas.sort_by_key(|vmsa| vmsa.vcpu);
        let first = vmsas.first().ok_or(IgvmError::NoVmsa { vcpu: 0 })?;
        let update = |(vcpu, vmsa): (u16, &&Vmsa)| {
            if vmsa.vcpu > vcpu {
                return Err(IgvmError::NoVmsa { vcpu });
            }
            let fault = |fault| IgvmError::Vmsa { vcpu: vmsa.vcpu, fault };
            if vmsa.vcpu < vcpu {
                return Err(fault(VmsaFault::Two));
            }
            kvm::check(vmsa.gpa, &vmsa.page, &first.page).map_err(fault)?;
            Ok(vmsa.update())
        };
        (0u16..).zip(&vmsas).map(update).collect()
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

    /// Whether QEMU adds this page together with the one before it in the file (backends/igvm.c,
    /// qigvm_page_attrs_equal). Pages that other platforms have too are a run of their own.
    fn follows(&self, last: &Self) -> bool {
        self.flags == last.flags
            && self.kind == last.kind
            && self.mask == last.mask
            && self.contents.is_some() == last.contents.is_some()
            && self.gpa == last.gpa + last.pages() * u64::from(PAGE_SIZE)
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

/// Their ends are below [`memory::LIMIT`].
fn places(gpa: u64, pages: u64) -> impl Iterator<Item = u64> {
    (0..pages).map(move |page| gpa + page * u64::from(PAGE_SIZE))
}

static ZERO_PAGE: std::sync::LazyLock<Sha384> =
    std::sync::LazyLock::new(|| Sha384::of([0; PAGE_SIZE as usize]));
