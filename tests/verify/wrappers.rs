//! What a report can be in: each form is opened, and each damaged one has its reason.

use std::io::Write as _;

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use counterfoil::digest::Sha256;
use counterfoil::report::describe::hex;
use counterfoil::report::verdict::Answer;
use counterfoil::report::wrapper::{Form, KEYS, LARGEST};
use counterfoil::report::{Collateral, Evidence, Product, Reason};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::asked::{Asked, Bytes};
use crate::support::amd::table;

/// The reasons that have their case here.
pub(crate) const REASONS: [Reason; 14] = [
    Reason::WrapperDamaged,
    // In `collateral`.
    Reason::CollateralDamaged,
    Reason::WrapperUnknown,
    Reason::WrapperTruncated,
    Reason::WrapperStatus,
    Reason::WrapperTooDeep,
    Reason::WrapperTooLarge,
    Reason::WrapperCertificates,
    Reason::WrapperJson,
    Reason::HclType,
    Reason::HclRuntimeData,
    Reason::EvidenceReportData,
    Reason::ReportSize,
    Reason::Binding,
];

fn asked() -> Asked {
    Asked::good(Product::Genoa)
}

fn report() -> Vec<u8> {
    asked().machine.attest()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// MSG_REPORT_RSP in the buffer of SNP_GET_REPORT.
fn response(status: u32, report: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4000];
    bytes[..4].copy_from_slice(&status.to_le_bytes());
    bytes[4..8].copy_from_slice(&(report.len() as u32).to_le_bytes());
    bytes[32..32 + report.len()].copy_from_slice(report);
    bytes
}

/// Azure's form: a report whose REPORT_DATA is the hash of the runtime data.
fn hcl(runtime: &[u8]) -> (Asked, Vec<u8>) {
    let mut asked = asked();
    asked.machine.set(0x50, &Sha256::of(runtime).0);
    let mut bytes = b"HCLA".to_vec();
    bytes.extend([2, 0, 0, 0]);
    bytes.resize(32, 0);
    bytes.extend(asked.machine.attest());
    for word in [20 + runtime.len() as u32, 1, 2, 1, runtime.len() as u32] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(runtime);
    bytes.resize(2600, 0);
    (asked, bytes)
}

fn agent(report: &[u8]) -> Value {
    json!({
        "version": 1,
        "provider": "sev_guest",
        "report": Base64::encode_string(report),
        "certificates": "",
        "report_data": hex(&report[0x50..0x90]),
        "nonce": null,
        "binding": null,
    })
}

#[test]
fn every_form_is_opened() {
    let report = report();
    let json = |key: &str, value: &str| json!({ key: value }).to_string().into_bytes();
    let base64 = Base64::encode_string(&report);
    let lines: String = base64
        .as_bytes()
        .chunks(76)
        .map(|line| format!("{}\r\n", std::str::from_utf8(line).unwrap()))
        .collect();
    let mut padded = report.clone();
    padded.resize(4096, 0);
    let nested = Base64::encode_string(&gzip(&report));
    let forms: Vec<(Vec<u8>, &[Form])> = vec![
        (report.clone(), &[Form::Report]),
        (padded, &[Form::Report]),
        ([report.clone(), asked().machine.table()].concat(), &[Form::ExtendedReport]),
        (response(0, &report), &[Form::Response]),
        (response(0, &report)[..32 + 1184].to_vec(), &[Form::Response]),
        (hex(&report).into_bytes(), &[Form::Hex, Form::Report]),
        (format!("0x{}\n", hex(&report).to_uppercase()).into_bytes(), &[Form::Hex, Form::Report]),
        (base64.clone().into_bytes(), &[Form::Base64, Form::Report]),
        (lines.into_bytes(), &[Form::Base64, Form::Report]),
        (Base64UrlUnpadded::encode_string(&report).into_bytes(), &[Form::Base64, Form::Report]),
        (gzip(&report), &[Form::Gzip, Form::Report]),
        (gzip(base64.as_bytes()), &[Form::Gzip, Form::Base64, Form::Report]),
        (json("body", &nested), &[Form::Json, Form::Base64, Form::Gzip, Form::Report]),
        (
            json!({ "evidence": { "hcl_report": base64 } }).to_string().into_bytes(),
            &[Form::Json, Form::Json, Form::Base64, Form::Report],
        ),
        (agent(&report).to_string().into_bytes(), &[Form::Agent]),
        (gzip(agent(&report).to_string().as_bytes()), &[Form::Gzip, Form::Agent]),
    ];
    for (bytes, expected) in forms {
        let found = Evidence::open(&bytes).unwrap();
        assert_eq!((found.report, found.forms.as_slice()), (report.clone(), expected));
    }
    let list = json!({ "report": report }).to_string().into_bytes();
    assert_eq!(Evidence::open(&list).unwrap().report, report);
    for key in KEYS {
        assert_eq!(Evidence::open(&json(key, &base64)).unwrap().report, report, "{key}");
    }
    let (asked, bytes) = hcl(b"{\"keys\":[]}");
    let found = Evidence::open(&bytes).unwrap();
    assert_eq!(found.report, asked.machine.attest());
    assert_eq!(found.runtime_data.as_deref(), Some(&b"{\"keys\":[]}"[..]));
}

