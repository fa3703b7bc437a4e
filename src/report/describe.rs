//! A report for people: every field with what it means.

use serde::Serialize;

use super::fields::{GUEST_POLICY, HOST_VMPL, PLATFORM, Report, Signer};
use super::product::{Product, Tcb};
use crate::digest::Sha384;

/// One field.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Field {
    /// Its name in the specification.
    pub field: &'static str,
    /// Its offset in the report, in bytes.
    pub offset: usize,
    /// Its value.
    pub value: String,
    /// What it means.
    pub means: String,
}

/// What a verdict says of the report.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Summary {
    /// VERSION.
    pub version: u32,
    /// The line of processors, if it is known.
    pub product: Option<Product>,
    /// CPUID family, model and stepping.
    pub cpu: Option<String>,
    /// Who signed.
    pub signer: Option<&'static str>,
    /// VMPL.
    pub vmpl: u32,
    /// POLICY.
    pub policy: String,
    /// GUEST_SVN.
    pub guest_svn: u32,
    /// MEASUREMENT.
    pub measurement: Sha384,
    /// REPORT_DATA in hex.
    pub report_data: String,
    /// HOST_DATA in hex.
    pub host_data: String,
    /// ID_KEY_DIGEST.
    pub id_key_digest: Sha384,
    /// CHIP_ID in hex.
    pub chip_id: String,
    /// REPORTED_TCB.
    pub reported_tcb: Option<Tcb>,
}

impl Summary {
    /// Of a report from a processor of this line.
    pub fn of(report: &Report, product: Option<Product>) -> Self {
        Self {
            version: report.version().number(),
            product,
            cpu: report.cpu().map(|cpu| cpu.to_string()),
            signer: report.signer().ok().map(Signer::name),
            vmpl: report.vmpl(),
            policy: report.policy().to_string(),
            guest_svn: report.guest_svn(),
            measurement: report.measurement(),
            report_data: hex(&report.report_data()),
            host_data: hex(&report.host_data()),
            id_key_digest: report.id_key_digest(),
            chip_id: hex(&report.chip_id()),
            reported_tcb: product.map(|product| Tcb::of(product, report.reported_tcb())),
        }
    }
}

/// Every field of a report, in its order. The order of a TCB version's bytes is the product's: without one
/// (a report of version 2, and no certificate) they are shown as they stand.
pub fn fields(report: &Report, product: Option<Product>) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut push = |field, offset, value: String, means: String| {
        fields.push(Field { field, offset, value, means });
    };
    let tcb = |bytes: [u8; 8], what: &str| {
        let value = hex(&bytes);
        let means = match product {
            Some(product) => format!("{what}: {}", Tcb::of(product, bytes)),
            None => format!("{what}; in which order the parts stand depends on the processor"),
        };
        (value, means)
    };
    push("VERSION", 0x00, report.version().number().to_string(), "the report's layout".to_owned());
    let svn = report.guest_svn();
    push(
        "GUEST_SVN",
        0x04,
        svn.to_string(),
        "the guest's security version, from the ID block".to_owned(),
    );
    push("POLICY", 0x08, report.policy().to_string(), policy(report.policy().0));
    push(
        "FAMILY_ID",
        0x10,
        hex(&report.family_id()),
        zero(&report.family_id(), "from the ID block"),
    );
    push("IMAGE_ID", 0x20, hex(&report.image_id()), zero(&report.image_id(), "from the ID block"));
    let vmpl = match report.vmpl() {
        HOST_VMPL => "asked for by the host, not by the guest".to_owned(),
        0 => "asked for at the highest privilege level: by the kernel, or the SVSM where there is one".to_owned(),
        level @ 1..=3 => format!("asked for below an SVSM or paravisor, at level {level}"),
        _ => "there is no such level".to_owned(),
    };
    push("VMPL", 0x30, format!("{:#x}", report.vmpl()), vmpl);
    let algorithm = match report.signature_algo() {
        1 => "ECDSA on P-384 with SHA-384",
        _ => "not defined",
    };
    push("SIGNATURE_ALGO", 0x34, report.signature_algo().to_string(), algorithm.to_owned());
    let (value, means) = tcb(report.current_tcb(), "what runs now");
    push("CURRENT_TCB", 0x38, value, means);
    push(
        "PLATFORM_INFO",
        0x40,
        format!("{:#x}", report.platform_info()),
        platform(report.platform_info()),
    );
    push("KEY_INFO", 0x48, format!("{:#x}", report.key_info()), key_info(report));
    let data = "what the guest gave to be signed: a nonce, the digest of a key";
    push("REPORT_DATA", 0x50, hex(&report.report_data()), zero(&report.report_data(), data));
    push("MEASUREMENT", 0x90, report.measurement().to_string(), "the launch digest".to_owned());
    let data = "what the host gave at launch";
    push("HOST_DATA", 0xc0, hex(&report.host_data()), zero(&report.host_data(), data));
    let digest = report.id_key_digest();
    let key = "SHA-384 of the key that signed the ID block";
    push("ID_KEY_DIGEST", 0xe0, digest.to_string(), zero(&digest.0, key));
    let digest = report.author_key_digest();
    let key = "SHA-384 of the key that signed the ID key";
    push("AUTHOR_KEY_DIGEST", 0x110, digest.to_string(), zero(&digest.0, key));
    push("REPORT_ID", 0x140, hex(&report.report_id()), "this guest, until it ends".to_owned());
    let agent = match report.report_id_ma() {
        [0xff, ..] if report.report_id_ma() == [0xff; 32] => "no migration agent",
        _ => "the guest's migration agent",
    };
    push("REPORT_ID_MA", 0x160, hex(&report.report_id_ma()), agent.to_owned());
    let (value, means) = tcb(report.reported_tcb(), "what the signing key is of");
    push("REPORTED_TCB", 0x180, value, means);
    if let Some([family, model, stepping]) = report.cpuid() {
        let product = product.filter(|_| report.cpu().is_some());
        let name = product.map_or("not a processor that is known here", Product::name);
        let means = format!("{name}: family {family:#x}, model {model:#x}, stepping {stepping}");
        let none = || hex(&[family, model, stepping]);
        push("CPUID", 0x188, report.cpu().map_or_else(none, |cpu| cpu.to_string()), means);
    }
    let chip = match (report.has_chip_id(), product) {
        (false, _) => "masked by the host, or under a VLEK",
        (true, Some(Product::Turin)) => "the chip, by its first 8 bytes",
        (true, _) => "the chip",
    };
    push("CHIP_ID", 0x1a0, hex(&report.chip_id()), chip.to_owned());
    let (value, means) = tcb(report.committed_tcb(), "what the host can no longer go back behind");
    push("COMMITTED_TCB", 0x1e0, value, means);
    let version = |(major, minor, build): (u8, u8, u8)| format!("{major}.{minor}.{build}");
    push(
        "CURRENT_VERSION",
        0x1e8,
        version(report.current_version()),
        "the SNP firmware".to_owned(),
    );
    push(
        "COMMITTED_VERSION",
        0x1ec,
        version(report.committed_version()),
        "the oldest SNP firmware that the host can go back to".to_owned(),
    );
    let (value, means) = tcb(report.launch_tcb(), "what ran when the guest was launched");
    push("LAUNCH_TCB", 0x1f0, value, means);
    if let (Some(launch), Some(current)) =
        (report.launch_mitigations(), report.current_mitigations())
    {
        let means =
            "mitigations that were there when the guest was launched, a bit each".to_owned();
        push("LAUNCH_MIT_VECTOR", 0x1f8, format!("{launch:#x}"), means);
        let means = "mitigations that are there now, a bit each".to_owned();
        push("CURRENT_MIT_VECTOR", 0x200, format!("{current:#x}"), means);
    }
    let (value, means) = match report.signature() {
        Some((r, s)) => (
            format!("{}{}", hex(&r), hex(&s)),
            "R and S; see `counterfoil verify` for whether it holds",
        ),
        None => ("malformed".to_owned(), "no pair of numbers that a signature can have"),
    };
    push("SIGNATURE", 0x2a0, value, means.to_owned());
    let means = "set, although this version of the report reserves it: what it means is not known";
    for (offset, bytes) in report.reserved_bytes() {
        push("reserved", offset, hex(bytes), means.to_owned());
    }
    fields.sort_by_key(|field| field.offset);
    fields
}

