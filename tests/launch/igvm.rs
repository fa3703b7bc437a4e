//! IGVM files, written by Microsoft's own crate and measured by it too, and files made to be wrong.

mod command;

use counterfoil::digest::Sha384;
use counterfoil::launch::Igvm;
use counterfoil::launch::igvm::{IgvmError, IgvmProfile, PROFILES};
use counterfoil::launch::page::{Chain, PageType, Update};
use counterfoil::launch::vmsa::VMSA_GPA;
use igvm::measurement::generate_snp_measurement;
use igvm::snp_defs::SevVmsa;
use igvm::{
    Arch, IgvmDirectiveHeader as Directive, IgvmFile, IgvmInitializationHeader as Initialization,
    IgvmPlatformHeader, IgvmRevision,
};
use igvm_defs::{
    IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_SUPPORTED_PLATFORM, IgvmPageDataFlags,
    IgvmPageDataType, IgvmPlatformType,
};
use proptest::prelude::*;
use zerocopy::{FromZeros as _, IntoBytes as _};

/// The bits of the two platforms in these files.
const SNP: u32 = 1;
const NATIVE: u32 = 2;

fn platform(platform_type: IgvmPlatformType, compatibility_mask: u32) -> IgvmPlatformHeader {
    IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
        compatibility_mask,
        highest_vtl: 0,
        platform_type,
        platform_version: 1,
        shared_gpa_boundary: 0,
    })
}

fn file(directives: Vec<Directive>) -> Vec<u8> {
    let platforms =
        vec![platform(IgvmPlatformType::NATIVE, NATIVE), platform(IgvmPlatformType::SEV_SNP, SNP)];
    let policy = Initialization::GuestPolicy { policy: 0x3_0000, compatibility_mask: SNP };
    serialize(&IgvmFile::new(IgvmRevision::V1, platforms, vec![policy], directives).unwrap())
}

fn serialize(file: &IgvmFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.serialize(&mut bytes).unwrap();
    bytes
}

fn page(gpa: u64, byte: u8) -> Directive {
    let data = if byte == 0 { Vec::new() } else { vec![byte; 4096] };
    typed(gpa, IgvmPageDataFlags::new(), IgvmPageDataType::NORMAL, data)
}

fn typed(
    gpa: u64,
    flags: IgvmPageDataFlags,
    data_type: IgvmPageDataType,
    data: Vec<u8>,
) -> Directive {
    Directive::PageData { gpa, compatibility_mask: SNP, flags, data_type, data }
}

fn area(parameter_area_index: u32, pages: u64) -> Directive {
    let number_of_bytes = pages * 4096;
    Directive::ParameterArea { number_of_bytes, parameter_area_index, initial_data: Vec::new() }
}

fn insert(parameter_area_index: u32, gpa: u64) -> Directive {
    let compatibility_mask = SNP;
    Directive::ParameterInsert(IGVM_VHS_PARAMETER_INSERT {
        gpa,
        compatibility_mask,
        parameter_area_index,
    })
}

fn vmsa(vp_index: u16, gpa: u64, change: impl FnOnce(&mut SevVmsa)) -> Directive {
    let mut vmsa = SevVmsa::new_box_zeroed().unwrap();
    // As KVM has them: MCE, the bit that is always one, SVME.
    (vmsa.cr0, vmsa.cr4, vmsa.rflags, vmsa.efer) = (0x31, 0x40, 2, 0x1000);
    vmsa.rip = 0x1_0000;
    vmsa.sev_features.set_snp(true);
    change(&mut vmsa);
    Directive::SnpVpContext { gpa, compatibility_mask: SNP, vp_index, vmsa }
}

fn id_block(ld: Sha384) -> Directive {
    Directive::SnpIdBlock {
        compatibility_mask: SNP,
        author_key_enabled: 0,
        reserved: [0; 3],
        ld: ld.0,
        family_id: [0; 16],
        image_id: [0; 16],
        version: 1,
        guest_svn: 0,
        id_key_algorithm: 1,
        author_key_algorithm: 0,
        id_key_signature: Box::new(igvm_defs::IGVM_VHS_SNP_ID_BLOCK_SIGNATURE::new_zeroed()),
        id_public_key: Box::new(igvm_defs::IGVM_VHS_SNP_ID_BLOCK_PUBLIC_KEY::new_zeroed()),
        author_key_signature: Box::new(igvm_defs::IGVM_VHS_SNP_ID_BLOCK_SIGNATURE::new_zeroed()),
        author_public_key: Box::new(igvm_defs::IGVM_VHS_SNP_ID_BLOCK_PUBLIC_KEY::new_zeroed()),
    }
}

