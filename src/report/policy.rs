//! What a machine must attest, beside the release that it runs: a file that a verifier writes once.

use serde::{Deserialize, Deserializer};

use super::fields::{Effect, GUEST_POLICY, PLATFORM, Signer};
use super::product::Product;
use crate::digest::{Sha256, Sha384, parse_hex};
use crate::error::{Context as _, Error, Kind, Result};
use crate::launch::{Cpu, Set, SevFeatures, Signature};
use crate::yaml::Document;

/// The default, with what each key means.
pub const DEFAULT: &str = include_str!("policy.yaml");

/// The version of the file's form.
const VERSION: u32 = 1;

/// A policy. Each field is a key of [`DEFAULT`], where it is explained.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the default policy says what each one means")]
pub struct Policy {
    pub products: Vec<Product>,
    pub signers: Vec<Signer>,
    pub csp_ids: Option<Vec<String>>,
    pub minimum_tcb: Vec<MinimumTcb>,
    pub minimum_tcb_also: Vec<AlsoTcb>,
    pub guest_policy: GuestPolicyRule,
    pub platform: PlatformRule,
    pub vmpl: Vec<u32>,
    pub minimum_guest_svn: u32,
    pub family_id: Option<[u8; 16]>,
    pub image_id: Option<[u8; 16]>,
    pub id_keys: Option<Vec<Sha384>>,
    pub author_keys: Option<Vec<Sha384>>,
    pub host_data: Option<[u8; 32]>,
    pub chip_ids: Option<Vec<Vec<u8>>>,
    pub mitigations: Mitigations,
    pub report_data: ReportData,
    pub freshness: Freshness,
    pub vcpus: Option<Vec<u32>>,
    pub cpus: Option<Vec<Cpu>>,
}

/// The oldest TCB of some processors.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct MinimumTcb {
    /// A line of processors.
    pub product: Option<Product>,
    /// One processor.
    pub cpu: Option<Signature>,
    /// FMC.
    #[serde(default)]
    pub fmc: u8,
    /// The security processor's boot loader.
    #[serde(default)]
    pub bootloader: u8,
    /// Its operating system.
    #[serde(default)]
    pub tee: u8,
    /// The SNP firmware.
    #[serde(default)]
    pub snp: u8,
    /// Microcode.
    #[serde(default)]
    pub microcode: u8,
}

/// A TCB version beside REPORTED_TCB.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum AlsoTcb {
    /// COMMITTED_TCB.
    Committed,
    /// LAUNCH_TCB.
    Launch,
}

/// What the guest policy must be.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestPolicyRule {
    /// Bits that must not be set.
    pub deny: Vec<Bit>,
    /// Bits that must be set.
    pub require: Vec<Bit>,
    /// The least ABI version.
    pub minimum_abi: Abi,
    /// Whether it may be weaker than the release's.
    pub weaker_than_release: Leave,
}

/// A version of the firmware's interface.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(deny_unknown_fields)]
pub struct Abi {
    /// Major.
    pub major: u8,
    /// Minor.
    pub minor: u8,
}

/// What the platform must be.
#[derive(Clone, Debug, PartialEq)]
pub struct PlatformRule {
    /// Bits that must not be set.
    pub deny: Vec<Bit>,
    /// Bits that must be set.
    pub require: Vec<Bit>,
}

/// A bit, with its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bit {
    /// Its place.
    pub bit: u32,
    /// Its name.
    pub name: &'static str,
}

/// Whether something may be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Leave {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// Whether something must be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// It must.
    Required,
    /// It need not.
    Optional,
}

/// Bits of the mitigation vectors that must be set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mitigations {
    /// Of LAUNCH_MIT_VECTOR.
    pub launch: u64,
    /// Of CURRENT_MIT_VECTOR.
    pub current: u64,
}

/// How REPORT_DATA is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReportData {
    /// Not at all.
    Unchecked,
    /// All of it.
    Raw([u8; 64]),
    /// The SHA-256 of a public key (SubjectPublicKeyInfo in DER), then 32 zeros.
    Sha256Spki(Sha256),
    /// What our agent makes of a nonce and of what the guest has bound.
    Labelled(Binding),
}

impl ReportData {
    /// The scheme's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Raw(_) => "raw",
            Self::Sha256Spki(_) => "sha256-spki",
            Self::Labelled(_) => "labelled",
        }
    }
}

/// What the guest must have bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binding {
    /// Whatever its evidence says.
    Any,
    /// Nothing.
    None,
    /// This.
    Is([u8; 32]),
}