/// Operators and libraries put other things into the table than certificates.
#[test]
fn what_else_is_in_a_table_is_passed_over() {
    let asked = asked();
    let machine = &asked.machine;
    let full = table(&[
        // What go-sev-guest adds of the platform, and the endorsement of Google's firmware.
        (0xecae0c0f_9502_43b1_afa2_0ae2e0d565b6, vec![0; 20]),
        (0x9f4116cd_c503_4f5a_8f6f_fb68882f4ce2, vec![8; 3000]),
        (0x63da758d_e664_4564_adc5_f4b93be8accd, machine.vek().sign()),
    ]);
    let found = Evidence::open(&[report(), full.clone()].concat()).unwrap();
    assert_eq!(found.collateral.certificates.len(), 1);
    assert_eq!(Collateral::read(&full).unwrap().certificates.len(), 1);
}

/// What came with the report is all that is needed.
#[test]
fn certificates_that_come_along_count() {
    let asked = asked();
    let table = asked.machine.table();
    let report = report();
    let mut of_agent = agent(&report);
    of_agent["certificates"] = Base64::encode_string(&table).into();
    let tsm = json!({
        "provider": "sev_guest",
        "outblob": Base64::encode_string(&report),
        "auxblob": Base64::encode_string(&table),
    });
    for evidence in
        [[report, table].concat(), of_agent.to_string().into_bytes(), tsm.to_string().into_bytes()]
    {
        let bytes = Bytes { evidence, vek: vec![], ask: vec![], ark: vec![], crl: vec![] };
        let verdict = asked.answer_to(&bytes).unwrap();
        assert_eq!(verdict.verdict, Answer::Accepted, "{:#?}", verdict.reasons);
    }
}