fn good() -> Vec<Directive> {
    vec![page(0x1000, 1), page(0x2000, 0), vmsa(0, VMSA_GPA, |_| {})]
}

fn digest(profile: &str, directives: Vec<Directive>) -> Sha384 {
    under(profile, directives).unwrap()
}

fn under(profile: &str, directives: Vec<Directive>) -> Result<Sha384, IgvmError> {
    Igvm::parse(file(directives))?.digest(IgvmProfile::by_id(profile).unwrap())
}

fn chain(updates: &[(PageType, u64, Option<&[u8]>)]) -> Sha384 {
    let mut chain = Chain::START;
    for (kind, gpa, contents) in updates {
        chain.add(&match contents {
            Some(contents) => Update::hashed(*kind, *gpa, contents),
            None => Update::placed(*kind, *gpa),
        });
    }
    chain.digest()
}

#[test]
fn both_rules_for_zero_pages() {
    let Directive::SnpVpContext { vmsa: vcpu, .. } = &good()[2] else { unreachable!() };
    let vcpu = (PageType::Vmsa, VMSA_GPA, Some(vcpu.as_bytes()));
    let one = (PageType::Normal, 0x1000, Some(&[1u8; 4096][..]));
    let normal = chain(&[one, (PageType::Normal, 0x2000, Some(&[0; 4096])), vcpu]);
    let native = chain(&[one, (PageType::Zero, 0x2000, None), vcpu]);
    assert_eq!(digest("igvm", good()), normal);
    assert_eq!(digest("igvm-qemu", good()), normal);
    assert_eq!(digest("igvm-native-zero", good()), native);
    // Zeros that are in the file are data under every rule.
    let written = vec![typed(0, IgvmPageDataFlags::new(), IgvmPageDataType::NORMAL, vec![0; 4096])];
    let expected = chain(&[(PageType::Normal, 0, Some(&[0; 4096]))]);
    assert_eq!(digest("igvm-native-zero", written), expected);
    // The digest, as it was when this was written, of a VMSA with less in it.
    let mut pinned = good();
    pinned[2] = vmsa(0, VMSA_GPA, |vmsa| (vmsa.cr4, vmsa.rflags, vmsa.efer) = (0, 0, 0));
    let pinned = digest("igvm", pinned);
    assert_eq!(pinned.to_string(), include_str!("../golden/launch/igvm").trim());
}