/// How recent things must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Freshness {
    /// A nonce in REPORT_DATA.
    pub nonce: Need,
    /// A list of revoked certificates.
    pub crl: Need,
    /// How old that may be.
    pub crl_max_age_days: Option<u32>,
}

impl Policy {
    /// Reads a policy; what the file does not say is as in [`DEFAULT`].
    ///
    /// # Errors
    /// Malformed, with line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let file: File = Document { name, text }.parse()?;
        Self::checked(name, file.over(File::default_policy()?))
    }

    fn checked(name: &str, policy: Self) -> Result<Self> {
        policy.check().map_err(|says| Error::new(Kind::Malformed, format!("{name}: {says}")))?;
        // Launches that nothing can be computed of; the rest of a set is the record's.
        let vcpus = policy.vcpus.clone().unwrap_or_else(|| vec![1]);
        let cpus = policy.cpus.clone().unwrap_or_else(|| vec![Cpu::of(Signature(0))]);
        Set::new(vcpus, cpus, vec![SevFeatures::SNP])
            .context(Kind::Malformed, || name.to_owned())?;
        Ok(policy)
    }

    /// What a person cannot have meant, although each part of it can be.
    fn check(&self) -> std::result::Result<(), String> {
        for (index, entry) in self.minimum_tcb.iter().enumerate() {
            let of = entry.product.or_else(|| entry.cpu.and_then(Product::of));
            let Some(of) = of else {
                return Err("an entry of `minimum-tcb` is for no processor: say `product` or a `cpu` that attests".to_owned());
            };
            if entry.fmc != 0 && of != Product::Turin {
                return Err(format!("`minimum-tcb` has an `fmc` for {of}, which has none"));
            }
            let hides = |before: &&MinimumTcb| {
                before.product.is_none_or(|product| product == of)
                    && before.cpu.is_none_or(|cpu| Some(cpu) == entry.cpu)
            };
            if self.minimum_tcb[..index].iter().find(hides).is_some() {
                return Err(format!(
                    "entry {} of `minimum-tcb` is never reached: one before it is for the same processors",
                    index + 1
                ));
            }
        }
        for (name, keys) in [("id-keys", &self.id_keys), ("author-keys", &self.author_keys)] {
            if keys.as_ref().is_some_and(|keys| keys.contains(&Sha384::ZERO)) {
                return Err(format!("zeros in `{name}` are the digest of no key"));
            }
        }
        if self.chip_ids.iter().flatten().any(|id| id.iter().all(|byte| *byte == 0)) {
            return Err(
                "zeros in `chip-ids` are no chip: they stand where one is masked".to_owned()
            );
        }
        let (guest, platform) = (&self.guest_policy, &self.platform);
        for (key, deny, require) in [
            ("guest-policy", &guest.deny, &guest.require),
            ("platform", &platform.deny, &platform.require),
        ] {
            if let Some(both) = require.iter().find(|bit| deny.contains(bit)) {
                return Err(format!("`{key}` both denies and requires `{}`", both.name));
            }
        }
        if self.report_data == ReportData::Sha256Spki(Sha256([0; 32])) {
            return Err("`sha256-spki` is the digest of no key".to_owned());
        }
        if self.report_data == ReportData::Labelled(Binding::Is([0; 32])) {
            return Err("zeros are what stands for nothing bound: say `none`".to_owned());
        }
        Ok(())
    }

    /// The default policy.
    ///
    /// # Panics
    /// Never: a test parses the same text.
    pub fn conservative() -> Self {
        // Every key is said there, so that nothing is left to what stands beneath.
        let policy = File::default_policy().map(|file| file.over(File::default()));
        policy.expect("the default policy is one")
    }
}

impl MinimumTcb {
    /// Whether it is for a processor.
    pub(super) fn fits(&self, product: Product, cpu: Option<Signature>) -> bool {
        self.product.is_none_or(|wanted| wanted == product)
            && self.cpu.is_none_or(|wanted| cpu == Some(wanted))
    }