#[test]
fn what_is_damaged_is_named() {
    let report = report();
    let (_, azure) = hcl(b"{}");
    let change = |bytes: &[u8], at: usize, to: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = to;
        bytes
    };
    let deep = (0..9).fold(report.clone(), |inner, _| Base64::encode_string(&inner).into_bytes());
    let certificates = asked().machine.table();
    let bad_table = |at: usize, to: u8| [report.clone(), change(&certificates, at, to)].concat();
    let mut other_data = agent(&report);
    other_data["report_data"] = "00".repeat(63).into();
    let mut version = agent(&report);
    version["version"] = 2.into();
    let mut short = agent(&report);
    short["report"] = Base64::encode_string(&report[..1000]).into();
    let mut no_table = agent(&report);
    no_table["certificates"] = Base64::encode_string(b"certificates").into();
    let refused = json!({ "version": 1, "error": "no-provider", "message": "there is none" });
    let cases: Vec<(Reason, &str, Vec<u8>)> = vec![
        (Reason::WrapperUnknown, "nothing", vec![]),
        (Reason::WrapperUnknown, "zeros", vec![0; 1184]),
        (Reason::WrapperUnknown, "a sentence", b"this is no report".to_vec()),
        (Reason::WrapperUnknown, "an ELF file", [b"\x7fELF".as_slice(), &[1; 2000]].concat()),
        (Reason::WrapperUnknown, "hex of very little", hex(&report[..100]).into_bytes()),
        (Reason::WrapperTruncated, "hex of too little", hex(&report[..500]).into_bytes()),
        (
            Reason::WrapperUnknown,
            "something behind the response",
            change(&response(0, &report), 3999, 1),
        ),
        (Reason::WrapperTruncated, "half a report", report[..600].to_vec()),
        (Reason::WrapperTruncated, "half a response", response(0, &report)[..1000].to_vec()),
        (Reason::WrapperTruncated, "half an Azure report", azure[..1000].to_vec()),
        (Reason::WrapperTruncated, "Azure without its request", azure[..32 + 1184 + 7].to_vec()),
        (Reason::WrapperTruncated, "half a gzip", gzip(&report)[..100].to_vec()),
        (Reason::WrapperDamaged, "a gzip whose checksum is of something else", {
            let packed = gzip(&report);
            change(&packed, packed.len() - 8, packed[packed.len() - 8] ^ 1)
        }),
        (Reason::WrapperDamaged, "zeros behind gzip", [gzip(&report), vec![0; 20]].concat()),
        (Reason::WrapperCertificates, "an `auxblob` that is no table", {
            let (outblob, auxblob) =
                (Base64::encode_string(&report), Base64::encode_string(&[1; 50]));
            json!({ "outblob": outblob, "auxblob": auxblob }).to_string().into_bytes()
        }),
        (Reason::WrapperTruncated, "half an agent's report", short.to_string().into_bytes()),
        (Reason::WrapperStatus, "status 16h", response(0x16, &[])),
        (Reason::WrapperStatus, "status 27h with a report", response(0x27, &report)),
        (Reason::WrapperTooDeep, "nine times base64", deep),
        (Reason::WrapperTooLarge, "a megabyte and more", vec![b'a'; LARGEST + 1]),
        (Reason::WrapperTooLarge, "a bomb", gzip(&vec![0; LARGEST + 1])),
        (Reason::WrapperCertificates, "no table", [report.clone(), vec![1; 100]].concat()),
        (Reason::WrapperCertificates, "an offset beyond the end", bad_table(19, 1)),
        (Reason::WrapperCertificates, "a length beyond the end", bad_table(22, 1)),
        (Reason::WrapperCertificates, "a certificate that is none", {
            [report.clone(), table(&[(0x63da758d_e664_4564_adc5_f4b93be8accd, vec![9; 40])])]
                .concat()
        }),
        (
            Reason::WrapperCertificates,
            "the agent's certificates",
            no_table.to_string().into_bytes(),
        ),
        (Reason::WrapperJson, "a key twice", {
            let base64 = Base64::encode_string(&report);
            format!("{{\"report\":\"{base64}\",\"report\":\"{base64}\"}}").into_bytes()
        }),
        (Reason::WrapperJson, "two keys", {
            let base64 = Base64::encode_string(&report);
            json!({ "quote": base64, "report": base64 }).to_string().into_bytes()
        }),
        (Reason::WrapperJson, "a list of no bytes", b"{\"report\": [1, 256]}".to_vec()),
        (
            Reason::WrapperDamaged,
            "something behind gzip",
            [gzip(&report), b"more".to_vec()].concat(),
        ),
        (
            Reason::WrapperCertificates,
            "two reports, each packed",
            [gzip(&report), gzip(&report)].concat(),
        ),
        (Reason::WrapperJson, "half an object", b"{\"report\": ".to_vec()),
        (Reason::WrapperJson, "an object without a report", b"{\"quotes\": 1}".to_vec()),
        (Reason::WrapperJson, "a report that is a number", b"{\"report\": 1}".to_vec()),
        (Reason::WrapperJson, "the agent's next version", version.to_string().into_bytes()),
        (Reason::WrapperJson, "the agent's short REPORT_DATA", other_data.to_string().into_bytes()),
        (Reason::WrapperJson, "the agent's refusal", refused.to_string().into_bytes()),
        (Reason::HclType, "Azure's report of a TDX machine", change(&azure, 32 + 1184 + 8, 4)),
        (
            Reason::HclRuntimeData,
            "Azure's runtime data, changed",
            change(&azure, 32 + 1184 + 20, b'['),
        ),
        (Reason::HclRuntimeData, "Azure's hash of another kind", change(&azure, 32 + 1184 + 12, 2)),
    ];
    for (reason, what, bytes) in cases {
        let error = Evidence::open(&bytes).map(|evidence| evidence.forms).unwrap_err();
        assert_eq!(error.reason, reason, "{what}: {error}");
    }
}

