//! Which VMSAs of an IGVM file QEMU hands on to KVM, and KVM measures as they are.

use igvm::snp_defs::{SevSelector, SevVmsa};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::IgvmError;
use crate::launch::vmsa::VMSA_GPA;

/// Refuses what QEMU refuses (target/i386/sev.c, check_vmsa_supported), and what KVM would overwrite
/// before it measures (igvmmeasure, --check-kvm).
pub(super) fn check(vcpu: u16, gpa: u64, vmsa: &SevVmsa) -> Result<(), IgvmError> {
    let refused = |why| Err(IgvmError::Vmsa { vcpu, why });
    if gpa != VMSA_GPA {
        return refused(format!("it is at {gpa:#x}, and KVM measures every VMSA at {VMSA_GPA:#x}"));
    }
    if !vmsa.sev_features.snp() {
        let features = u64::from(vmsa.sev_features);
        return refused(format!(
            "sev_features {features:#x} lack bit 0, without which it is not SNP"
        ));
    }
    // Protection or real mode, and NE and ET as KVM has them.
    if !matches!(vmsa.cr0, 0x30 | 0x31) {
        return refused(format!("cr0 is {:#x}, and KVM makes it 0x30 or 0x31", vmsa.cr0));
    }
    match unsupported(vmsa) {
        Some(offset) => {
            refused(format!("it sets the field at {offset:#x}, which QEMU does not hand on to KVM"))
        }
        None => Ok(()),
    }
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
