//! Somebody who signs reports as AMD does, and is not AMD: a root, intermediate keys and signing keys of
//! the tests' own, certificates and lists of revoked ones in AMD's form, and reports.
//!
//! The RSA keys stand in `tests/report/keys`, since making one takes seconds. Everything is the same at
//! every run.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use counterfoil::report::fields::{SIGNED, SIZE, Signer};
use counterfoil::report::{Collateral, Product, Roots, Time};
use der::asn1::{BitString, Ia5StringRef, OctetString};
use der::{Decode as _, Encode as _};
use p384::ecdsa::signature::Signer as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _};
use rsa::sha2::{Sha256, Sha384};
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
use x509_cert::certificate::{TbsCertificate, Version};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned};
use x509_cert::time::Validity;

/// The keys that sign certificates.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Key {
    Ark,
    Ask,
    Asvk,
    /// Nobody's: the ASVK's, where no chain expects it.
    Stranger,
}

/// How a certificate is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// As AMD does.
    Pss,
    /// RSASSA-PKCS1-v1_5 with SHA-256, which is a good signature and not AMD's.
    Pkcs1,
    /// PSS with SHA-256 and its salt of 32 bytes.
    Pss256,
}

/// A certificate before it is signed.
#[derive(Clone, Debug)]
pub struct Spec {
    pub subject: String,
    pub issuer: String,
    pub serial: u32,
    pub from: Time,
    pub to: Time,
    pub spki: Vec<u8>,
    pub extensions: Vec<(String, bool, Vec<u8>)>,
    pub key: Key,
    pub algorithm: Algorithm,
}

/// A list of revoked certificates before it is signed.
#[derive(Clone, Debug)]
pub struct CrlSpec {
    pub issuer: String,
    pub this: Time,
    pub next: Option<Time>,
    pub revoked: Vec<u32>,
    pub critical: bool,
    pub key: Key,
    pub algorithm: Algorithm,
}

/// What a certificate says of a signing key.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub signer: Signer,
    pub product_name: String,
    /// fmc, bootloader, tee, snp, microcode.
    pub tcb: [Option<u8>; 5],
    pub hw_id: Option<Vec<u8>>,
    pub csp_id: Option<String>,
}

pub fn time(text: &str) -> Time {
    text.parse().unwrap()
}

/// The time at which everything below is valid.
pub const NOW: &str = "2026-11-22T12:00:00Z";

static KEYS: LazyLock<[RsaPrivateKey; 3]> = LazyLock::new(|| {
    [
        include_str!("../report/keys/ark.pem"),
        include_str!("../report/keys/ask.pem"),
        include_str!("../report/keys/asvk.pem"),
    ]
    .map(|pem| RsaPrivateKey::from_pkcs8_pem(pem).unwrap())
});

impl Key {
    fn private(self) -> &'static RsaPrivateKey {
        match self {
            Self::Ark => &KEYS[0],
            Self::Ask => &KEYS[1],
            Self::Asvk | Self::Stranger => &KEYS[2],
        }
    }

    pub fn spki(self) -> Vec<u8> {
        self.private().to_public_key().to_public_key_der().unwrap().into_vec()
    }
}

/// The key that signs reports. What signs is a number, the same for everyone.
pub fn vek() -> p384::ecdsa::SigningKey {
    p384::ecdsa::SigningKey::from_bytes(&[7; 48].into()).unwrap()
}

pub fn vek_spki() -> Vec<u8> {
    let public = p384::PublicKey::from(vek().verifying_key());
    public.to_public_key_der().unwrap().into_vec()
}

/// A name as AMD writes them; one that is written whole stays.
fn name(common: &str) -> Name {
    if common.contains('=') {
        return Name::from_str(common).unwrap();
    }
    Name::from_str(&format!(
        "CN={common},O=Advanced Micro Devices,ST=CA,L=Santa Clara,C=US,OU=Engineering"
    ))
    .unwrap()
}

fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// AMD's arc for what certificates say of a signing key.
pub fn amd(rest: &str) -> String {
    format!("1.3.6.1.4.1.3704.1.{rest}")
}

impl Spec {
    pub fn ark(product: Product) -> Self {
        let root = format!("ARK-{product}");
        let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
        Self {
            extensions: ca(None, usage),
            serial: 0x10000,
            ..Self::plain(&root, &root, Key::Ark.spki(), Key::Ark)
        }
    }