    /// The versions by name.
    pub(super) fn parts(&self) -> [(&'static str, u8); 5] {
        [
            ("fmc", self.fmc),
            ("bootloader", self.bootloader),
            ("tee", self.tee),
            ("snp", self.snp),
            ("microcode", self.microcode),
        ]
    }
}

/// A policy as it is written: everything may be missing. `null` and a missing key are not the same.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    version: VersionOne,
    products: Option<Vec<Product>>,
    signers: Option<Vec<Signer>>,
    #[serde(default)]
    csp_ids: Said<Vec<String>>,
    minimum_tcb: Option<Vec<MinimumTcb>>,
    minimum_tcb_also: Option<Vec<AlsoTcb>>,
    guest_policy: Option<GuestPolicyFile>,
    platform: Option<PlatformFile>,
    vmpl: Option<Vec<u32>>,
    minimum_guest_svn: Option<u32>,
    #[serde(default)]
    family_id: Said<Hex<16>>,
    #[serde(default)]
    image_id: Said<Hex<16>>,
    #[serde(default)]
    id_keys: Said<Vec<Sha384>>,
    #[serde(default)]
    author_keys: Said<Vec<Sha384>>,
    #[serde(default)]
    host_data: Said<Hex<32>>,
    #[serde(default)]
    chip_ids: Said<Vec<ChipId>>,
    mitigations: Option<MitigationsFile>,
    report_data: Option<ReportDataFile>,
    freshness: Option<FreshnessFile>,
    #[serde(default)]
    vcpus: Said<Vec<u32>>,
    #[serde(default)]
    cpus: Said<Vec<CpuName>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct GuestPolicyFile {
    deny: Option<Vec<GuestBit>>,
    require: Option<Vec<GuestBit>>,
    minimum_abi: Option<Abi>,
    weaker_than_release: Option<Leave>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformFile {
    deny: Option<Vec<PlatformBit>>,
    require: Option<Vec<PlatformBit>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MitigationsFile {
    launch: Option<Mask>,
    current: Option<Mask>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FreshnessFile {
    nonce: Option<Need>,
    crl: Option<Need>,
    #[serde(default)]
    crl_max_age_days: Said<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ReportDataFile {
    Unchecked,
    Raw(Hex<64>),
    Sha256Spki(Sha256),
    Labelled(BindingFile),
}

impl File {
    fn default_policy() -> Result<Self> {
        Document { name: "the default policy", text: DEFAULT }.parse()
    }

    fn over(self, below: Self) -> Policy {
        let guest = self.guest_policy.unwrap_or_default();
        let guest_below = below.guest_policy.unwrap_or_default();
        let platform = self.platform.unwrap_or_default();
        let platform_below = below.platform.unwrap_or_default();
        let mitigations = self.mitigations.unwrap_or_default();
        let mitigations_below = below.mitigations.unwrap_or_default();
        let freshness = self.freshness.unwrap_or_default();
        let freshness_below = below.freshness.unwrap_or_default();
        let VersionOne = self.version;
        Policy {
            products: either(self.products, below.products),
            signers: either(self.signers, below.signers),
            csp_ids: self.csp_ids.or(below.csp_ids),
            minimum_tcb: either(self.minimum_tcb, below.minimum_tcb),
            minimum_tcb_also: either(self.minimum_tcb_also, below.minimum_tcb_also),
            guest_policy: GuestPolicyRule {
                deny: bits(guest.deny, guest_below.deny),
                require: bits(guest.require, guest_below.require),
                minimum_abi: guest
                    .minimum_abi
                    .or(guest_below.minimum_abi)
                    .unwrap_or(Abi { major: 0, minor: 0 }),
                weaker_than_release: guest
                    .weaker_than_release
                    .or(guest_below.weaker_than_release)
                    .unwrap_or(Leave::Deny),
            },
            platform: PlatformRule {
                deny: bits(platform.deny, platform_below.deny),
                require: bits(platform.require, platform_below.require),
            },
            vmpl: either(self.vmpl, below.vmpl),
            minimum_guest_svn: either(self.minimum_guest_svn, below.minimum_guest_svn),
            family_id: self.family_id.or(below.family_id).map(|Hex(id)| id),
            image_id: self.image_id.or(below.image_id).map(|Hex(id)| id),
            id_keys: self.id_keys.or(below.id_keys),
            author_keys: self.author_keys.or(below.author_keys),
            host_data: self.host_data.or(below.host_data).map(|Hex(data)| data),
            chip_ids: self
                .chip_ids
                .or(below.chip_ids)
                .map(|ids| ids.into_iter().map(|ChipId(id)| id).collect()),
            mitigations: Mitigations {
                launch: either(mitigations.launch, mitigations_below.launch).0,
                current: either(mitigations.current, mitigations_below.current).0,
            },
            report_data: match self.report_data.or(below.report_data) {
                None | Some(ReportDataFile::Unchecked) => ReportData::Unchecked,
                Some(ReportDataFile::Raw(Hex(data))) => ReportData::Raw(data),
                Some(ReportDataFile::Sha256Spki(digest)) => ReportData::Sha256Spki(digest),
                Some(ReportDataFile::Labelled(BindingFile(binding))) => {
                    ReportData::Labelled(binding)
                }
            },
            freshness: Freshness {
                nonce: freshness.nonce.or(freshness_below.nonce).unwrap_or(Need::Required),
                crl: freshness.crl.or(freshness_below.crl).unwrap_or(Need::Required),
                crl_max_age_days: freshness.crl_max_age_days.or(freshness_below.crl_max_age_days),
            },
            vcpus: self.vcpus.or(below.vcpus),
            cpus: self
                .cpus
                .or(below.cpus)
                .map(|cpus| cpus.into_iter().map(|CpuName(cpu)| cpu).collect()),
        }
    }
}

fn either<T: Default>(said: Option<T>, below: Option<T>) -> T {
    said.or(below).unwrap_or_default()
}

fn bits<T: Into<Bit>>(said: Option<Vec<T>>, below: Option<Vec<T>>) -> Vec<Bit> {
    either(said, below).into_iter().map(Into::into).collect()
}

/// A key that may be missing, be `null`, or have a value: three different things.
#[derive(Default)]
enum Said<T> {
    #[default]
    Nothing,
    Null,
    Value(T),
}

impl<T> Said<T> {
    fn or(self, below: Self) -> Option<T> {
        match (self, below) {
            (Self::Value(value), _) | (Self::Nothing, Self::Value(value)) => Some(value),
            (Self::Null, _) | (Self::Nothing, _) => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Said<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

macro_rules! from_text {
    ($type:ty, $read:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let read: fn(&str) -> std::result::Result<Self, String> = $read;
                read(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

#[derive(Default)]
struct Mask(u64);

from_text!(Mask, |text| {
    let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
    let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    value.map(Mask).ok_or_else(|| format!("`{text}` is not a number such as \"0x1f\""))
});

struct ChipId(Vec<u8>);

from_text!(ChipId, |text| {
    let long = parse_hex::<64>(text).map(Vec::from);
    let id = long.or_else(|_| parse_hex::<8>(text).map(Vec::from));
    id.map(ChipId).map_err(|_| format!("`{text}` is not 128 or 16 lower-case hex digits"))
});

struct CpuName(Cpu);

from_text!(CpuName, |text| {
    let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
    let digits = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let cpu = digits.map(|signature| Ok(Cpu::of(Signature(signature))));
    cpu.unwrap_or_else(|| Cpu::named(text)).map(Self).map_err(|error| error.to_string())
});

struct BindingFile(Binding);

from_text!(BindingFile, |text| match text {
    "any" => Ok(Self(Binding::Any)),
    "none" => Ok(Self(Binding::None)),
    hex => match parse_hex(hex) {
        Ok(bytes) => Ok(Self(Binding::Is(bytes))),
        Err(_) => Err(format!("`{hex}` is neither `any`, `none` nor 64 lower-case hex digits")),
    },
});

struct GuestBit(Bit);
struct PlatformBit(Bit);

from_text!(GuestBit, |text| {
    let found = GUEST_POLICY.iter().find(|(_, name, _)| *name == text);
    let known = || GUEST_POLICY.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(", ");
    found.map(|(bit, name, _)| Self(Bit { bit: *bit, name })).ok_or_else(|| {
        format!("`{text}` is no bit of the guest policy: expected one of {}", known())
    })
});

from_text!(PlatformBit, |text| {
    let found = PLATFORM.iter().find(|(_, name, _)| *name == text);
    let known = || PLATFORM.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(", ");
    found
        .map(|(bit, name, _)| Self(Bit { bit: *bit, name }))
        .ok_or_else(|| format!("`{text}` is no bit of the platform: expected one of {}", known()))
});

impl From<GuestBit> for Bit {
    fn from(GuestBit(bit): GuestBit) -> Self {
        bit
    }
}

impl From<PlatformBit> for Bit {
    fn from(PlatformBit(bit): PlatformBit) -> Self {
        bit
    }
}

struct Hex<const N: usize>([u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_hex(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Copy, Default)]
struct VersionOne;

impl<'de> Deserialize<'de> for VersionOne {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(Self),
            other => Err(serde::de::Error::custom(format!(
                "version {other} is not known: expected {VERSION}"
            ))),
        }
    }
}

/// Whether `policy` allows the host something that `release` does not, or asks for less: the name of the
/// first such bit.
pub(super) fn weaker(policy: u64, release: u64) -> Option<&'static str> {
    let differs = |(bit, _, effect): &&(u32, &str, Effect)| {
        let (found, wanted) = (policy >> bit & 1, release >> bit & 1);
        match effect {
            Effect::Allows => found > wanted,
            Effect::Requires => found < wanted,
        }
    };
    let abi = |policy: u64| (policy >> 8 & 0xff, policy & 0xff);
    let bit = GUEST_POLICY.iter().find(differs).map(|(_, name, _)| *name);
    bit.or((abi(policy) < abi(release)).then_some("the ABI version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_conservative() {
        let policy = Policy::conservative();
        assert_eq!(policy, Policy::parse("the same", DEFAULT).unwrap());
        let names = |bits: &[Bit]| bits.iter().map(|bit| bit.name).collect::<Vec<_>>();
        assert_eq!(names(&policy.guest_policy.deny), ["debug", "migrate-ma"]);
        assert_eq!(policy.guest_policy.weaker_than_release, Leave::Deny);
        assert_eq!(names(&policy.platform.require), ["alias-check"]);
        assert_eq!(policy.vmpl, [0]);
        assert_eq!(policy.freshness.crl, Need::Required);
        assert_eq!(policy.freshness.crl_max_age_days, None);
        for product in Product::ALL {
            assert!(
                policy.minimum_tcb.iter().any(|entry| entry.product == Some(product)),
                "{product}"
            );
        }
    }

    #[test]
    fn a_file_says_what_it_changes() {
        let policy =
            Policy::parse("p", "version: 1\nfreshness: {crl: optional, crl-max-age-days: 9}\n");
        let policy = policy.unwrap();
        assert_eq!(
            (policy.freshness.crl, policy.freshness.crl_max_age_days),
            (Need::Optional, Some(9))
        );
        let default = Policy::conservative();
        assert_eq!(policy, Policy { freshness: policy.freshness, ..default });
    }

    #[test]
    fn what_a_policy_cannot_mean_is_refused_with_a_line() {
        for (text, says) in [
            ("vmpl: [0]\n", "missing field `version`"),
            ("version: 2\n", "version 2 is not known"),
            ("version: 1\nvmlp: [0]\n", "unknown field `vmlp`"),
            ("version: 1\nproducts: [Rome]\n", "Rome"),
            ("version: 1\nplatform: {require: [ecb]}\n", "`ecb` is no bit of the platform"),
            ("version: 1\nguest-policy: {deny: [SMT]}\n", "`SMT` is no bit of the guest policy"),
            ("version: 1\nhost-data: ABCD\n", "64 lower-case hex digits"),
            ("version: 1\nchip-ids: [\"00\"]\n", "128 or 16 lower-case hex digits"),
            ("version: 1\nreport-data: {labelled: yes}\n", "neither `any`, `none` nor"),
            ("version: 1\nmitigations: {launch: \"0x+1\"}\n", "not a number"),
            ("version: 1\nversion: 1\n", "duplicate"),
            ("version: 1\ncpus: [\"0x+a10f11\"]\n", "0x+a10f11"),
            ("version: 1\nguest-policy: {require: [debug]}\n", "denies and requires `debug`"),
            ("version: 1\nplatform: {deny: [ecc], require: [tsme, ecc]}\n", "requires `ecc`"),
        ] {
            let error = Policy::parse("policy.yaml", text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(error.starts_with("policy.yaml"), "{error}");
        }
    }

    #[test]
    fn zeros_are_nobody() {
        let zeros = |bytes: usize| "00".repeat(bytes);
        for (text, says) in [
            (format!("id-keys: [\"{}\"]", zeros(48)), "`id-keys`"),
            (format!("author-keys: [\"{}\"]", zeros(48)), "`author-keys`"),
            (format!("chip-ids: [\"{}\"]", zeros(8)), "`chip-ids`"),
            (format!("chip-ids: [\"{}\"]", zeros(64)), "`chip-ids`"),
        ] {
            let error =
                Policy::parse("p", &format!("version: 1\n{text}\n")).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn weaker_is_told_bit_by_bit() {
        for (policy, release, found) in [
            (0x3_0000, 0x3_0000, None),
            (0x2_0000, 0x3_0000, None),
            (0x3_0000, 0x2_0000, Some("smt")),
            (0xb_0000, 0x3_0000, Some("debug")),
            (0x13_0000, 0x3_0000, None),
            (0x3_0000, 0x13_0000, Some("single-socket")),
            (0x3_0000, 0x3_0001, Some("the ABI version")),
            (0x3_0100, 0x3_00ff, None),
        ] {
            assert_eq!(weaker(policy, release), found, "{policy:#x} {release:#x}");
        }
    }
}
