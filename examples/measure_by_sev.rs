//! The peer of `benches/measure.sh`: one launch digest by the `sev` crate, with sev-snp-measure's
//! flags in a fixed order: OVMF KERNEL INITRD APPEND VCPUS CPU.
#![allow(clippy::print_stdout, reason = "the answer")]

use std::error::Error;

use sev::measurement::snp::{SnpMeasurementArgs, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures, VMMType};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ovmf, kernel, initrd, append, vcpus, cpu] = arguments.as_slice() else {
        return Err("expected OVMF KERNEL INITRD APPEND VCPUS CPU".into());
    };
    let digest = snp_calc_launch_digest(SnpMeasurementArgs {
        vcpus: vcpus.parse()?,
        vcpu_type: CpuType::try_from(cpu.as_str())?,
        ovmf_file: ovmf.into(),
        guest_features: GuestFeatures(1),
        kernel_file: Some(kernel.into()),
        initrd_file: Some(initrd.into()),
        append: Some(append),
        ovmf_hash_str: None,
        vmm_type: Some(VMMType::QEMU),
    })?;
    println!("{}", digest.get_hex_ld());
    Ok(())
}