    pub fn ask(product: Product, signer: Signer) -> Self {
        let (name, key) = match signer {
            Signer::Vcek => (format!("SEV-{product}"), Key::Ask),
            Signer::Vlek => (format!("SEV-VLEK-{product}"), Key::Asvk),
        };
        let usage = KeyUsage(KeyUsages::KeyCertSign.into());
        Self {
            extensions: ca(Some(0), usage),
            serial: 0x10001,
            ..Self::plain(&name, &format!("ARK-{product}"), key.spki(), Key::Ark)
        }
    }

    pub fn vek(product: Product, leaf: &Leaf) -> Self {
        let ask = Self::ask(product, leaf.signer);
        let (name, key) = match leaf.signer {
            Signer::Vcek => ("SEV-VCEK", Key::Ask),
            Signer::Vlek => ("SEV-VLEK", Key::Asvk),
        };
        Self {
            extensions: leaf.extensions(),
            from: time("2025-06-01T00:00:00Z"),
            to: time("2032-06-01T00:00:00Z"),
            serial: 0,
            ..Self::plain(name, &ask.subject, vek_spki(), key)
        }
    }

    fn plain(subject: &str, issuer: &str, spki: Vec<u8>, key: Key) -> Self {
        Self {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            serial: 1,
            from: time("2020-10-22T00:00:00Z"),
            to: time("2045-10-22T00:00:00Z"),
            spki,
            extensions: Vec::new(),
            key,
            algorithm: Algorithm::Pss,
        }
    }

    /// The certificate in DER.
    pub fn sign(&self) -> Vec<u8> {
        let extension = |(id, critical, value): &(String, bool, Vec<u8>)| Extension {
            extn_id: oid(id),
            critical: *critical,
            extn_value: OctetString::new(value.as_slice()).unwrap(),
        };
        let tbs = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::new(&self.serial.to_be_bytes()).unwrap(),
            signature: self.algorithm.identifier(),
            issuer: name(&self.issuer),
            validity: Validity { not_before: x509(self.from), not_after: x509(self.to) },
            subject: name(&self.subject),
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(&self.spki).unwrap(),
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(self.extensions.iter().map(extension).collect()),
        };
        let signature = sign(&tbs.to_der().unwrap(), self.key, self.algorithm);
        x509_cert::Certificate {
            tbs_certificate: tbs,
            signature_algorithm: self.algorithm.identifier(),
            signature: BitString::from_bytes(&signature).unwrap(),
        }
        .to_der()
        .unwrap()
    }
}

fn ca(length: Option<u8>, usage: KeyUsage) -> Vec<(String, bool, Vec<u8>)> {
    let constraints = BasicConstraints { ca: true, path_len_constraint: length };
    vec![
        ("2.5.29.19".to_owned(), true, constraints.to_der().unwrap()),
        ("2.5.29.15".to_owned(), true, usage.to_der().unwrap()),
    ]
}

impl Leaf {
    fn extensions(&self) -> Vec<(String, bool, Vec<u8>)> {
        let text = |text: &str| Ia5StringRef::new(text).unwrap().to_der().unwrap();
        let [fmc, bootloader, tee, snp, microcode] = self.tcb;
        let mut all = vec![
            (amd("1"), false, 1u8.to_der().unwrap()),
            (amd("2"), false, text(&self.product_name)),
        ];
        let levels =
            [("3.9", fmc), ("3.1", bootloader), ("3.2", tee), ("3.3", snp), ("3.8", microcode)];
        for (rest, level) in levels {
            if let Some(level) = level {
                all.push((amd(rest), false, level.to_der().unwrap()));
            }
        }
        for rest in ["3.5", "3.6", "3.7"] {
            all.push((amd(rest), false, 0u8.to_der().unwrap()));
        }
        if let Some(id) = &self.hw_id {
            all.push((amd("4"), false, id.clone()));
        }
        if let Some(csp) = &self.csp_id {
            all.push((amd("5"), false, text(csp)));
        }
        all
    }
}

impl CrlSpec {
    pub fn of(product: Product) -> Self {
        Self {
            issuer: format!("ARK-{product}"),
            this: time("2026-11-01T00:00:00Z"),
            next: Some(time("2027-11-01T00:00:00Z")),
            revoked: Vec::new(),
            critical: false,
            key: Key::Ark,
            algorithm: Algorithm::Pss,
        }
    }