/// The bits of a field that are set and have no name, behind what the others say.
fn nameless(value: u64, named: impl Fn(u32) -> bool) -> String {
    let bits = (0..64).filter(|bit| value >> bit & 1 == 1 && !named(*bit));
    bits.map(|bit| format!("; bit {bit}, which is reserved")).collect()
}

fn policy(policy: u64) -> String {
    let set = GUEST_POLICY.iter().filter(|(bit, ..)| policy >> bit & 1 == 1);
    let names: Vec<&str> = set.map(|(_, name, _)| *name).collect();
    let names = if names.is_empty() { "nothing else".to_owned() } else { names.join(", ") };
    let mut text = format!("ABI from {}.{}; {names}", policy >> 8 & 0xff, policy & 0xff);
    if policy >> 19 & 1 == 1 {
        text += ": the host may read and write the guest's memory";
    }
    // The ABI version, and the bit that is always set (SNP ABI, table "Guest Policy Structure").
    let named = |bit| bit < 16 || bit == 17 || GUEST_POLICY.iter().any(|(known, ..)| *known == bit);
    if policy >> 17 & 1 == 0 {
        text += "; bit 17, which must be set, is not";
    }
    text + &nameless(policy, named)
}

fn platform(info: u64) -> String {
    let known = |bit: u32| PLATFORM.iter().find(|(known, ..)| *known == bit);
    let word = |bit: u32| match known(bit) {
        Some((_, name, _)) => (*name).to_owned(),
        None => format!("bit {bit}, which is not described"),
    };
    let set: Vec<String> = (0..64).filter(|bit| info >> bit & 1 == 1).map(word).collect();
    if set.is_empty() { "nothing of what it tells of".to_owned() } else { set.join(", ") }
}

fn key_info(report: &Report) -> String {
    let signer = match report.signer() {
        Ok(Signer::Vcek) => "signed by the chip's own key (VCEK)",
        Ok(Signer::Vlek) => "signed by a key that AMD gave to the operator (VLEK)",
        Err(super::Reason::ReportUnsigned) => "not signed",
        Err(_) => "signed by a key that is not defined",
    };
    let author = if report.author_key() { "; the ID key is endorsed by an author key" } else { "" };
    let masked = if report.mask_chip_key() { "; the host masks the chip's key" } else { "" };
    format!("{signer}{author}{masked}{}", nameless(report.key_info().into(), |bit| bit < 5))
}

fn zero(bytes: &[u8], means: &str) -> String {
    match bytes.iter().all(|byte| *byte == 0) {
        true => "none".to_owned(),
        false => means.to_owned(),
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