#[test]
fn qemu_holds_a_run_of_pages_back() {
    let (flags, kind) = (IgvmPageDataFlags::new(), IgvmPageDataType::NORMAL);
    let directives = |order: &[usize]| -> Vec<Directive> {
        let all = [
            area(7, 2),
            page(0x1000, 1),
            page(0x2000, 2),
            insert(7, 0x9000),
            page(0x3000, 3),
            vmsa(0, VMSA_GPA, |_| {}),
        ];
        order.iter().map(|index| all[*index].clone()).collect()
    };
    let in_file = directives(&[0, 1, 2, 3, 4, 5]);
    // The run before the parameters is added when the next one begins, that is after them.
    let as_added = directives(&[0, 3, 1, 2, 4, 5]);
    assert_eq!(digest("igvm-qemu", in_file.clone()), digest("igvm", as_added));
    assert_ne!(digest("igvm-qemu", in_file.clone()), digest("igvm", in_file));
    // A page that is not adjacent is a run of its own, and sends the first one on its way.
    let mut apart = directives(&[0, 1, 2, 3, 5]);
    apart[2] = page(0x5000, 2);
    let mut as_added = directives(&[0, 1, 3, 2, 5]);
    as_added[3] = page(0x5000, 2);
    assert_eq!(digest("igvm-qemu", apart), digest("igvm", as_added));
    // So does one of another kind, and so does a directive for another platform in between.
    let zero = vec![area(7, 1), page(0x1000, 1), page(0x2000, 0), insert(7, 0), vmsa_at_end()];
    let as_added = vec![area(7, 1), page(0x1000, 1), insert(7, 0), page(0x2000, 0), vmsa_at_end()];
    assert_eq!(digest("igvm-qemu", zero), digest("igvm", as_added));
    let mut native = typed(0x8000, flags, kind, vec![9; 4096]);
    if let Directive::PageData { compatibility_mask, .. } = &mut native {
        *compatibility_mask = NATIVE;
    }
    let between =
        vec![area(7, 1), page(0x1000, 1), native, page(0x2000, 2), insert(7, 0), vmsa_at_end()];
    let as_added = vec![area(7, 1), page(0x1000, 1), insert(7, 0), page(0x2000, 2), vmsa_at_end()];
    assert_eq!(digest("igvm-qemu", between), digest("igvm", as_added));
    // So does a page that another platform has too.
    let both = |mut page: Directive| {
        if let Directive::PageData { compatibility_mask, .. } = &mut page {
            *compatibility_mask = SNP | NATIVE;
        }
        page
    };
    let shared =
        vec![area(7, 1), page(0x1000, 1), both(page(0x2000, 2)), insert(7, 0), vmsa_at_end()];
    let as_added = vec![area(7, 1), page(0x1000, 1), insert(7, 0), page(0x2000, 2), vmsa_at_end()];
    assert_eq!(digest("igvm-qemu", shared), digest("igvm", as_added));
    // vCPUs come last, in their own order.
    let early = vec![vmsa(1, VMSA_GPA, |vmsa| vmsa.rip = 1), vmsa_at_end(), page(0x1000, 1)];
    let late = vec![page(0x1000, 1), vmsa_at_end(), vmsa(1, VMSA_GPA, |vmsa| vmsa.rip = 1)];
    assert_eq!(digest("igvm-qemu", early), digest("igvm", late));
}

fn vmsa_at_end() -> Directive {
    vmsa(0, VMSA_GPA, |_| {})
}