    /// The list in DER.
    pub fn sign(&self) -> Vec<u8> {
        let revoked = self.revoked.iter().map(|serial| RevokedCert {
            serial_number: SerialNumber::new(&serial.to_be_bytes()).unwrap(),
            revocation_date: x509(self.this),
            crl_entry_extensions: None,
        });
        let revoked: Vec<_> = revoked.collect();
        // issuingDistributionPoint: a list of only some certificates.
        let partial = Extension {
            extn_id: oid("2.5.29.28"),
            critical: true,
            extn_value: OctetString::new([0x30, 0]).unwrap(),
        };
        let tbs = TbsCertList {
            version: Version::V2,
            signature: self.algorithm.identifier(),
            issuer: name(&self.issuer),
            this_update: x509(self.this),
            next_update: self.next.map(x509),
            revoked_certificates: (!revoked.is_empty()).then_some(revoked),
            crl_extensions: self.critical.then(|| vec![partial]),
        };
        let signature = sign(&tbs.to_der().unwrap(), self.key, self.algorithm);
        CertificateList {
            tbs_cert_list: tbs,
            signature_algorithm: self.algorithm.identifier(),
            signature: BitString::from_bytes(&signature).unwrap(),
        }
        .to_der()
        .unwrap()
    }
}

fn x509(time: Time) -> x509_cert::time::Time {
    x509_cert::time::Time::try_from(std::time::UNIX_EPOCH + Duration::from_secs(time.as_unix()))
        .unwrap()
}

impl Algorithm {
    fn identifier(self) -> AlgorithmIdentifierOwned {
        // As in AMD's certificates: RFC 4055, section 3.1.
        let pss = |hash: [u8; 9], salt: u8| {
            let mut parameters = vec![0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09];
            parameters.extend(hash);
            parameters.extend([0x05, 0, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09]);
            parameters.extend([0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08]);
            parameters.extend([0x30, 0x0d, 0x06, 0x09]);
            parameters.extend(hash);
            parameters.extend([0x05, 0, 0xa2, 0x03, 0x02, 0x01, salt]);
            (oid("1.2.840.113549.1.1.10"), parameters)
        };
        let (oid, parameters) = match self {
            Self::Pss => pss([0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02], 48),
            Self::Pss256 => pss([0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01], 32),
            Self::Pkcs1 => (oid("1.2.840.113549.1.1.11"), vec![0x05, 0]),
        };
        let parameters = Some(der::Any::from_der(&parameters).unwrap());
        AlgorithmIdentifierOwned { oid, parameters }
    }
}

/// Who signs, by which algorithm, and what.
type Wanted = (Key, u8, Vec<u8>);

fn sign(tbs: &[u8], key: Key, algorithm: Algorithm) -> Vec<u8> {
    /// A signature takes a while, and most tests ask for the same ones.
    static MADE: Mutex<BTreeMap<Wanted, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let wanted = (key, algorithm as u8, tbs.to_vec());
    if let Some(made) = MADE.lock().unwrap().get(&wanted) {
        return made.clone();
    }
    let mut random = StdRng::seed_from_u64(1);
    let private = key.private().clone();
    let signature = match algorithm {
        Algorithm::Pss => {
            rsa::pss::SigningKey::<Sha384>::new(private).sign_with_rng(&mut random, tbs).to_vec()
        }
        Algorithm::Pss256 => {
            rsa::pss::SigningKey::<Sha256>::new(private).sign_with_rng(&mut random, tbs).to_vec()
        }
        Algorithm::Pkcs1 => rsa::pkcs1v15::SigningKey::<Sha256>::new(private).sign(tbs).to_vec(),
    };
    MADE.lock().unwrap().insert(wanted, signature.clone());
    signature
}

/// A machine that attests: a chip of a product, its certificates, and what its reports say.
#[derive(Clone, Debug)]
pub struct Machine {
    pub product: Product,
    pub leaf: Leaf,
    /// The report's bytes before they are signed.
    pub report: Vec<u8>,
}

impl Machine {
    /// A machine of today, whose reports the default policy takes. The report has zeros for a digest.
    pub fn new(product: Product) -> Self {
        // Family, model, stepping; TCB by part; the report's version.
        let (cpu, tcb, version) = match product {
            Product::Milan => ([0x19, 0x01, 1], [None, Some(4), Some(0), Some(24), Some(219)], 3),
            Product::Genoa => ([0x19, 0x11, 1], [None, Some(10), Some(0), Some(25), Some(84)], 5),
            Product::Turin => ([0x1a, 0x02, 1], [Some(1), Some(1), Some(0), Some(2), Some(71)], 5),
        };
        let hw_id: Vec<u8> = (0..product.chip_id_size()).map(|index| index as u8 + 1).collect();
        let mut machine = Self {
            product,
            leaf: Leaf {
                signer: Signer::Vcek,
                product_name: product.name().to_owned(),
                tcb,
                hw_id: Some(hw_id.clone()),
                csp_id: None,
            },
            report: vec![0; SIZE],
        };
        machine.set(0x00, &[version]);
        machine.set(0x08, &0x3_0000u64.to_le_bytes());
        machine.set(0x34, &[1]);
        machine.set(0x40, &0x25u64.to_le_bytes());
        machine.set(0x140, &[0x5a; 32]);
        machine.set(0x160, &[0xff; 32]);
        machine.set(0x188, &cpu);
        machine.set(0x1a0, &hw_id);
        let tcb = machine.tcb(tcb.map(Option::unwrap_or_default));
        for offset in [0x38, 0x180, 0x1e0, 0x1f0] {
            machine.set(offset, &tcb);
        }
        machine.set(0x1e8, &[43, 55, 1, 0, 43, 55, 1, 0]);
        machine
    }

