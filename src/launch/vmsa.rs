//! The state in which a vCPU starts: one page for each, hashed like any other, last in the launch.
//!
//! The layout is the APM's, table B-4. What is in it comes from two places: the reset state of the
//! CPU as the VMM sets it, and what KVM changes on the way (EFER.SVME and CR4.MCE are on because
//! KVM needs them so). See [`super::profile`] for what differs between VMMs.

mod fields;

pub use fields::{Field, fields};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::cpu::Signature;
use super::features::SevFeatures;
use super::page::PAGE_SIZE;

/// Where every VMSA is measured: the top page of a 48-bit space, whatever vCPU it is for. KVM and
/// QEMU have it as a constant (QEMU, target/i386/sev.c, `KVM_VMSA_GPA`).
pub const VMSA_GPA: u64 = 0xffff_ffff_f000;

/// Where the first vCPU starts: the reset vector.
pub const BSP_EIP: u32 = 0xffff_fff0;

/// What VMMs do differently. The other fields are the same for all that are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VcpuState {
    /// Attributes of CS on the first vCPU.
    pub cs_bsp: u16,
    /// Attributes of CS on the others.
    pub cs_ap: u16,
    /// Attributes of SS.
    pub ss: u16,
    /// Attributes of TR.
    pub tr: u16,
    /// RDX at reset.
    pub rdx: Rdx,
    /// The guest's PAT.
    pub g_pat: u64,
    /// The SSE control word.
    pub mxcsr: u32,
    /// The x87 control word.
    pub fcw: u16,
}

/// RDX at reset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rdx {
    /// The same on every CPU.
    Fixed(u64),
    /// What CPUID Fn0000_0001 returns in EAX.
    Signature,
}

impl VcpuState {
    /// The VMSAs of all vCPUs, first to last; those after the first start at `reset_eip`. `None` if
    /// there are several and it is not known where they start.
    pub fn pages(
        &self,
        vcpus: u32,
        reset_eip: Option<u32>,
        signature: Signature,
        features: SevFeatures,
    ) -> Option<impl Iterator<Item = [u8; PAGE_SIZE as usize]>> {
        let page = |eip| self.page(eip, signature, features);
        let others = vcpus.saturating_sub(1) as usize;
        let first = (vcpus > 0).then(|| page(BSP_EIP));
        let other = reset_eip.map(page);
        if others > 0 && other.is_none() {
            return None;
        }
        let other = other.into_iter().flat_map(move |page| std::iter::repeat_n(page, others));
        Some(first.into_iter().chain(other))
    }

    /// The VMSA of a vCPU that starts at `eip`.
    pub fn page(
        &self,
        eip: u32,
        signature: Signature,
        features: SevFeatures,
    ) -> [u8; PAGE_SIZE as usize] {
        let data = Segment::new(0, 0x93, 0);
        let mut area = SaveArea::new_zeroed();
        area.es = data;
        area.ds = data;
        area.fs = data;
        area.gs = data;
        let cs = if eip == BSP_EIP { self.cs_bsp } else { self.cs_ap };
        area.cs = Segment::new(0xf000, cs, eip & 0xffff_0000);
        area.ss = Segment::new(0, self.ss, 0);
        area.gdtr = Segment::new(0, 0, 0);
        area.ldtr = Segment::new(0, 0x82, 0);
        area.idtr = Segment::new(0, 0, 0);
        area.tr = Segment::new(0, self.tr, 0);
        area.efer = U64::new(0x1000);
        area.cr4 = U64::new(0x40);
        area.cr0 = U64::new(0x10);
        area.dr7 = U64::new(0x400);
        area.dr6 = U64::new(0xffff_0ff0);
        area.rflags = U64::new(0x2);
        area.rip = U64::new(u64::from(eip & 0xffff));
        area.g_pat = U64::new(self.g_pat);
        area.rdx = U64::new(match self.rdx {
            Rdx::Fixed(value) => value,
            Rdx::Signature => signature.0.into(),
        });
        area.sev_features = U64::new(features.0);
        area.xcr0 = U64::new(0x1);
        area.mxcsr = U32::new(self.mxcsr);
        area.fcw = U16::new(self.fcw);
        zerocopy::transmute!(area)
    }
}

#[derive(Clone, Copy, FromZeros, Immutable, IntoBytes)]
#[repr(C)]
struct Segment {
    selector: U16,
    attributes: U16,
    limit: U32,
    base: U64,
}

impl Segment {
    /// In real mode every segment has this limit.
    fn new(selector: u16, attributes: u16, base: u32) -> Self {
        Self {
            selector: U16::new(selector),
            attributes: U16::new(attributes),
            limit: U32::new(0xffff),
            base: U64::new(base.into()),
        }
    }
}

/// Only the fields that some VMM sets have names; `_n` spans the zeros from offset `n`.
#[derive(FromZeros, Immutable, IntoBytes)]
#[repr(C)]
struct SaveArea {
    es: Segment,
    cs: Segment,
    ss: Segment,
    ds: Segment,
    fs: Segment,
    gs: Segment,
    gdtr: Segment,
    ldtr: Segment,
    idtr: Segment,
    tr: Segment,
    _0a0: [u8; 0x30],
    efer: U64,
    _0d8: [u8; 0x70],
    cr4: U64,
    cr3: U64,
    cr0: U64,
    dr7: U64,
    dr6: U64,
    rflags: U64,
    rip: U64,
    _180: [u8; 0xe8],
    g_pat: U64,
    _270: [u8; 0xa0],
    rdx: U64,
    _318: [u8; 0x98],
    sev_features: U64,
    _3b8: [u8; 0x30],
    xcr0: U64,
    _3f0: [u8; 0x18],
    mxcsr: U32,
    _40c: [u8; 4],
    fcw: U16,
    _412: [u8; 0xbee],
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<SaveArea>() == PAGE_SIZE as usize);
    assert!(offset_of!(SaveArea, tr) == 0x90);
    assert!(offset_of!(SaveArea, efer) == 0xd0);
    assert!(offset_of!(SaveArea, cr4) == 0x148);
    assert!(offset_of!(SaveArea, rip) == 0x178);
    assert!(offset_of!(SaveArea, g_pat) == 0x268);
    assert!(offset_of!(SaveArea, rdx) == 0x310);
    assert!(offset_of!(SaveArea, sev_features) == 0x3b0);
    assert!(offset_of!(SaveArea, xcr0) == 0x3e8);
    assert!(offset_of!(SaveArea, mxcsr) == 0x408);
    assert!(offset_of!(SaveArea, fcw) == 0x410);
};
