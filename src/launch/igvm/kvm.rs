//! Which VMSAs of an IGVM file QEMU hands on to KVM, and KVM measures as they are.

use igvm::snp_defs::{SevSelector, SevVmsa};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::error::VmsaFault;
use crate::launch::vmsa::VMSA_GPA;

/// CR4.MCE, which KVM takes over from the host, and every host has it (Linux, arch/x86/kvm/svm/svm.c,
/// svm_set_cr4).
const CR4_MCE: u64 = 1 << 6;

/// EFER.SVME, which KVM sets (Linux, arch/x86/kvm/svm/svm.c, svm_set_efer).
const EFER_SVME: u64 = 1 << 12;

/// RFLAGS with the bit that is always one and KVM sets (Linux, arch/x86/kvm/x86.c, __set_regs). No
/// launch with another bit is known to be measured as its file has it, so no other one is taken.
const RFLAGS: u64 = 1 << 1;

/// Refuses what QEMU refuses (target/i386/sev.c, check_vmsa_supported and check_sev_features), and what
/// KVM would overwrite before it measures. `first` is the VMSA of vCPU 0: QEMU takes the features of the
/// whole guest from it (target/i386/sev.c, sev_common_kvm_init), and KVM writes those to every VMSA
/// (arch/x86/kvm/svm/sev.c, sev_es_sync_vmsa).
pub(super) fn check(gpa: u64, vmsa: &SevVmsa, first: &SevVmsa) -> Result<(), VmsaFault> {
    if gpa != VMSA_GPA {
        return Err(VmsaFault::Place { gpa });
    }
    let features = u64::from(vmsa.sev_features);
    if !vmsa.sev_features.snp() {
        return Err(VmsaFault::NotSnp { features });
    }
    if vmsa.sev_features != first.sev_features {
        return Err(VmsaFault::Features { features, first: first.sev_features.into() });
    }
    // ET, with which a vCPU of QEMU's own starts (reports of such guests have it in their digest), or
    // NE beside it, in protected or real mode (coconut-svsm, tools/igvmmeasure, --check-kvm).
    let kept = matches!(vmsa.cr0, 0x10 | 0x30 | 0x31);
    register("cr0", vmsa.cr0, kept, "0x10, 0x30 or 0x31")?;
    register("cr4", vmsa.cr4, vmsa.cr4 & CR4_MCE != 0, "one with bit 6 (0x40, MCE) set")?;
    register("rflags", vmsa.rflags, vmsa.rflags == RFLAGS, "0x2")?;
    register("efer", vmsa.efer, vmsa.efer & EFER_SVME != 0, "one with bit 12 (0x1000, SVME) set")?;
    match unsupported(vmsa) {
        Some(offset) => Err(VmsaFault::Field { offset }),
        None => Ok(()),
    }
}

fn register(
    register: &'static str,
    found: u64,
    kept: bool,
    expected: &'static str,
) -> Result<(), VmsaFault> {
    if kept { Ok(()) } else { Err(VmsaFault::Register { register, found, expected }) }
}

/// The first byte set of a field that QEMU does not take.
fn unsupported(vmsa: &SevVmsa) -> Option<usize> {
    let segment = SevSelector::new_zeroed();
    let rest = SevVmsa {
        es: segment,
        cs: segment,
        ss: segment,
        ds: segment,
        fs: segment,
        gs: segment,
        gdtr: segment,
        ldtr: segment,
        idtr: segment,
        tr: segment,
        efer: 0,
        cr4: 0,
        cr3: 0,
        cr0: 0,
        dr7: 0,
        dr6: 0,
        rflags: 0,
        rip: 0,
        rsp: 0,
        rax: 0,
        pat: 0,
        rcx: 0,
        rdx: 0,
        rbx: 0,
        rbp: 0,
        rsi: 0,
        rdi: 0,
        r8: 0,
        r9: 0,
        r10: 0,
        r11: 0,
        r12: 0,
        r13: 0,
        r14: 0,
        r15: 0,
        sev_features: igvm::snp_defs::SevFeatures::new(),
        xcr0: 0,
        mxcsr: 0,
        x87_fcw: 0,
        ..*vmsa
    };
    rest.as_bytes().iter().position(|byte| *byte != 0)
}