#[test]
fn what_kvm_would_not_start() {
    let refused = |directives: Vec<Directive>, words: &str| {
        let error = under("igvm-qemu", directives.clone()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        // Other VMMs have it as the file has it.
        digest("igvm", directives);
    };
    refused(vec![page(0, 1)], "no VMSA for vCPU 0");
    refused(vec![vmsa(1, VMSA_GPA, |_| {})], "no VMSA for vCPU 0");
    refused(vec![vmsa_at_end(), vmsa_at_end()], "vCPU 0: there are two");
    refused(vec![vmsa(0, 0x1000, |_| {})], "it is at 0x1000");
    refused(vec![vmsa(0, VMSA_GPA, |vmsa| vmsa.cr0 = 0x11)], "cr0 is 0x11");
    for cr0 in [0x10, 0x30, 0x31] {
        under("igvm-qemu", vec![vmsa(0, VMSA_GPA, |vmsa| vmsa.cr0 = cr0)]).unwrap();
    }
    refused(vec![vmsa(0, VMSA_GPA, |vmsa| vmsa.cr4 = 0x20)], "cr4 is 0x20");
    refused(vec![vmsa(0, VMSA_GPA, |vmsa| vmsa.rflags = 0x202)], "rflags is 0x202");
    refused(vec![vmsa(0, VMSA_GPA, |vmsa| vmsa.efer = 0x500)], "efer is 0x500");
    let other = vmsa(1, VMSA_GPA, |vmsa| vmsa.sev_features.set_debug_swap(true));
    refused(vec![vmsa_at_end(), other], "vCPU 1: sev_features are 0x21");
    refused(vec![vmsa(0, VMSA_GPA, |vmsa| vmsa.sev_features.set_snp(false))], "lack bit 0");
    refused(vec![vmsa(0, VMSA_GPA, |vmsa| vmsa.virtual_tom = 1 << 40)], "the field at 0x3cd");
    refused(vec![vmsa(0, VMSA_GPA, |vmsa| vmsa.vmpl = 1)], "the field at 0xca");
}

#[test]
fn other_platforms_do_not_count() {
    let vsm = Directive::X64VbsVpContext {
        vtl: igvm::hv_defs::Vtl::Vtl0,
        registers: vec![igvm::registers::X86Register::Rip(1)],
        compatibility_mask: 4,
    };
    let moved = |compatibility_mask| Initialization::RelocatableRegion {
        compatibility_mask,
        relocation_alignment: 0x1000,
        relocation_region_gpa: 0x1000,
        relocation_region_size: 0x1000,
        minimum_relocation_gpa: 0x1000,
        maximum_relocation_gpa: 0x10_0000,
        is_vtl2: false,
        apply_rip_offset: false,
        apply_gdtr_offset: false,
        vp_index: 0,
        vtl: igvm::hv_defs::Vtl::Vtl0,
    };
    for revision in [IgvmRevision::V1, IgvmRevision::V2 { arch: Arch::X64, page_size: 4096 }] {
        let build = |mask| {
            let platforms = vec![
                platform(IgvmPlatformType::VSM_ISOLATION, 4),
                platform(IgvmPlatformType::SEV_SNP, SNP),
            ];
            let directives = good().into_iter().chain([vsm.clone()]).collect();
            let mut file = IgvmFile::new(revision, platforms, vec![], directives).unwrap();
            if mask != 0 {
                let platforms = file.platforms().to_vec();
                let directives = file.directives().to_vec();
                file = IgvmFile::new(revision, platforms, vec![moved(4)], directives).unwrap();
            }
            serialize(&file)
        };
        let profile = IgvmProfile::by_id("igvm").unwrap();
        for mask in [0, 4] {
            let igvm = Igvm::parse(build(mask)).unwrap();
            assert_eq!(igvm.digest(profile).unwrap(), digest("igvm", good()));
            assert_eq!(igvm.policy(), None);
        }
    }
    let error = IgvmFile::new(
        IgvmRevision::V1,
        vec![platform(IgvmPlatformType::VSM_ISOLATION, 4)],
        vec![],
        vec![vsm],
    );
    let error = Igvm::parse(serialize(&error.unwrap())).unwrap_err();
    assert!(matches!(error, IgvmError::NoPlatform), "{error}");
}

/// Changes four bytes of a good file, and mends its checksum.
fn spoilt(offset: usize, value: u32) -> IgvmError {
    let mut bytes = file(good());
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    mend(&mut bytes);
    match Igvm::parse(bytes) {
        Ok(_) => panic!("{offset:#x} = {value:#x} is accepted"),
        Err(error) => error,
    }
}

fn mend(bytes: &mut [u8]) {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (start, size) = (word(8), word(12));
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..20]);
    hasher.update(&[0; 4]);
    hasher.update(bytes.get(start..start.wrapping_add(size)).unwrap_or_default());
    let checksum = hasher.finalize();
    bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn what_is_malformed() {
    let said = |offset, value, words: &str| {
        let error = spoilt(offset, value).to_string();
        assert!(error.contains(words), "{error}");
    };
    said(0, 1, "offset 0x0: the signature");
    said(4, 3, "offset 0x4: the format version is 0x3");
    said(4, 2, "offset 0x18: the architecture");
    said(8, 8, "offset 0x8: the offset of the headers is 0x8");
    said(8, u32::MAX, "offset 0x8");
    said(12, u32::MAX, "offset 0xc: the size of the headers");
    said(12, 0, "no platform header");
    said(12, 20, "header of type 0x1 with 16 bytes");
    said(16, 9, "offset 0x10: the file size is 0x9");
    let mut bytes = file(good());
    bytes[20] ^= 1;
    assert!(Igvm::parse(bytes).unwrap_err().to_string().contains("offset 0x14: the checksum"));
    // Platforms at 0x18 and 0x30, the policy at 0x48, pages at 0x60 and 0x80, the VMSA at 0xa0.
    said(0x18, 0x99, "offset 0x18: header of unknown type 0x99");
    said(0x4c, 8, "offset 0x48: header of type 0x101 with 8 bytes: expected 16");
    said(0x4c, 1 << 31, "offset 0x48");
    said(0x60, 0x306, "offset 0x60: header of unknown type 0x306");
    said(0x60 + 8 + 12, 0x60, "offset 0x60: the offset of the data");
    said(0x60 + 8 + 12, u32::MAX, "offset 0x60: the offset of the data");
    said(0x60 + 8 + 16, 1, "offset 0x60: a page of 2 MiB with data");
    said(0xa0 + 8 + 12, 0, "offset 0xa0: the offset of the data");
    said(0x60 + 8, 0x123, "offset 0x60: the guest address of this header is 0x123");
    said(0x60 + 8 + 16, 8, "offset 0x60: the flag field of this header is 0x8");
    said(0x60 + 8 + 20, 9, "offset 0x60: the data type of this header is 0x9");
    said(0x60 + 8 + 20, 1 << 16, "offset 0x60: the reserved field");
    said(0x80 + 8 + 16, 1, "offset 0x80: the guest address of this header is 0x2000");
    said(0xa0 + 8, 0x123, "offset 0xa0: the guest address");
    said(0xa0 + 8 + 16, 1 << 16, "offset 0xa0: the reserved field");
    said(0x48 + 8 + 12, 1, "offset 0x48: the reserved field");
    for mask in [0, 3, NATIVE] {
        said(0x38, mask, "offset 0x30: the compatibility mask");
    }
    assert!(matches!(spoilt(0x3c, 9 << 16 | 2 << 8), IgvmError::Format(_)), "a later platform");
    let whole = file(good());
    for length in 0..whole.len() {
        assert!(Igvm::parse(whole[..length].to_vec()).is_err(), "cut off at {length}");
    }
    let huge = vec![area(1, 1 << 21), insert(1, 0), page(0, 1)];
    let error = Igvm::parse(file(huge)).unwrap_err();
    assert!(matches!(error, IgvmError::Pages { .. }), "{error}");
    let nothing = Directive::RequiredMemory {
        gpa: 0,
        compatibility_mask: SNP,
        number_of_bytes: 0x1000,
        vtl2_protectable: false,
    };
    let mut other = page(0, 1);
    if let Directive::PageData { compatibility_mask, .. } = &mut other {
        *compatibility_mask = NATIVE;
    }
    let error = Igvm::parse(file(vec![nothing, other])).unwrap_err();
    assert!(matches!(error, IgvmError::Empty), "{error}");
}

