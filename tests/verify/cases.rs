//! The table: a machine, a certificate, a list, a policy or a release, each wrong in one way, and the reason
//! that names it. Every reason there is has a case here, in `wrappers` or in `published`.

use std::collections::BTreeSet;

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::launch::{Cpu, Policy as GuestPolicy, Signature};
use counterfoil::report::binding::report_data;
use counterfoil::report::certificate::Certificate;
use counterfoil::report::crl::Crl;
use counterfoil::report::verdict::Answer;
use counterfoil::report::{
    Collateral, Evidence, Expected, Policy, Product, Question, Reason, Roots, Verdict, verify,
};
use sev::certs::snp::{Chain, Verifiable as _};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

use crate::asked::{Asked, Known};
use crate::support::amd::{Algorithm, Key, NOW, Spec, amd, table, time};
use crate::support::launch::record;
use crate::{published, wrappers};

type Case = (Reason, &'static str, fn(&mut Asked));

const NONCE: [u8; 32] = [0x11; 32];
const KEY: [u8; 32] = [0x22; 32];

/// Each begins with a Genoa machine that is accepted.
#[rustfmt::skip]
const CASES: &[Case] = &[
    // The report.
    (Reason::ReportVersion, "version 6", |asked| { asked.machine.set(0, &[6]); }),
    (Reason::ReportVersion, "version 1", |asked| { asked.machine.set(0, &[1]); }),
    (Reason::ReportVersion4, "version 4", |asked| { asked.machine.set(0, &[4]); }),
    (Reason::ReportReserved, "a byte that version 5 reserves", |asked| { asked.machine.set(0x250, &[1]); }),
    (Reason::ReportReserved, "KEY_INFO, bit 5", |asked| { asked.machine.set(0x48, &[1 << 5]); }),
    (Reason::ReportAlgorithm, "SIGNATURE_ALGO 2", |asked| { asked.machine.set(0x34, &[2]); }),
    (Reason::ReportUnsigned, "no signing key", |asked| { asked.machine.set(0x48, &[7 << 2]); }),
    (Reason::ReportSigningKey, "signing key 3", |asked| { asked.machine.set(0x48, &[3 << 2]); }),
    (Reason::ReportFromHost, "asked for by the host", |asked| { asked.machine.set(0x30, &[0xff; 4]); }),
    (Reason::ReportVmpl, "VMPL 4", |asked| { asked.machine.set(0x30, &[4]); }),
    (Reason::ReportSignatureForm, "R is zero", |asked| {
        asked.on_the_way = |bytes| bytes.evidence[0x2a0..0x2a0 + 48].fill(0);
    }),
    (Reason::ReportSignatureForm, "S is no less than the group's order", |asked| {
        asked.on_the_way = |bytes| bytes.evidence[0x2e8..0x2e8 + 48].fill(0xff);
    }),
    (Reason::ReportSignatureForm, "something behind the signature", |asked| {
        asked.on_the_way = |bytes| bytes.evidence[0x4a0 - 1] = 1;
    }),
    (Reason::ReportSignature, "REPORT_DATA was changed", |asked| {
        asked.on_the_way = |bytes| bytes.evidence[0x50] ^= 1;
    }),
    (Reason::ReportSignature, "R and S were changed for one another", |asked| {
        asked.on_the_way = |bytes| {
            let (r, s) = bytes.evidence[0x2a0..0x2a0 + 144].split_at_mut(72);
            r.swap_with_slice(s);
        };
    }),

    // The processor.
    (Reason::ProductUnknown, "a processor that is not known", |asked| {
        asked.machine.set(0x188, &[0x1a, 0x50, 0]);
        asked.vek().extensions.retain(|(oid, ..)| *oid != amd("2"));
        let unknown = der::Encode::to_der(&der::asn1::Ia5StringRef::new("Venice").unwrap()).unwrap();
        asked.vek().extensions.push((amd("2"), false, unknown));
    }),
    (Reason::ProductUnknown, "a processor that is not known, with a Genoa's certificate", |asked| {
        asked.machine.set(0x188, &[0x1a, 0x50, 0]);
    }),
    (Reason::ProductUnknown, "no processor, in a version that says which", |asked| {
        asked.machine.set(0x188, &[0; 3]);
    }),
    (Reason::ProductUndetermined, "version 2, and a certificate without an extension", |asked| {
        *asked = Asked::good(Product::Milan);
        asked.machine.set(0, &[2]).set(0x188, &[0; 3]);
        asked.vek().extensions.retain(|(oid, ..)| *oid != amd("3.1"));
    }),
    (Reason::ProductMismatch, "a Milan's certificate", |asked| {
        asked.machine.leaf.product_name = "Milan-B0".to_owned();
        asked.vek = Some(asked.machine.vek());
    }),
    (Reason::ProductDenied, "no Genoa", |asked| asked.policy("products: [Milan, Turin]")),

    // Who signs.
    (Reason::SignerDenied, "no VCEK", |asked| asked.policy("signers: [vlek]")),
    (Reason::CspDenied, "a VCEK, where clouds are named", |asked| asked.policy("csp-ids: [CN=cloud.example]")),
    (Reason::CspDenied, "another cloud's VLEK", |asked| {
        *asked = Asked::vlek(Product::Genoa);
        asked.policy("csp-ids: [CN=another.example]");
    }),
    (Reason::CertificateUnknown, "a root by another name", |asked| {
        let ark = asked.ark();
        (ark.subject, ark.issuer) = ("ARK-Genob".to_owned(), "ARK-Genob".to_owned());
    }),
    (Reason::VekMissing, "no certificate for the signing key", |asked| asked.vek = None),
    (Reason::VekKind, "a VLEK's certificate for a VCEK's report", |asked| {
        asked.vek = Asked::vlek(Product::Genoa).vek;
    }),
    (Reason::VekKey, "a certificate for an RSA key", |asked| asked.vek().spki = Key::Ask.spki()),
    (Reason::VekExtension, "no blSPL", |asked| asked.vek().extensions.retain(|(oid, ..)| *oid != amd("3.1"))),
    (Reason::VekExtension, "no hwID", |asked| asked.vek().extensions.retain(|(oid, ..)| *oid != amd("4"))),
    (Reason::VekExtension, "a hwID of 8 bytes", |asked| {
        asked.machine.leaf.hw_id = Some(vec![1; 8]);
        asked.vek = Some(asked.machine.vek());
    }),
    (Reason::VekExtension, "snpSPL twice", |asked| {
        let again = asked.vek().extensions.iter().find(|(oid, ..)| *oid == amd("3.3")).unwrap().clone();
        asked.vek().extensions.push(again);
    }),
    (Reason::VekExtension, "a critical extension that nobody knows", |asked| {
        asked.vek().extensions.push(("1.2.3.4".to_owned(), true, vec![5, 0]));
    }),
    (Reason::VekExtension, "a level that nothing has a use for", |asked| {
        asked.vek().extensions.retain(|(oid, ..)| *oid != amd("3.5"));
        asked.vek().extensions.push((amd("3.5"), false, vec![2, 1, 1]));
    }),
    (Reason::VekExtension, "Turin without fmcSPL", |asked| {
        *asked = Asked::good(Product::Turin);
        asked.vek().extensions.retain(|(oid, ..)| *oid != amd("3.9"));
    }),
    (Reason::VekExtension, "a form that is not known", |asked| {
        asked.vek().extensions[0].2 = vec![2, 1, 7];
    }),
    (Reason::VekExtension, "a chip's certificate that is an operator's, too", |asked| {
        asked.machine.leaf.csp_id = Some("CN=cloud.example".to_owned());
        asked.vek = Some(asked.machine.vek());
    }),
    (Reason::VekExtension, "an operator's certificate that is a chip's, too", |asked| {
        *asked = Asked::vlek(Product::Genoa);
        asked.machine.leaf.hw_id = Some(vec![1; 64]);
        asked.vek = Some(asked.machine.vek());
    }),
    (Reason::VekExtension, "a VLEK of nobody", |asked| {
        *asked = Asked::vlek(Product::Genoa);
        asked.vek().extensions.retain(|(oid, ..)| *oid != amd("5"));
    }),
    (Reason::VekIssuer, "issued by another name", |asked| asked.vek().issuer = "SEV-Genoa-2".to_owned()),
    (Reason::VekAlgorithm, "signed by PKCS #1 v1.5", |asked| asked.vek().algorithm = Algorithm::Pkcs1),
    (Reason::VekAlgorithm, "signed by PSS with SHA-256", |asked| asked.vek().algorithm = Algorithm::Pss256),
    (Reason::VekSignature, "signed by a stranger", |asked| asked.vek().key = Key::Stranger),
    (Reason::VekSignature, "signed by the root itself", |asked| asked.vek().key = Key::Ark),
    (Reason::VekSignature, "a byte of it was changed", |asked| {
        asked.on_the_way = |bytes| *bytes.vek.last_mut().unwrap() ^= 1;
    }),
    (Reason::VekNotYetValid, "before the signing key's certificate", |asked| {
        asked.vek().from = time("2026-11-23T00:00:00Z");
    }),
    (Reason::VekExpired, "after the signing key's certificate", |asked| {
        asked.vek().to = time("2026-11-21T00:00:00Z");
    }),
    (Reason::VekTcb, "a certificate of older microcode", |asked| {
        asked.machine.leaf.tcb[4] = Some(83);
        asked.vek = Some(asked.machine.vek());
    }),
    (Reason::VekTcb, "a certificate of a newer SNP firmware", |asked| {
        asked.machine.leaf.tcb[3] = Some(26);
        asked.vek = Some(asked.machine.vek());
    }),
    (Reason::VekTcb, "Turin's FMC", |asked| {
        *asked = Asked::good(Product::Turin);
        asked.machine.leaf.tcb[0] = Some(2);
        asked.vek = Some(asked.machine.vek());
    }),
    (Reason::VekTcb, "an FMC where there is none", |asked| {
        asked.machine.leaf.tcb[0] = Some(1);
        asked.vek = Some(asked.machine.vek());
    }),
    (Reason::VekChipId, "another chip's certificate", |asked| {
        asked.machine.leaf.hw_id.as_mut().unwrap()[63] ^= 1;
        asked.vek = Some(asked.machine.vek());
    }),
    (Reason::VekChipId, "another Turin's certificate", |asked| {
        *asked = Asked::good(Product::Turin);
        asked.machine.leaf.hw_id.as_mut().unwrap()[7] ^= 1;
        asked.vek = Some(asked.machine.vek());
    }),

    // The intermediate key.
    (Reason::AskMissing, "no intermediate certificate", |asked| asked.ask = None),
    (Reason::AskMissing, "the intermediate certificate of VLEKs", |asked| asked.ask = Asked::vlek(Product::Genoa).ask),
    (Reason::AskMalformed, "an intermediate certificate for a key on P-384", |asked| {
        asked.ask().spki = crate::support::amd::vek_spki();
    }),
    (Reason::AskNotCa, "an intermediate certificate that may not sign", |asked| {
        asked.ask().extensions[0].2 = vec![0x30, 0];
    }),
    (Reason::AskNotCa, "an intermediate certificate for lists only", |asked| {
        asked.ask().extensions[1].2 = vec![3, 2, 1, 2];
    }),
    (Reason::AskNotCa, "an intermediate certificate with something critical", |asked| {
        asked.ask().extensions.push(("1.2.3.4".to_owned(), true, vec![5, 0]));
    }),
    (Reason::AskIssuer, "an intermediate certificate by another root's name", |asked| {
        asked.ask().issuer = "ARK-Milan".to_owned();
    }),
    (Reason::AskAlgorithm, "an intermediate certificate by PKCS #1 v1.5", |asked| {
        asked.ask().algorithm = Algorithm::Pkcs1;
    }),
    (Reason::AskSignature, "an intermediate certificate by itself", |asked| asked.ask().key = Key::Ask),
    (Reason::AskNotYetValid, "before the intermediate certificate", |asked| {
        asked.ask().from = time("2026-11-23T00:00:00Z");
    }),
    (Reason::AskExpired, "after the intermediate certificate", |asked| {
        asked.ask().to = time("2026-11-21T00:00:00Z");
    }),

    // The root.
    (Reason::ArkNotPinned, "another root came along", |asked| {
        let ark = asked.ark();
        (ark.spki, ark.key) = (Key::Stranger.spki(), Key::Stranger);
    }),
    (Reason::ArkNotPinned, "the tests' root is not AMD's", |asked| {
        asked.roots = counterfoil::report::Roots::amd();
    }),
    (Reason::ArkSignature, "the root's certificate by another", |asked| asked.ark().key = Key::Ask),
    (Reason::ArkNotCa, "a root that may not sign certificates", |asked| asked.ark().extensions[0].2 = vec![0x30, 0]),
    (Reason::ArkNotCa, "a root that may not sign what signs certificates", |asked| {
        asked.ark().extensions[0].2 = vec![0x30, 6, 1, 1, 0xff, 2, 1, 0];
    }),
    (Reason::ArkNotYetValid, "before the root", |asked| asked.ark().from = time("2026-11-23T00:00:00Z")),
    (Reason::ArkExpired, "after the root", |asked| asked.ark().to = time("2026-11-21T00:00:00Z")),

    // What was revoked.
    (Reason::CrlMissing, "no list", |asked| asked.crl = None),
    (Reason::CrlIssuer, "another root's list", |asked| asked.crl().issuer = "ARK-Milan".to_owned()),
    (Reason::CrlUnknown, "a list by a name that no root has", |asked| asked.crl().issuer = "ARK-Genob".to_owned()),
    (Reason::CrlUnknown, "such a list, where none is asked for", |asked| {
        asked.crl().issuer = "ARK-Geno".to_owned();
        asked.policy("freshness: {crl: optional}");
    }),
    (Reason::CrlAlgorithm, "a list by PKCS #1 v1.5", |asked| asked.crl().algorithm = Algorithm::Pkcs1),
    (Reason::CrlSignature, "a list by the intermediate key", |asked| asked.crl().key = Key::Ask),
    (Reason::CrlStale, "a list of which there should be a newer", |asked| {
        asked.crl().next = Some(time("2026-11-21T00:00:00Z"));
    }),
    (Reason::CrlTooOld, "a list of half a year ago", |asked| {
        asked.crl().this = time("2026-05-01T00:00:00Z");
        asked.policy("freshness: {crl-max-age-days: 90}");
    }),
    (Reason::AskRevoked, "the intermediate certificate was revoked", |asked| asked.crl().revoked = vec![0x10001]),
    (Reason::ArkRevoked, "the root was revoked", |asked| asked.crl().revoked = vec![5, 0x10000]),
    (Reason::ArkRevoked, "the root was revoked, and its certificate is not at hand", |asked| {
        asked.crl().revoked = vec![0x10000];
        asked.ark = None;
    }),

    // What the machine is.
    (Reason::TcbUnlisted, "no minimum for this processor", |asked| {
        asked.policy("minimum-tcb: [{product: Milan}, {cpu: \"0xa10f12\"}]");
    }),
    (Reason::TcbFmc, "FMC", |asked| {
        *asked = Asked::good(Product::Turin);
        asked.policy("minimum-tcb: [{product: Turin, fmc: 2}]");
    }),
    (Reason::TcbBootloader, "boot loader", |asked| asked.policy("minimum-tcb: [{product: Genoa, bootloader: 11}]")),
    (Reason::TcbTee, "TEE", |asked| asked.policy("minimum-tcb: [{product: Genoa, tee: 1}]")),
    (Reason::TcbSnp, "SNP firmware", |asked| asked.policy("minimum-tcb: [{product: Genoa, snp: 26}]")),
    (Reason::TcbMicrocode, "microcode", |asked| asked.policy("minimum-tcb: [{product: Genoa, microcode: 85}]")),
    (Reason::TcbMicrocode, "microcode of one stepping", |asked| {
        asked.policy("minimum-tcb: [{cpu: \"0xa10f11\", microcode: 85}, {product: Genoa}]");
    }),
    (Reason::TcbCommitted, "the host can go back", |asked| {
        let old = asked.machine.tcb([0, 10, 0, 22, 84]);
        asked.machine.set(0x1e0, &old);
        asked.policy("minimum-tcb-also: [committed]");
    }),
    (Reason::TcbLaunch, "launched on older firmware", |asked| {
        let old = asked.machine.tcb([0, 10, 0, 25, 80]);
        asked.machine.set(0x1f0, &old);
        asked.policy("minimum-tcb-also: [committed, launch]");
    }),
    (Reason::PolicyReserved, "a guest policy without bit 17", |asked| { asked.machine.set(0x08, &[0, 0, 1]); }),
    (Reason::PolicyReserved, "a guest policy with bit 30", |asked| { asked.machine.set(0x0b, &[0x40]); }),
    (Reason::PolicyDebug, "debugging", |asked| { asked.machine.set(0x08, &[0, 0, 0x0b]); }),
    (Reason::PolicyMigration, "migration", |asked| { asked.machine.set(0x08, &[0, 0, 0x07]); }),
    (Reason::PolicyDenied, "multithreading, where it is denied", |asked| {
        asked.policy("guest-policy: {deny: [smt]}");
    }),
    (Reason::PolicyRequired, "no ciphertext hiding, where it is required", |asked| {
        asked.policy("guest-policy: {require: [ciphertext-hiding]}");
    }),
    (Reason::PolicyAbi, "any firmware interface", |asked| {
        asked.policy("guest-policy: {minimum-abi: {major: 1, minor: 51}}");
    }),
    (Reason::PolicyWeaker, "CXL, which the release does not allow", |asked| {
        asked.machine.set(0x08, &[0, 0, 0x23]);
    }),
    (Reason::PolicyWeaker, "one socket, which the release asks for", |asked| {
        let mut record = record();
        record.policy = GuestPolicy(record.policy.0 | 1 << 20);
        asked.expected = Known::Release(Box::new(record));
    }),
    (Reason::PlatformDenied, "multithreading on the host", |asked| asked.policy("platform: {deny: [smt]}")),
    (Reason::PlatformRequired, "no alias check", |asked| { asked.machine.set(0x40, &[0x05]); }),
    (Reason::Vmpl, "VMPL 1", |asked| { asked.machine.set(0x30, &[1]); }),
    (Reason::GuestSvn, "an old guest", |asked| asked.policy("minimum-guest-svn: 1")),
    (Reason::FamilyId, "another family", |asked| {
        asked.policy("family-id: \"00112233445566778899aabbccddeeff\"");
    }),
    (Reason::ImageId, "another image", |asked| {
        asked.policy("image-id: \"00112233445566778899aabbccddeeff\"");
    }),
    (Reason::IdKey, "no ID block", |asked| asked.policy(&format!("id-keys: [\"{}\"]", Sha384::of("key")))),
    (Reason::IdKey, "another ID key", |asked| {
        asked.machine.set(0xe0, &Sha384::of("another").0);
        asked.policy(&format!("id-keys: [\"{}\", \"{}\"]", Sha384::of("key"), Sha384::of("other")));
    }),
    (Reason::AuthorKey, "no author key", |asked| {
        asked.policy(&format!("author-keys: [\"{}\"]", Sha384::of("author")));
    }),
    (Reason::AuthorKey, "the digest of an author key, where KEY_INFO says that there is none", |asked| {
        asked.machine.set(0x110, &Sha384::of("author").0);
        asked.policy(&format!("author-keys: [\"{}\"]", Sha384::of("author")));
    }),
    (Reason::HostData, "other HOST_DATA", |asked| {
        asked.policy(&format!("host-data: \"{}\"", Sha256::of("host")));
    }),
    (Reason::ChipIdMasked, "a masked chip, where chips are named", |asked| {
        asked.machine.set(0x1a0, &[0; 64]);
        asked.policy(&format!("chip-ids: [\"{}\"]", "01".repeat(64)));
    }),
    (Reason::ChipIdDenied, "another chip", |asked| {
        asked.policy(&format!("chip-ids: [\"{}\", \"0102030405060708\"]", "01".repeat(64)));
    }),
    (Reason::MitigationsUnknown, "mitigations, where the report has none", |asked| {
        *asked = Asked::good(Product::Milan);
        asked.policy("mitigations: {current: \"0x1\"}");
    }),
    (Reason::MitigationsLaunch, "launched without a mitigation", |asked| {
        asked.machine.set(0x1f8, &[2]).set(0x200, &[3]);
        asked.policy("mitigations: {launch: \"0x3\", current: \"0x3\"}");
    }),
    (Reason::MitigationsCurrent, "without a mitigation", |asked| {
        asked.machine.set(0x1f8, &[3]).set(0x200, &[1]);
        asked.policy("mitigations: {launch: \"0x3\", current: \"0x3\"}");
    }),

    // What is bound.
    (Reason::ReportData, "other REPORT_DATA", |asked| {
        asked.policy(&format!("report-data: {{raw: \"{}\"}}", "ab".repeat(64)));
    }),
    (Reason::ReportData, "another key's digest", |asked| {
        asked.machine.set(0x50, &Sha256::of("key").0);
        asked.policy(&format!("report-data: {{sha256-spki: \"{}\"}}", Sha256::of("another key")));
    }),
    (Reason::ReportData, "something behind the key's digest", |asked| {
        asked.machine.set(0x50, &Sha256::of("key").0).set(0x8f, &[1]);
        asked.policy(&format!("report-data: {{sha256-spki: \"{}\"}}", Sha256::of("key")));
    }),
    (Reason::ReportData, "another nonce: a recording", |asked| {
        asked.machine.set(0x50, &report_data(&[0x12; 32], &KEY));
        asked.policy(&format!("report-data: {{labelled: \"{}\"}}", "22".repeat(32)));
        asked.nonce = Some(NONCE);
    }),
    (Reason::BindingMissing, "no key was bound", |asked| {
        asked.machine.set(0x50, &report_data(&NONCE, &[0; 32]));
        asked.policy(&format!("report-data: {{labelled: \"{}\"}}", "22".repeat(32)));
        asked.nonce = Some(NONCE);
    }),
    (Reason::NonceMissing, "no nonce, where one is required", |asked| {
        asked.policy("freshness: {nonce: required}");
    }),
    (Reason::NonceMissing, "a labelled hash without a nonce", |asked| {
        asked.policy("report-data: {labelled: any}");
    }),
    (Reason::NonceUnused, "a nonce that nothing is made of", |asked| asked.nonce = Some(NONCE)),

    // What runs.
    (Reason::RecordInvalid, "a record that contradicts itself", |asked| asked.expected = Known::Invalid),
    (Reason::MeasurementUnexpected, "another digest", |asked| {
        asked.expected = Known::Measurement(Sha384::of("another"));
    }),
    (Reason::MeasurementUnknown, "another image", |asked| { asked.machine.set(0x90, &[0x77; 48]); }),
    (Reason::MeasurementRow, "one vCPU, where two are wanted", |asked| asked.policy("vcpus: [2]")),
    (Reason::MeasurementRow, "a CPU that is not wanted", |asked| asked.policy("cpus: [EPYC-v4]")),
];

#[test]
fn what_is_right_is_accepted() {
    for product in Product::ALL {
        for (signer, asked) in [("VCEK", Asked::good(product)), ("VLEK", Asked::vlek(product))] {
            let verdict = asked.answer();
            assert_eq!(
                verdict.verdict,
                Answer::Accepted,
                "{product} {signer}: {:#?}",
                verdict.reasons
            );
            let matched = verdict.matched.unwrap();
            assert_eq!((matched.vcpus, matched.cpu.as_deref()), (1, Some("EPYC-Milan")));
        }
    }
    // A report of version 2 has no CPUID; the certificate says the product.
    let mut old = Asked::good(Product::Milan);
    old.machine.set(0, &[2]).set(0x188, &[0; 3]);
    assert_eq!(old.reasons(), []);
    // Under a mask the key is of one chip all the same.
    let mut masked = Asked::good(Product::Genoa);
    masked.machine.set(0x1a0, &[0; 64]);
    assert_eq!(masked.reasons(), []);
    // Without the root's certificate, whose key is built in.
    let mut rootless = Asked::good(Product::Turin);
    rootless.ark = None;
    assert_eq!(rootless.reasons(), []);
}

#[test]
fn what_is_wrong_is_named() {
    let mut seen = BTreeSet::new();
    let mut table = Vec::new();
    for (reason, what, change) in CASES {
        let mut asked = Asked::good(Product::Genoa);
        change(&mut asked);
        let verdict = asked.answer();
        let reasons: Vec<Reason> = verdict.reasons.iter().map(|found| found.code).collect();
        assert_ne!(verdict.verdict, Answer::Accepted, "{what}");
        assert!(reasons.contains(reason), "{what}: expected {reason}, found {reasons:?}");
        table.push(format!("{:24} {what}", reason.code()));
        seen.insert(*reason);
    }
    eprintln!("{}\n{} cases, {} reasons", table.join("\n"), table.len(), seen.len());
    assert!(table.len() >= 60);
    seen.extend(wrappers::REASONS);
    seen.extend(published::reasons());
    let all: BTreeSet<Reason> = Reason::ALL.iter().copied().collect();
    let never: Vec<_> = all.difference(&seen).collect();
    assert!(never.is_empty(), "reasons without a case: {never:?}");
}

/// One thing that is wrong is one reason, but where it makes others wrong by itself.
#[test]
fn nothing_else_is_named() {
    let together = |reason: Reason| match reason {
        Reason::ProductUnknown => &[Reason::ProductUndetermined][..],
        Reason::ProductUndetermined => &[Reason::VekExtension, Reason::ReportReserved],
        Reason::ProductMismatch => &[Reason::VekIssuer],
        Reason::PolicyDebug | Reason::PolicyMigration => &[Reason::PolicyWeaker],
        // A chain of somebody else's is his from the intermediate certificate on.
        Reason::ArkNotPinned => &[Reason::AskSignature, Reason::CrlSignature],
        Reason::AskMalformed => &[Reason::AskMissing],
        Reason::ReportFromHost | Reason::ReportVmpl => &[Reason::Vmpl],
        _ => &[],
    };
    for (reason, what, change) in CASES {
        let mut asked = Asked::good(Product::Genoa);
        change(&mut asked);
        for found in asked.reasons() {
            let expected = found == *reason || together(*reason).contains(&found);
            assert!(expected, "{what}: {reason}, and {found} beside it");
        }
    }
}

/// The `sev` crate knows signatures and chains. Where it says no, so do we.
#[test]
fn the_sev_crate_agrees() {
    let (mut yes, mut no) = (0, 0);
    for (reason, what, change) in CASES {
        let mut asked = Asked::good(Product::Genoa);
        change(&mut asked);
        let bytes = asked.bytes();
        let chain = Chain::from_der(&bytes.ark, &bytes.ask, &bytes.vek);
        let report = AttestationReport::from_bytes(&bytes.evidence);
        let (Ok(chain), Ok(report)) = (chain, report) else { continue };
        let theirs = chain.verify().is_ok() && (&chain, &report).verify().is_ok();
        if theirs {
            yes += 1;
            continue;
        }
        no += 1;
        // It writes the report anew before it verifies, and so stumbles over what it has no field for.
        let rewritten = matches!(reason, Reason::ReportReserved | Reason::ProductUnknown);
        let chain = matches!(
            reason,
            Reason::ReportSignature
                | Reason::ReportSignatureForm
                | Reason::VekKey
                | Reason::VekKind
                | Reason::VekSignature
                | Reason::VekAlgorithm
                | Reason::VekIssuer
                | Reason::AskSignature
                | Reason::AskAlgorithm
                | Reason::AskMalformed
                | Reason::AskMissing
                | Reason::ArkSignature
                | Reason::ArkNotPinned
        );
        assert!(chain || rewritten, "{what}: rejected by sev, by us for {reason} only");
    }
    eprintln!("of the cases sev takes {yes} and rejects {no}");
    assert!(yes > 40 && no > 5, "{yes} {no}");
    for asked in
        [Asked::good(Product::Genoa), Asked::good(Product::Milan), Asked::good(Product::Turin)]
    {
        let bytes = asked.bytes();
        let chain = Chain::from_der(&bytes.ark, &bytes.ask, &bytes.vek).unwrap();
        let report = AttestationReport::from_bytes(&bytes.evidence).unwrap();
        (&chain, &report).verify().unwrap();
    }
}

#[test]
fn what_is_bound_is_accepted_by_each_scheme() {
    let digest = Sha256::of("key");
    let mut raw = Asked::good(Product::Genoa);
    raw.machine.set(0x50, &[0xab; 64]);
    raw.policy(&format!("report-data: {{raw: \"{}\"}}", "ab".repeat(64)));
    let mut spki = Asked::good(Product::Genoa);
    spki.machine.set(0x50, &digest.0);
    spki.policy(&format!("report-data: {{sha256-spki: \"{digest}\"}}"));
    let mut labelled = Asked::good(Product::Genoa);
    labelled.machine.set(0x50, &report_data(&NONCE, &KEY));
    labelled.policy(&format!("report-data: {{labelled: \"{}\"}}", "22".repeat(32)));
    labelled.nonce = Some(NONCE);
    let mut unbound = Asked::good(Product::Genoa);
    unbound.machine.set(0x50, &report_data(&NONCE, &[0; 32]));
    unbound.policy("report-data: {labelled: none}\nfreshness: {nonce: required}");
    unbound.nonce = Some(NONCE);
    for asked in [raw, spki, labelled, unbound] {
        assert_eq!(asked.reasons(), [], "{}", asked.policy);
    }
}

#[test]
fn a_diagnosis_is_a_diagnosis() {
    let mut asked = Asked::good(Product::Genoa);
    let record = record();
    let cpu = record.cpus[0].clone();
    let three = record.digest(3, cpu, record.sev_features[0]).unwrap();
    asked.machine.set(0x90, &three.0);
    let verdict = asked.answer();
    assert_eq!(verdict.verdict, Answer::Rejected);
    let diagnosis = verdict.diagnosis.unwrap();
    assert_eq!(diagnosis.causes.len(), 1);
    assert_eq!(diagnosis.causes[0].changes[0].reason, "vcpus");
    assert!(verdict.matched.is_none());

    // Where the policy takes three vCPUs, they are not the cause.
    let host = Cpu::of(Signature::new(0x19, 0x11, 1).unwrap());
    asked.machine.set(0x90, &record.digest(3, host, record.sev_features[0]).unwrap().0);
    asked.policy("vcpus: [3]");
    let causes = asked.answer().diagnosis.unwrap().causes;
    let changes: Vec<_> = causes[0].changes.iter().map(|change| change.reason).collect();
    assert_eq!((causes.len(), changes.as_slice()), (1, &["cpu"][..]));
}

/// A policy may take launches that the record does not list: their digests follow from it too.
#[test]
fn launches_are_those_that_the_policy_takes() {
    let record = record();
    let cpu = Cpu::named("EPYC-Genoa").unwrap();
    let digest = |cpu: &Cpu| record.digest(3, cpu.clone(), record.sev_features[0]).unwrap();
    let mut asked = Asked::good(Product::Genoa);
    asked.machine.set(0x90, &digest(&cpu).0);
    assert_eq!(asked.reasons(), [Reason::MeasurementUnknown]);
    for cpus in ["[EPYC-Genoa]", "[\"0xa10f10\"]"] {
        asked.policy = format!("version: 1\nvcpus: [8, 3]\ncpus: {cpus}\n");
        let verdict = asked.answer();
        assert_eq!(verdict.verdict, Answer::Accepted, "{:#?}", verdict.reasons);
        assert_eq!(verdict.matched.unwrap().vcpus, 3);
        assert!(verdict.notes.iter().any(|note| note.contains("not one that the release lists")));
    }
    for policy in ["vcpus: [0]", "vcpus: []", "vcpus: [1, 1]", "cpus: [EPYC-Naples]", "cpus: []"] {
        let text = format!("version: 1\n{policy}\n");
        assert!(counterfoil::report::Policy::parse("policy.yaml", &text).is_err(), "{policy}");
    }
}

/// What the root has once said of the intermediate key is said, whatever a later list, an older one or one
/// that is out of date leaves out: AMD has two lists of one form, and a host brings along what it likes.
#[test]
fn what_is_revoked_stays_so() {
    let list = |this: &str, next: &str, revoked: &[u32]| {
        let mut spec = Asked::good(Product::Genoa).crl.unwrap();
        (spec.this, spec.next, spec.revoked) = (time(this), Some(time(next)), revoked.to_vec());
        Crl::parse(&spec.sign()).unwrap()
    };
    let (old, new) = ("2026-06-01T00:00:00Z", "2026-11-01T00:00:00Z");
    let (past, future) = ("2026-11-02T00:00:00Z", "2027-11-01T00:00:00Z");
    let late = "2026-12-01T00:00:00Z";
    let revoking = &[0x10001][..];
    for (lists, expected) in [
        (vec![list(new, future, &[])], None),
        (vec![list(old, future, revoking), list(new, future, &[])], Some(Reason::AskRevoked)),
        (vec![list(old, future, &[]), list(new, past, revoking)], Some(Reason::AskRevoked)),
        (vec![list(new, future, &[]), list(late, future, revoking)], Some(Reason::AskRevoked)),
        // A later list says more than one of the day, and one of its time is enough.
        (vec![list(late, future, &[])], None),
        (vec![list(old, past, &[]), list(new, future, &[])], None),
        (vec![list(old, past, &[])], Some(Reason::CrlStale)),
    ] {
        let asked = Asked::good(Product::Genoa);
        let good = asked.bytes();
        let mut collateral = asked.machine.collateral();
        for crls in [lists.clone(), lists.into_iter().rev().collect()] {
            collateral.crls = crls;
            let verdict = answer(&asked, &good.evidence, &collateral);
            let reasons: Vec<Reason> = verdict.reasons.iter().map(|found| found.code).collect();
            assert_eq!(reasons, Vec::from_iter(expected), "{:#?}", verdict.checks);
        }
    }
}

/// The intermediate key may have two certificates, of which one was revoked: in whatever order they come, the key
/// is not believed.
#[test]
fn each_certificate_over_the_key_that_signed_counts() {
    let mut asked = Asked::good(Product::Genoa);
    asked.crl().revoked = vec![0x10001];
    let good = asked.bytes();
    let mut again = asked.clone();
    again.ask().serial = 0x10009;
    for asks in [[&good.ask, &again.bytes().ask], [&again.bytes().ask, &good.ask]] {
        let mut collateral = Collateral::default();
        for der in [asks[0], asks[1], &good.vek, &good.ark] {
            collateral.add_certificate(der).unwrap();
        }
        collateral.add_crl(&good.crl).unwrap();
        let verdict = answer(&asked, &good.evidence, &collateral);
        let reasons: Vec<Reason> = verdict.reasons.iter().map(|found| found.code).collect();
        assert_eq!(reasons, [Reason::AskRevoked]);
    }
}

/// A root that was given is looked at as one that comes along.
#[test]
fn a_root_that_was_given_is_looked_at() {
    for (expected, change) in [
        (Reason::ArkExpired, (|ark| ark.to = time("2026-11-21T00:00:00Z")) as fn(&mut Spec)),
        (Reason::ArkNotYetValid, |ark| ark.from = time("2026-11-23T00:00:00Z")),
        (Reason::ArkNotCa, |ark| ark.extensions.clear()),
        (Reason::ArkSignature, |ark| ark.key = Key::Ask),
    ] {
        for along in [true, false] {
            let mut asked = Asked::good(Product::Genoa);
            let mut root = asked.machine.ark();
            change(&mut root);
            let root = Certificate::parse(&root.sign()).unwrap();
            asked.roots = Roots::other(&root).unwrap();
            if !along {
                asked.ark = None;
            }
            assert_eq!(asked.reasons(), [expected], "{along}");
        }
    }
}

/// Who names a file means it to count. What comes with the evidence may be anybody's, but nothing of the root's.
#[test]
fn strangers_are_not_passed_over() {
    let asked = Asked::good(Product::Genoa);
    let good = asked.bytes();
    let mut stranger = asked.machine.ark();
    stranger.subject = "CN=A,O=B".to_owned();
    let stranger = stranger.sign();
    let mut collateral = asked.machine.collateral();
    collateral.add_certificate(&stranger).unwrap();
    let verdict = answer(&asked, &good.evidence, &collateral);
    assert_eq!(verdict.reasons[0].code, Reason::CertificateUnknown);
    let ark = 0xc0b406a4_a803_4952_9743_3fb6014cd0ae;
    let extended = [good.evidence.clone(), table(&[(ark, stranger)])].concat();
    let verdict = answer(&asked, &extended, &asked.machine.collateral());
    assert_eq!(verdict.reasons[0].code, Reason::CertificateUnknown);
}

/// Where KEY_INFO and a digest contradict one another, that is said.
#[test]
fn a_report_that_contradicts_itself_is_told_of() {
    for (says, key_info, digest) in [("is not set", 0, [1; 48]), ("is set", 1, [0; 48])] {
        let mut asked = Asked::good(Product::Genoa);
        asked.machine.set(0x48, &[key_info]).set(0x110, &digest);
        let verdict = asked.answer();
        assert_eq!(verdict.verdict, Answer::Accepted, "{:#?}", verdict.reasons);
        let told = |note: &String| note.contains(&format!("AUTHOR_KEY_EN {says}"));
        assert!(verdict.notes.iter().any(told), "{:?}", verdict.notes);
    }
    let mut both = Asked::good(Product::Genoa);
    both.machine.set(0x48, &[1]).set(0x110, &Sha384::of("author").0);
    both.policy(&format!("author-keys: [\"{}\"]", Sha384::of("author")));
    assert_eq!(both.reasons(), []);
}

/// Where no list is asked for, one that is of no use is as good as none; a forged one is not.
#[test]
fn a_list_that_nobody_asked_for() {
    for change in [
        (|asked: &mut Asked| asked.crl().next = Some(time("2026-11-21T00:00:00Z")))
            as fn(&mut Asked),
        |asked| asked.crl().issuer = "ARK-Milan".to_owned(),
        |asked| asked.crl = None,
    ] {
        let mut asked = Asked::good(Product::Genoa);
        asked.policy("freshness: {crl: optional}");
        change(&mut asked);
        assert_eq!(asked.reasons(), []);
        asked.crl = Some(asked.machine.crl());
        asked.crl().key = Key::Ask;
        assert_eq!(asked.reasons(), [Reason::CrlSignature]);
    }
}

/// A failed check says what is, and not what should be.
#[test]
fn what_failed_is_not_said_to_hold() {
    for (what, change) in [
        (
            "SEV-VCEK is not signed by SEV-Genoa",
            (|asked: &mut Asked| asked.vek().key = Key::Ark) as fn(&mut Asked),
        ),
        ("SEV-Genoa is not signed by ARK-Genoa", |asked| asked.ask().key = Key::Ask),
        ("the key of SEV-VCEK did not sign these bytes", |asked| {
            asked.on_the_way = |bytes| bytes.evidence[0x50] ^= 1;
        }),
        ("the certificate is for the chip 01", |asked| {
            asked.machine.leaf.hw_id.as_mut().unwrap()[63] ^= 1;
            asked.vek = Some(asked.machine.vek());
        }),
    ] {
        let mut asked = Asked::good(Product::Genoa);
        change(&mut asked);
        let verdict = asked.answer();
        assert!(verdict.reasons[0].says.contains(what), "{:#?}", verdict.reasons);
    }
}

fn answer(asked: &Asked, evidence: &[u8], collateral: &Collateral) -> Verdict {
    verify(&Question {
        evidence: Evidence::open(evidence).as_ref(),
        collateral,
        roots: &asked.roots,
        policy: &Policy::conservative(),
        expected: Expected::Anything,
        nonce: None,
        at: time(NOW),
    })
}

/// Of two certificates, of which one does not hold, the other one counts; and of two lists the newer.
#[test]
fn what_does_not_hold_spoils_nothing() {
    let asked = Asked::good(Product::Genoa);
    let good = asked.bytes();
    let mut collateral = asked.machine.collateral();
    let mut other = Asked::good(Product::Genoa);
    other.vek().key = Key::Stranger;
    other.crl().this = time("2026-05-01T00:00:00Z");
    let other = other.bytes();
    collateral
        .certificates
        .insert(0, counterfoil::report::certificate::Certificate::parse(&other.vek).unwrap());
    collateral.crls.insert(0, Crl::parse(&other.crl).unwrap());
    let verdict = answer(&asked, &good.evidence, &collateral);
    assert_eq!(verdict.verdict, Answer::Accepted, "{:#?}", verdict.reasons);
}
