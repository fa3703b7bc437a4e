//! IGVM files, written by Microsoft's own crate and measured by it too, and files made to be wrong.

use std::fs;

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

use crate::drop_in::{measure, refused, stdout};

/// The bits of the two platforms in these files.
const SNP: u32 = 1;
const NATIVE: u32 = 2;

fn file(directives: Vec<Directive>) -> Vec<u8> {
    let platform = |platform_type, compatibility_mask| {
        IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
            compatibility_mask,
            highest_vtl: 0,
            platform_type,
            platform_version: 1,
            shared_gpa_boundary: 0,
        })
    };
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
    vmsa.cr0 = 0x31;
    vmsa.rip = 0x1_0000;
    vmsa.sev_features.set_snp(true);
    change(&mut vmsa);
    Directive::SnpVpContext { gpa, compatibility_mask: SNP, vp_index, vmsa }
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
    let Directive::SnpVpContext { vmsa, .. } = &good()[2] else { unreachable!() };
    let vmsa = (PageType::Vmsa, VMSA_GPA, Some(vmsa.as_bytes()));
    let one = (PageType::Normal, 0x1000, Some(&[1u8; 4096][..]));
    let normal = chain(&[one, (PageType::Normal, 0x2000, Some(&[0; 4096])), vmsa]);
    let native = chain(&[one, (PageType::Zero, 0x2000, None), vmsa]);
    assert_eq!(digest("igvm", good()), normal);
    assert_eq!(digest("igvm-qemu", good()), normal);
    assert_eq!(digest("igvm-native-zero", good()), native);
    // Zeros that are in the file are data under every rule.
    let written = vec![typed(0, IgvmPageDataFlags::new(), IgvmPageDataType::NORMAL, vec![0; 4096])];
    let expected = chain(&[(PageType::Normal, 0, Some(&[0; 4096]))]);
    assert_eq!(digest("igvm-native-zero", written), expected);
    // The digest, as it was when this was written.
    assert_eq!(normal.to_string(), include_str!("../golden/launch/igvm").trim());
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
    let platform = |platform_type, compatibility_mask| {
        IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
            compatibility_mask,
            highest_vtl: 0,
            platform_type,
            platform_version: 1,
            shared_gpa_boundary: 0,
        })
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
    assert!(matches!(spoilt(0x60 + 8, 0x123), IgvmError::Format(_)), "an address inside a page");
    assert!(matches!(spoilt(0x60 + 8 + 20, 9), IgvmError::Format(_)), "an unknown type of page");
    assert!(matches!(spoilt(0x60 + 8 + 20, 1 << 16), IgvmError::Format(_)), "a reserved field");
    assert!(matches!(spoilt(0x38, 3), IgvmError::Format(_)), "a platform with two bits");
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

#[test]
fn the_command() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, directives| fs::write(place.path().join(name), file(directives));
    let run = |line: &str| measure(place.path(), &line.split(' ').collect::<Vec<_>>());
    write("good.igvm", good()).unwrap();
    let text = stdout(&run("--igvm good.igvm"));
    for profile in PROFILES {
        let digest = digest(profile.id, good()).to_string();
        assert!(text.lines().any(|line| line == format!("{:16}  {digest}", profile.id)), "{text}");
        let one = stdout(&run(&format!("--igvm good.igvm --profile {}", profile.id)));
        assert_eq!(one, format!("{digest}\n"));
    }
    assert!(
        text.starts_with("3 pages, 1 vCPU, policy 0x30000 (SMT, RESERVED_ONE), no ID block\n"),
        "{text}"
    );
    let json = stdout(&run("--igvm good.igvm --format json"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["vmsas"], &json["policy"]), (&1.into(), &"0x30000".into()));
    assert_eq!(json["digests"][1]["profile"], "igvm-native-zero");
    let trace = stdout(&run("--igvm good.igvm --profile igvm --trace"));
    assert!(trace.contains("vmsa        0xfffffffff000      1"), "{trace}");
    assert!(trace.contains(&digest("igvm", good()).to_string()), "{trace}");
    stdout(&run("--igvm good.igvm --profile igvm --dump-vmsa"));
    assert_eq!(fs::read(place.path().join("vmsa0.bin")).unwrap().len(), 4096);

    write("far.igvm", vec![page(0, 1), vmsa(0, 0x1000, |_| {})]).unwrap();
    let text = stdout(&run("--igvm far.igvm"));
    assert!(text.contains("igvm-qemu         none: the VMSA of vCPU 0: it is at 0x1000"), "{text}");
    refused(&run("--igvm far.igvm --profile igvm-qemu"), 30, "it is at 0x1000");

    let mut bytes = file(good());
    bytes[0] = 0;
    fs::write(place.path().join("bad.igvm"), bytes).unwrap();
    refused(&run("--igvm bad.igvm"), 30, "offset 0x0: the signature");
    refused(&run("--igvm missing.igvm"), 1, "missing.igvm");
    refused(&run("--igvm good.igvm --trace"), 2, "one launch");
    refused(&run("--igvm good.igvm --profile qemu"), 2, "`igvm-qemu`");
    refused(&run("--igvm good.igvm --vcpus 1"), 2, "--vcpus");
    refused(&run("--igvm good.igvm --kernel good.igvm"), 2, "--kernel");

    let block = |ld: Sha384| Directive::SnpIdBlock {
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
    };
    let signed = |ld| good().into_iter().chain([block(ld)]).collect();
    write("signed.igvm", signed(digest("igvm", good()))).unwrap();
    stdout(&run("--igvm signed.igvm"));
    stdout(&run("--igvm signed.igvm --profile igvm-qemu"));
    let output = run("--igvm signed.igvm --profile igvm-native-zero");
    assert_eq!(output.status.code(), Some(10));
    write("other.igvm", signed(Sha384::ZERO)).unwrap();
    let output = run("--igvm other.igvm");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(10) && stderr.contains("the ID block in"), "{stderr}");
}

fn any_directive() -> impl Strategy<Value = Directive> {
    let gpa = || (0u64..1 << 36).prop_map(|page| page * 4096);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The crate's own measurement, of files that neither side has seen before.
    #[test]
    fn agrees_with_the_igvm_crate(
        mut directives in prop::collection::vec(any_directive(), 0..40),
        areas in prop::collection::vec((1u64..5, any::<prop::sample::Index>()), 0..4),
    ) {
        for (index, (pages, place)) in (0u32..).zip(areas) {
            let place = place.index(directives.len() + 1);
            let parameter = IGVM_VHS_PARAMETER { parameter_area_index: index, byte_offset: 0 };
            directives.splice(place..place, [
                area(index, pages),
                Directive::VpCount(parameter),
                insert(index, u64::from(index) << 20),
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