/// A report of a version that there is not is one all the same.
#[test]
fn a_version_that_there_is_not_is_told() {
    for version in [0, 1, 6, 256, 65535_u16] {
        let mut asked = asked();
        asked.machine.set(0, &version.to_le_bytes());
        assert_eq!(asked.reasons(), [Reason::ReportVersion], "{version}");
    }
}

/// A host can bring as many as it likes: more than a chain has use for is not looked at.
#[test]
fn a_host_brings_no_fleet() {
    let vek = asked().machine.vek();
    let pem = |serial| {
        let der = crate::support::amd::Spec { serial, ..vek.clone() }.sign();
        der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, &der).unwrap()
    };
    let fleet: String = (0..65).map(pem).collect();
    assert_eq!(Collateral::read(fleet.as_bytes()).unwrap().certificates.len(), 65);
    let vcek = 0x63da758d_e664_4564_adc5_f4b93be8accd;
    let extended = [report(), table(&[(vcek, fleet.into_bytes())])].concat();
    assert_eq!(Evidence::open(&extended).unwrap_err().reason, Reason::WrapperCertificates);
}

#[test]
fn the_agent_is_not_believed() {
    let asked = asked();
    let mut lie = agent(&report());
    lie["report_data"] = "11".repeat(64).into();
    let bytes = Bytes { evidence: lie.to_string().into_bytes(), ..asked.bytes() };
    let verdict = asked.answer_to(&bytes).unwrap();
    assert_eq!(verdict.reasons[0].code, Reason::EvidenceReportData);
    assert_eq!(verdict.verdict, Answer::Rejected);

    // It has bound another key than the one that the verifier talks to.
    let (nonce, ours, theirs) = ([1; 32], [2; 32], [3; 32]);
    let mut asked = self::asked();
    let data = counterfoil::report::binding::report_data(&nonce, &theirs);
    asked.machine.set(0x50, &data);
    asked.nonce = Some(nonce);
    asked.policy(&format!("report-data: {{labelled: \"{}\"}}", hex(&ours)));
    let mut answer = agent(&asked.machine.attest());
    answer["nonce"] = hex(&nonce).into();
    answer["binding"] = hex(&theirs).into();
    let bytes = Bytes { evidence: answer.to_string().into_bytes(), ..asked.bytes() };
    let verdict = asked.answer_to(&bytes).unwrap();
    assert_eq!(verdict.reasons[0].code, Reason::Binding);
    // Whoever does not say which key sees which one it is.
    asked.policy = "version: 1\nreport-data: {labelled: any}\n".to_owned();
    let verdict = asked.answer_to(&bytes).unwrap();
    assert_eq!(verdict.verdict, Answer::Accepted, "{:#?}", verdict.reasons);
    assert!(verdict.notes.iter().any(|note| note.contains(&hex(&theirs))));
}