    /// The eight bytes of a TCB version: fmc, bootloader, tee, snp, microcode.
    pub fn tcb(&self, [fmc, bootloader, tee, snp, microcode]: [u8; 5]) -> [u8; 8] {
        match self.product {
            Product::Turin => [fmc, bootloader, tee, snp, 0, 0, 0, microcode],
            _ => [bootloader, tee, 0, 0, 0, 0, snp, microcode],
        }
    }

    pub fn set(&mut self, offset: usize, bytes: &[u8]) -> &mut Self {
        self.report[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// The same machine under a VLEK, which says nothing of the chip.
    pub fn with_vlek(mut self) -> Self {
        self.leaf.signer = Signer::Vlek;
        self.leaf.hw_id = None;
        self.leaf.csp_id = Some("CN=cloud.example".to_owned());
        self.set(0x48, &[1 << 2]).set(0x1a0, &[0; 64]);
        self
    }

    /// The report, signed.
    pub fn attest(&self) -> Vec<u8> {
        let mut report = self.report.clone();
        let signature: p384::ecdsa::Signature = vek().sign(&report[..SIGNED]);
        let (r, s) = signature.split_bytes();
        for (offset, number) in [(SIGNED, r), (SIGNED + 72, s)] {
            let little: Vec<u8> = number.iter().rev().copied().collect();
            report[offset..offset + 48].copy_from_slice(&little);
        }
        report
    }

    pub fn vek(&self) -> Spec {
        Spec::vek(self.product, &self.leaf)
    }

    pub fn ask(&self) -> Spec {
        Spec::ask(self.product, self.leaf.signer)
    }

    pub fn ark(&self) -> Spec {
        Spec::ark(self.product)
    }

    pub fn crl(&self) -> CrlSpec {
        CrlSpec::of(self.product)
    }

    /// All that a verifier needs beside the report.
    pub fn collateral(&self) -> Collateral {
        let mut all = Collateral::default();
        for certificate in [self.vek(), self.ask(), self.ark()] {
            all.add_certificate(&certificate.sign()).unwrap();
        }
        all.add_crl(&self.crl().sign()).unwrap();
        all
    }

    /// The certificate table of an extended report, which configfs-tsm has in `auxblob`.
    pub fn table(&self) -> Vec<u8> {
        let vek = match self.leaf.signer {
            Signer::Vcek => 0x63da758d_e664_4564_adc5_f4b93be8accd_u128,
            Signer::Vlek => 0xa8074bc2_a25a_483e_aae6_39c045a0b8a1,
        };
        table(&[
            (0xc0b406a4_a803_4952_9743_3fb6014cd0ae, self.ark().sign()),
            (0x4ab7b379_bbac_4fe4_a02f_05aef327c782, self.ask().sign()),
            (vek, self.vek().sign()),
            (0x92f81bc3_5811_4d3d_97ff_d19f88dc67ea, self.crl().sign()),
        ])
    }
}

/// GHCB specification, section 4.1.8.1.
pub fn table(entries: &[(u128, Vec<u8>)]) -> Vec<u8> {
    let mut head = Vec::new();
    let mut body = Vec::new();
    let start = (entries.len() + 1) * 24;
    for (guid, der) in entries {
        head.extend(guid.to_be_bytes());
        head.extend(u32::try_from(start + body.len()).unwrap().to_le_bytes());
        head.extend(u32::try_from(der.len()).unwrap().to_le_bytes());
        body.extend(der);
    }
    head.extend([0; 24]);
    [head, body].concat()
}

/// Whom the tests believe.
pub fn roots() -> Roots {
    let root = Spec::ark(Product::Genoa).sign();
    let root = counterfoil::report::certificate::Certificate::parse(&root).unwrap();
    Roots::other(&root).unwrap()
}