/// The headers of a file, each with what pads it.
fn headers(file: &[u8]) -> Vec<Vec<u8>> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, end) = (word(8), word(8) + word(12));
    let mut headers = Vec::new();
    while at < end {
        let next = at + 8 + word(at + 4).next_multiple_of(8);
        headers.push(file[at..next].to_vec());
        at = next;
    }
    headers
}

/// What is said of the headers of a file in another order; its length stays.
fn reordered(directives: Vec<Directive>, order: &[usize]) -> String {
    let mut bytes = file(directives);
    let headers = headers(&bytes);
    let mixed = order.iter().flat_map(|index| headers[*index].clone()).collect::<Vec<u8>>();
    bytes[24..24 + mixed.len()].copy_from_slice(&mixed);
    mend(&mut bytes);
    Igvm::parse(bytes).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn headers_out_of_order() {
    let said = |order: &[usize], words: &str| {
        let error = reordered(good(), order);
        assert!(error.contains(words), "{error}");
    };
    // The other platform, ours, the policy, two pages, a VMSA.
    said(&[3, 0, 1, 2, 4, 5], "offset 0x38: header of type 0x1 after a directive");
    said(&[0, 1, 3, 2, 4, 5], "offset 0x68: header of type 0x101 after a directive");
    said(&[2, 0, 1, 3, 4, 5], "offset 0x30: header of type 0x1 after initialization");
    said(&[0, 2, 1, 3, 4, 5], "offset 0x48: header of type 0x1 after initialization");
    // A platform of someone else's is held to the order, too.
    said(&[1, 2, 3, 0, 4, 5], "offset 0x68: header of type 0x1 after a directive");
    said(&[1, 2, 5, 3, 4, 0], "header of type 0x1 after a directive");
}

#[test]
fn two_of_what_there_is_one_of() {
    let mut bytes = file(good());
    // The first platform is ours as well, with a bit of its own.
    bytes[0x18 + 8 + 5] = IgvmPlatformType::SEV_SNP.0;
    mend(&mut bytes);
    let error = Igvm::parse(bytes).unwrap_err().to_string();
    assert!(error.contains("offset 0x30: a second platform header"), "{error}");

    let blocks = good().into_iter().chain([id_block(Sha384::ZERO), id_block(Sha384::ZERO)]);
    let error = Igvm::parse(file(blocks.collect())).unwrap_err().to_string();
    assert!(error.contains("a second ID block"), "{error}");

    let policy =
        |compatibility_mask, policy| Initialization::GuestPolicy { policy, compatibility_mask };
    let with = |policies| {
        let platforms = IgvmFile::new_from_binary(&file(good()), None).unwrap();
        let platforms = platforms.platforms().to_vec();
        serialize(&IgvmFile::new(IgvmRevision::V1, platforms, policies, good()).unwrap())
    };
    let error = Igvm::parse(with(vec![policy(SNP, 0x3_0000), policy(SNP, 0xb_0000)])).unwrap_err();
    assert!(error.to_string().contains("offset 0x60: a second guest policy"), "{error}");
    Igvm::parse(with(vec![policy(NATIVE, 0), policy(SNP, 0x3_0000)])).unwrap();
}

#[test]
fn memory_that_is_filled_twice_or_is_not_there() {
    let said = |directives: Vec<Directive>, words: &str| {
        // A file has data; so it ends with a vCPU.
        let directives = directives.into_iter().chain([vmsa_at_end()]).collect();
        let error = Igvm::parse(file(directives)).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let flags = IgvmPageDataFlags::new;
    let flagged = |gpa, flags| typed(gpa, flags, IgvmPageDataType::NORMAL, Vec::new());
    let twice =
        |gpa: u64| format!("the page at {gpa:#x} is in the launch already, by the header at");
    // Directives begin at 0x60; pages, areas and inserts take 0x20, 0x18 and 0x18.
    said(vec![page(0x1000, 1), page(0x1000, 2)], "offset 0x80: the page at 0x1000");
    said(vec![page(0x1000, 1), page(0x1000, 2)], &twice(0x1000));
    said(vec![page(0x1000, 1), page(0, 1), page(0x1000, 1)], "offset 0xa0: the page at 0x1000");
    said(vec![page(VMSA_GPA, 1)], "offset 0x80: the page at 0xfffffffff000");
    said(vec![vmsa_at_end(), page(VMSA_GPA, 1)], &twice(VMSA_GPA));
    said(vec![area(0, 2), insert(0, 0), page(0x1000, 1)], "offset 0x90: the page at 0x1000");
    said(vec![area(0, 2), insert(0, 0), vmsa(0, 0x1000, |_| {})], &twice(0x1000));
    let areas = vec![area(0, 2), area(1, 1), insert(0, 0x1000), insert(1, 0x2000)];
    said(areas, "offset 0xa8: the page at 0x2000");
    for flag in [flags().with_shared(true), flags().with_unmeasured(true)] {
        said(vec![flagged(0x1000, flag), page(0x1000, 1)], &twice(0x1000));
    }
    let large = flagged(0x20_0000, flags().with_is_2mb_page(true));
    said(vec![large, page(0x3f_f000, 1)], &twice(0x3f_f000));
    // vCPUs share an address, and what is next to a page is not on it.
    let many = vec![page(0x1000, 1), page(0x2000, 1), vmsa_at_end(), vmsa(1, VMSA_GPA, |_| {})];
    digest("igvm-qemu", many);

    let last = (1 << 52) - 0x1000;
    digest("igvm", vec![page(last, 1), vmsa_at_end()]);
    for gpa in [1 << 52, !0xfff] {
        said(vec![page(gpa, 1)], "offset 0x60: the guest address");
        said(vec![vmsa(0, gpa, |_| {})], "offset 0x60: the guest address");
    }
    said(vec![area(0, 2), insert(0, last)], "offset 0x78: the guest address");
    said(vec![area(0, 2), insert(0, !0xfff)], "offset 0x78: the guest address");
}

#[test]
fn parameter_areas() {
    let mut bytes = file(vec![area(3, 2), insert(3, 0), vmsa_at_end()]);
    let whole = bytes.clone();
    let mut said = |offset: usize, value: u32, words: &str| {
        bytes.copy_from_slice(&whole);
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        mend(&mut bytes);
        let error = Igvm::parse(bytes.clone()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    said(0x60 + 8, 0x1001, "offset 0x60: the size of this header is 0x1001");
    said(0x60 + 8 + 8, 4, "offset 0x78: the area of this header is 0x3");
    said(0x78 + 8, 0x10, "offset 0x78: the guest address");
    // The VMSA's data is one page, and the area wants two of it.
    let data = u32::from_le_bytes(whole[0x90 + 8 + 12..][..4].try_into().unwrap());
    said(0x60 + 8 + 12, data, "offset 0x60: the offset of the data");
}

/// How much memory each directive of the property has for itself: no page may be there twice.
const SLOT: u64 = 1 << 24;

/// A directive somewhere in the first slot.
fn any_directive() -> impl Strategy<Value = Directive> {
    let gpa = || (0u64..SLOT / 4096 - 3).prop_map(|page| page * 4096);
    prop_oneof![
        6 => (gpa(), any::<(bool, bool)>(), 0u16..4, 0u8..4).prop_map(
            |(gpa, (unmeasured, shared), kind, byte)| {
                let flags = IgvmPageDataFlags::new().with_unmeasured(unmeasured).with_shared(shared);
                let data = if byte == 0 { Vec::new() } else { vec![byte - 1; 4096] };
                typed(gpa, flags, IgvmPageDataType(kind), data)
            }
        ),
        1 => (gpa(), any::<u16>(), any::<[u8; 32]>()).prop_map(|(gpa, index, seed)| {
            vmsa(index, gpa, |vmsa| {
                vmsa.as_mut_bytes().iter_mut().zip(seed.iter().cycle()).for_each(|(to, from)| *to = *from);
            })
        }),
        1 => gpa().prop_map(|gpa| Directive::RequiredMemory {
            gpa,
            compatibility_mask: SNP,
            number_of_bytes: 0x3000,
            vtl2_protectable: false,
        }),
    ]
}

fn moved(mut directive: Directive, slot: u64) -> Directive {
    match &mut directive {
        Directive::PageData { gpa, .. }
        | Directive::SnpVpContext { gpa, .. }
        | Directive::RequiredMemory { gpa, .. } => *gpa += slot * SLOT,
        _ => {}
    }
    directive
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The crate's own measurement, of files that neither side has seen before.
    #[test]
    fn agrees_with_the_igvm_crate(
        directives in prop::collection::vec(any_directive(), 0..40),
        mixed in 0u64..64,
        areas in prop::collection::vec((1u64..5, any::<prop::sample::Index>()), 0..4),
    ) {
        // Another slot for each, in an order that is not the file's.
        let slots = (0u64..).map(|index| index ^ mixed);
        let mut directives: Vec<Directive> =
            directives.into_iter().zip(slots).map(|(directive, slot)| moved(directive, slot)).collect();
        for (index, (pages, place)) in (0u32..).zip(areas) {
            let place = place.index(directives.len() + 1);
            let parameter = IGVM_VHS_PARAMETER { parameter_area_index: index, byte_offset: 0 };
            directives.splice(place..place, [
                area(index, pages),
                Directive::VpCount(parameter),
                insert(index, (64 + u64::from(index)) * SLOT),
            ]);
        }
        directives.push(vmsa_at_end());
        let bytes = file(directives);
        let theirs = IgvmFile::new_from_binary(&bytes, None).unwrap();
        let theirs =
            generate_snp_measurement(theirs.initializations(), theirs.directives(), SNP).unwrap();
        let ours = Igvm::parse(bytes).unwrap();
        prop_assert_eq!(ours.digest(IgvmProfile::by_id("igvm").unwrap()).unwrap(), Sha384(theirs));
    }

    /// Any bytes are an error or a file, never a panic.
    #[test]
    fn any_four_bytes_may_change(changes in prop::collection::vec((0usize..0xc0, any::<u32>()), 1..4)) {
        let mut bytes = file(good());
        for (offset, value) in changes {
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        mend(&mut bytes);
        if let Ok(igvm) = Igvm::parse(bytes) {
            for profile in PROFILES {
                let _ = igvm.digest(profile);
            }
        }
    }
}
