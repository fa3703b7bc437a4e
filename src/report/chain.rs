//! From the report to AMD's root: the key that signed it, the certificate over that key, the certificate
//! over that one's key, and whether any of them was revoked. The root itself is a constant.

use p384::ecdsa::signature::Verifier as _;
use rsa::RsaPublicKey;
use rsa::traits::PublicKeyParts as _;

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::certificate::{Certificate, Endorsement, Kind};
use super::collateral::Collateral;
use super::crl::Crl;
use super::describe::hex;
use super::fields::{Report, Signer, Version};
use super::policy::{Freshness, Need};
use super::product::{Product, Tcb};
use super::reason::Reason;
use super::roots::{self, Roots};
use super::time::Time;
use super::verdict::Ledger;
use crate::digest::Sha256;

/// What a chain is checked by.
pub(super) struct Terms<'a> {
    pub(super) collateral: &'a Collateral,
    pub(super) roots: &'a Roots,
    pub(super) freshness: Freshness,
    pub(super) at: Time,
    pub(super) signatures: Signatures,
}

/// The signatures that were looked at. Evidence may bring dozens of certificates along that are each other's
/// in every way but one, and each costs a machine that asks for an answer as much as a real one.
#[derive(Default)]
pub(super) struct Signatures {
    seen: RefCell<BTreeMap<Pair, bool>>,
}

/// What is signed, and the key's modulus and exponent.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Pair(Sha256, Vec<u8>, Vec<u8>);

impl Signatures {
    /// Whether `key` signed the bytes of a certificate or a list.
    fn hold(&self, der: &[u8], key: &RsaPublicKey, check: impl FnOnce() -> bool) -> bool {
        let pair = Pair(Sha256::of(der), key.n().to_bytes_be(), key.e().to_bytes_be());
        if let Some(known) = self.seen.borrow().get(&pair) {
            return *known;
        }
        let holds = check();
        self.seen.borrow_mut().insert(pair, holds);
        holds
    }

    fn of_certificate(&self, certificate: &Certificate, key: &RsaPublicKey) -> bool {
        self.hold(certificate.der(), key, || certificate.is_signed_by(key))
    }

    fn of_list(&self, crl: &Crl, key: &RsaPublicKey) -> bool {
        self.hold(crl.der(), key, || crl.is_signed_by(key))
    }
}

/// What a chain has shown, or would if it held.
#[derive(Default)]
pub(super) struct Chain {
    pub(super) ledger: Ledger,
    pub(super) product: Option<Product>,
    pub(super) csp_id: Option<String>,
}

/// Checks the report's signature and all that stands behind it. Of several certificates that could be the
/// signing key's, the one that holds best counts: others, of other machines or other times, spoil nothing.
pub(super) fn check(report: &Report, signer: Signer, terms: &Terms<'_>) -> Chain {
    let veks = terms.collateral.of_kind(|kind| kind == Kind::Vek(signer));
    let veks: Vec<_> = veks.map(|vek| (vek, signs(report, vek))).collect();
    let chain = |(vek, signed): &(&Certificate, Result<bool, Reason>)| {
        with(report, signer, vek, *signed, terms)
    };
    // Whose key did not sign the report cannot hold better than one whose key did.
    let signed = veks.iter().filter(|(_, signed)| *signed == Ok(true)).map(chain);
    let best = signed.min_by_key(|chain| chain.ledger.failures());
    if let Some(found) = best.or_else(|| veks.first().map(chain)) {
        return found;
    }
    let mut chain = Chain { product: product_of(report), ..Chain::default() };
    let other = terms.collateral.of_kind(|kind| matches!(kind, Kind::Vek(_))).next();
    match other {
        Some(other) => {
            let says = format!(
                "the report is signed by a {}, the certificate is for {}",
                signer.name(),
                other.name()
            );
            chain.ledger.failed("signing-key", Reason::VekKind, says);
        }
        None => {
            let says = format!("no certificate of a {}", signer.name());
            chain.ledger.failed("signing-key", Reason::VekMissing, says);
        }
    }
    if chain.product.is_none() && report.cpu().is_some() {
        unknown(report, &mut chain.ledger);
    }
    // What else is missing is told at once, so that it can be fetched at once.
    if let Some(product) = chain.product
        && let Some(key) = terms.roots.of(product)
    {
        let ask = terms.collateral.of_kind(|kind| kind == Kind::Ask(signer)).next();
        if ask.is_none() {
            let says = format!("no certificate {} of {product}", Kind::Ask(signer));
            chain.ledger.failed("chain", Reason::AskMissing, says);
        }
        let asks: Vec<&Certificate> = ask.into_iter().collect();
        revocation(product, &asks, &[], key, terms, &mut chain.ledger);
    }
    chain
}

fn product_of(report: &Report) -> Option<Product> {
    report.cpu().and_then(Product::of)
}

fn unknown(report: &Report, ledger: &mut Ledger) {
    let [family, model, stepping] = report.cpuid().unwrap_or_default();
    let says = format!(
        "CPUID family {family:#x}, model {model:#x}, stepping {stepping:#x} is of no processor that is known"
    );
    ledger.failed("product", Reason::ProductUnknown, says);
}

/// The chain from one certificate, of which it is known whether its key signed the report.
fn with(
    report: &Report,
    signer: Signer,
    vek: &Certificate,
    signed: Result<bool, Reason>,
    terms: &Terms<'_>,
) -> Chain {
    let mut chain = Chain::default();
    let ledger = &mut chain.ledger;
    let endorsement = match vek.endorsement() {
        Ok(endorsement) => Some(endorsement),
        Err(error) => {
            ledger.failed(
                "signing-key",
                Reason::VekExtension,
                format!("{}: {error}", signer.name()),
            );
            None
        }
    };
    let said = product_of(report);
    let silent = report.version() == Version::V2;
    let certified = endorsement.as_ref().and_then(|endorsement| endorsement.product);
    chain.product = said.or(certified.filter(|_| silent));
    chain.csp_id = endorsement.as_ref().and_then(|endorsement| endorsement.csp_id.clone());
    match (said, certified) {
        (None, _) if !silent => unknown(report, ledger),
        (None, None) => ledger.failed(
            "product",
            Reason::ProductUndetermined,
            "neither the report nor the certificate says which processor it is",
        ),
        (Some(said), Some(certified)) if said != certified => ledger.failed(
            "product",
            Reason::ProductMismatch,
            format!("the report is from a {said}, the certificate for a {certified}"),
        ),
        (_, None) if endorsement.is_some() => ledger.failed(
            "product",
            Reason::ProductMismatch,
            "the certificate is for a product that is not known",
        ),
        (Some(product), _) => ledger.passed("product", format!("{product}, by the report's CPUID")),
        (None, Some(product)) => ledger.passed("product", format!("{product}, by the certificate")),
    }
    signature(vek, signed, ledger);
    if let Some(product) = chain.product {
        intermediate(product, signer, vek, terms, ledger);
        if let Some(endorsement) = &endorsement {
            tcb(report, product, endorsement, ledger);
            chip(report, product, signer, endorsement, ledger);
        }
    }
    chain
}

fn signature(vek: &Certificate, signed: Result<bool, Reason>, ledger: &mut Ledger) {
    const CHECK: &str = "report-signature";
    let by = vek.name();
    match signed {
        Ok(true) => ledger.passed(CHECK, format!("the key of {by} signed these bytes")),
        Ok(false) => {
            let says = format!("the key of {by} did not sign these bytes");
            ledger.failed(CHECK, Reason::ReportSignature, says);
        }
        Err(Reason::VekKey) => {
            ledger.failed(CHECK, Reason::VekKey, format!("the key of {by} is not on P-384"));
        }
        Err(reason) => ledger.failed(
            CHECK,
            reason,
            "R and S are not numbers of the group, or something stands behind them",
        ),
    }
}

/// Whether the key of a certificate signed the report: ECDSA on P-384 with SHA-384 over the bytes before the
/// signature (SNP ABI, section "Digital Signatures", table "ECDSA P-384 with SHA-384 Signature Structure").
fn signs(report: &Report, vek: &Certificate) -> Result<bool, Reason> {
    let key = vek.p384_key().ok_or(Reason::VekKey)?;
    let signature =
        report.signature().and_then(|(r, s)| p384::ecdsa::Signature::from_scalars(r, s).ok());
    let signature = signature.ok_or(Reason::ReportSignatureForm)?;
    Ok(key.verify(report.signed(), &signature).is_ok())
}

/// The certificate over the signing key's, up to the root.
fn intermediate(
    product: Product,
    signer: Signer,
    vek: &Certificate,
    terms: &Terms<'_>,
    ledger: &mut Ledger,
) {
    let kind = Kind::Ask(signer);
    let root = roots::name(product);
    let Some(key) = terms.roots.of(product) else {
        // The root that was given is AMD's of another product.
        let says = format!("the root that was given is not {root}");
        ledger.failed("root", Reason::ArkNotPinned, says);
        return;
    };
    validity(vek, terms.at, VEK_VALIDITY, ledger);
    let asks: Vec<&Certificate> = terms.collateral.of_kind(|found| found == kind).collect();
    // Nobody but the root can make many that it has signed; of all others one is enough to say what is wrong.
    let of_root = |ask: &&&Certificate| ask.is_pss() && terms.signatures.of_certificate(ask, key);
    let mut tried: Vec<&Certificate> = asks.iter().filter(of_root).copied().collect();
    let rooted = tried.clone();
    if tried.is_empty() {
        let named = asks.iter().find(|ask| vek.names(ask)).or(asks.first());
        tried.extend(named);
    }
    let best = tried.into_iter().map(|ask| {
        let mut ledger = Ledger::default();
        under(vek, ask, &root, key, terms, &mut ledger);
        (ask, ledger)
    });
    let asks = match best.min_by_key(|(_, ledger)| ledger.failures()) {
        Some((ask, found)) => {
            ledger.append(found);
            // Each certificate over the key that signed counts: whoever revokes one revokes the key.
            let of_key = |other: &&Certificate| {
                let keys = other.rsa_key().zip(ask.rsa_key());
                keys.is_some_and(|(one, other)| roots::same(&one, &other))
                    && other.der() != ask.der()
            };
            std::iter::once(ask).chain(rooted.into_iter().filter(of_key)).collect()
        }
        None => {
            ledger.failed(
                "chain",
                Reason::AskMissing,
                format!("no certificate {kind} of {product}"),
            );
            Vec::new()
        }
    };
    let arks = terms.collateral.of_kind(|kind| kind == Kind::Ark);
    let arks: Vec<&Certificate> = arks.filter(|ark| ark.name() == root).collect();
    let given = terms.roots.given();
    let whose = if given.is_none() { "is built in" } else { "was given" };
    if arks.is_empty() {
        ledger.passed("root", format!("{root}, by the key that {whose}"));
    }
    // What was given is looked at as what comes along, but for its name: it is believed for all products.
    if let Some(given) = given.filter(|given| arks.iter().all(|ark| ark.der() != given.der())) {
        let own = given.rsa_key().filter(|_| given.names_itself());
        let holds =
            |own: &RsaPublicKey| given.is_pss() && terms.signatures.of_certificate(given, own);
        if !own.as_ref().is_none_or(holds) {
            let says =
                format!("the root {} that was given is not signed by its own key", given.name());
            ledger.failed("root", Reason::ArkSignature, says);
        }
        constraints(given, ledger);
        validity(given, terms.at, ARK_VALIDITY, ledger);
    }
    for ark in &arks {
        if !terms.roots.is_pinned(product, ark) {
            let says =
                format!("the certificate {root} that came along has another key than the root");
            ledger.failed("root", Reason::ArkNotPinned, says);
        } else if !ark.is_pss() || !terms.signatures.of_certificate(ark, key) {
            let says =
                format!("the certificate {root} that came along is not signed by its own key");
            ledger.failed("root", Reason::ArkSignature, says);
        } else {
            ledger.passed("root", format!("{root}, whose key is the one that {whose}"));
            constraints(ark, ledger);
            validity(ark, terms.at, ARK_VALIDITY, ledger);
        }
    }
    revocation(product, &asks, &arks, key, terms, ledger);
}

/// A root signs keys that sign certificates.
fn constraints(ark: &Certificate, ledger: &mut Ledger) {
    if !ark.is_ca_of_cas() {
        let says = format!("{} may not sign what signs certificates", ark.name());
        ledger.failed("root", Reason::ArkNotCa, says);
    }
}

/// `vek` under `ask` under the root.
fn under(
    vek: &Certificate,
    ask: &Certificate,
    root: &str,
    key: &RsaPublicKey,
    terms: &Terms<'_>,
    ledger: &mut Ledger,
) {
    let (leaf, name) = (vek.name(), ask.name());
    match ask.rsa_key() {
        None => ledger.failed("chain", Reason::AskMalformed, format!("{name} has no RSA key")),
        Some(ask_key) => {
            if !vek.names(ask) {
                let says =
                    format!("{leaf} says that it is by {}, not by {name}", vek.issuer_name());
                ledger.failed("chain", Reason::VekIssuer, says);
            } else if !vek.is_pss() {
                ledger.failed(
                    "chain",
                    Reason::VekAlgorithm,
                    format!("{leaf} is not signed by RSASSA-PSS"),
                );
            } else {
                let holds = terms.signatures.of_certificate(vek, &ask_key);
                let word = if holds { "is" } else { "is not" };
                let says = format!("{leaf} {word} signed by {name}");
                ledger.hold("chain", holds, Reason::VekSignature, says);
            }
        }
    }
    if !ask.is_ca() {
        ledger.failed("chain", Reason::AskNotCa, format!("{name} may not sign certificates"));
    }
    if ask.issuer_name() != root {
        let says = format!("{name} says that it is by {}, not by {root}", ask.issuer_name());
        ledger.failed("chain", Reason::AskIssuer, says);
    } else if !ask.is_pss() {
        ledger.failed("chain", Reason::AskAlgorithm, format!("{name} is not signed by RSASSA-PSS"));
    } else {
        let holds = terms.signatures.of_certificate(ask, key);
        let word = if holds { "is" } else { "is not" };
        ledger.hold(
            "chain",
            holds,
            Reason::AskSignature,
            format!("{name} {word} signed by {root}"),
        );
    }
    validity(ask, terms.at, ASK_VALIDITY, ledger);
}

/// Too early, and too late.
const VEK_VALIDITY: (Reason, Reason) = (Reason::VekNotYetValid, Reason::VekExpired);
const ASK_VALIDITY: (Reason, Reason) = (Reason::AskNotYetValid, Reason::AskExpired);
const ARK_VALIDITY: (Reason, Reason) = (Reason::ArkNotYetValid, Reason::ArkExpired);

fn validity(
    certificate: &Certificate,
    at: Time,
    (early, late): (Reason, Reason),
    ledger: &mut Ledger,
) {
    let (from, to) = certificate.validity();
    let says = format!("{} is valid from {from} to {to}", certificate.name());
    match () {
        () if at < from => ledger.failed("validity", early, format!("{says}, which is after {at}")),
        () if at > to => ledger.failed("validity", late, format!("{says}, which is before {at}")),
        () => ledger.passed("validity", says),
    }
}

/// AMD has a list for VCEKs and one for VLEKs, of one root and in one form. Both are the root's own and name
/// what it signed, by serial numbers: intermediate certificates, and itself; those of chips are in none. Whatever
/// a list that the root signed names is revoked, however old the list is and whatever another says; how recent the best of them is,
/// is another question.
fn revocation(
    product: Product,
    asks: &[&Certificate],
    arks: &[&Certificate],
    key: &RsaPublicKey,
    terms: &Terms<'_>,
    ledger: &mut Ledger,
) {
    const CHECK: &str = "revocation";
    let root = roots::name(product);
    let required = terms.freshness.crl == Need::Required;
    let (ours, others): (Vec<&Crl>, Vec<&Crl>) =
        terms.collateral.crls.iter().partition(|crl| crl.issuer_name() == root);
    let (others, strangers): (Vec<&Crl>, Vec<&Crl>) = others.into_iter().partition(|crl| {
        Product::ALL.into_iter().any(|product| crl.issuer_name() == roots::name(product))
    });
    for crl in &strangers {
        let says = format!(
            "the list of revoked certificates is by `{}`, no root of AMD's",
            crl.issuer_name()
        );
        ledger.failed(CHECK, Reason::CrlUnknown, says);
    }
    let (signed, forged): (Vec<&Crl>, Vec<&Crl>) =
        ours.into_iter().partition(|crl| crl.is_pss() && terms.signatures.of_list(crl, key));
    for crl in &forged {
        let (reason, says) = match crl.is_pss() {
            true => (Reason::CrlSignature, "the list is not signed by the root's key"),
            false => (Reason::CrlAlgorithm, "the list is not signed by RSASSA-PSS"),
        };
        ledger.failed(CHECK, reason, says);
    }
    if signed.iter().any(|crl| asks.iter().any(|ask| crl.revokes(ask))) {
        let says = format!("{root} has revoked the intermediate certificate");
        ledger.failed(CHECK, Reason::AskRevoked, says);
        return;
    }
    // The root's certificate need not have come along.
    let serial = terms.roots.serial(product);
    let itself = |crl: &&Crl| {
        arks.iter().any(|ark| crl.revokes(ark)) || serial.is_some_and(|it| crl.revokes_serial(it))
    };
    if signed.iter().any(itself) {
        ledger.failed(CHECK, Reason::ArkRevoked, format!("{root} has revoked itself"));
        return;
    }
    let judged = signed.into_iter().map(|crl| (crl, outdated(crl, terms)));
    let best = judged.max_by_key(|(crl, wrong)| (wrong.is_none(), crl.this_update()));
    let missing = || match others.first() {
        Some(other) => {
            let says = format!(
                "the list of revoked certificates is by {}, not by {root}",
                other.issuer_name()
            );
            (Reason::CrlIssuer, says)
        }
        None => (Reason::CrlMissing, format!("no list of revoked certificates of {root}")),
    };
    let wrong = match best {
        Some((crl, None)) => {
            let until =
                crl.next_update().map_or(String::new(), |until| format!(", valid until {until}"));
            let says = format!("none is in {root}'s list of {}{until}", crl.this_update());
            return ledger.passed(CHECK, says);
        }
        Some((_, Some(wrong))) => wrong,
        // What was wrong with it has been said.
        None if !forged.is_empty() || !strangers.is_empty() => return,
        None => missing(),
    };
    match (required, wrong) {
        (true, (reason, says)) => ledger.failed(CHECK, reason, says),
        (false, (_, says)) => {
            ledger.not_checked(CHECK, format!("{says}; the policy does not ask for one"))
        }
    }
}

/// Why a list says too little about the time in question. A later one says more: what is not revoked by then
/// was not before.
fn outdated(crl: &Crl, terms: &Terms<'_>) -> Option<(Reason, String)> {
    let (made, at) = (crl.this_update(), terms.at);
    if let Some(next) = crl.next_update().filter(|next| at > *next) {
        return Some((
            Reason::CrlStale,
            format!("the next list was due at {next}, which is before {at}"),
        ));
    }
    let days = terms.freshness.crl_max_age_days.filter(|days| at > made.plus_days(*days))?;
    Some((Reason::CrlTooOld, format!("the list is of {made}, more than {days} days before {at}")))
}

/// The key is of one TCB version: the one that the report says.
fn tcb(report: &Report, product: Product, endorsement: &Endorsement, ledger: &mut Ledger) {
    const CHECK: &str = "certified-tcb";
    let reported = Tcb::of(product, report.reported_tcb());
    let Endorsement { fmc, bootloader, tee, snp, microcode, .. } = *endorsement;
    // Before Turin there is no FMC; a certificate may say zero.
    let certified = match (product, fmc) {
        (Product::Turin, None) => {
            return ledger.failed(CHECK, Reason::VekExtension, "extension fmcSPL is missing");
        }
        (Product::Milan | Product::Genoa, None | Some(0)) => {
            Tcb { fmc: None, bootloader, tee, snp, microcode }
        }
        (_, fmc) => Tcb { fmc, bootloader, tee, snp, microcode },
    };
    match certified == reported {
        true => ledger.passed(CHECK, format!("the key is of the reported TCB: {reported}")),
        false => ledger.failed(
            CHECK,
            Reason::VekTcb,
            format!("the certificate is for {certified}; the report says {reported}"),
        ),
    }
}

/// The key is of one chip, or of an operator.
fn chip(
    report: &Report,
    product: Product,
    signer: Signer,
    endorsement: &Endorsement,
    ledger: &mut Ledger,
) {
    const CHECK: &str = "certified-chip";
    let missing = |ledger: &mut Ledger, name| {
        ledger.failed(CHECK, Reason::VekExtension, format!("extension {name} is missing"));
    };
    let size = product.chip_id_size();
    match (signer, &endorsement.hw_id, &endorsement.csp_id) {
        (Signer::Vlek, _, None) => missing(ledger, "cspID"),
        (Signer::Vlek, Some(_), _) => {
            ledger.failed(CHECK, Reason::VekExtension, "a VLEK's certificate has extension hwID");
        }
        (Signer::Vcek, _, Some(_)) => {
            ledger.failed(CHECK, Reason::VekExtension, "a VCEK's certificate has extension cspID");
        }
        (Signer::Vlek, _, Some(csp)) => {
            ledger.not_checked(CHECK, format!("a VLEK is of an operator ({csp}), not of a chip"));
        }
        (Signer::Vcek, None, _) => missing(ledger, "hwID"),
        (Signer::Vcek, Some(id), _) if id.len() != size => {
            let says = format!("hwID has {} bytes; a {product} has {size}", id.len());
            ledger.failed(CHECK, Reason::VekExtension, says);
        }
        (Signer::Vcek, Some(_), _) if !report.has_chip_id() => {
            ledger
                .not_checked(CHECK, "the host masks CHIP_ID; the key is of one chip all the same");
        }
        (Signer::Vcek, Some(id), _) if report.chip_id().get(..size) == Some(id.as_slice()) => {
            ledger.passed(CHECK, "the certificate is for the report's chip");
        }
        (Signer::Vcek, Some(id), _) => {
            let (theirs, ours) = (hex(id), hex(report.chip_id().get(..size).unwrap_or_default()));
            let says =
                format!("the certificate is for the chip {theirs}, the report is from {ours}");
            ledger.failed(CHECK, Reason::VekChipId, says);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Dozens of certificates over one key cost as much as one.
    #[test]
    fn a_pair_is_checked_once() {
        let roots = Roots::amd();
        let (milan, genoa) = (roots.of(Product::Milan).unwrap(), roots.of(Product::Genoa).unwrap());
        let (signatures, checked) = (Signatures::default(), Cell::new(0));
        let holds = |der: &[u8], key: &RsaPublicKey, holds: bool| {
            signatures.hold(der, key, || {
                checked.set(checked.get() + 1);
                holds
            })
        };
        assert!(holds(b"one", milan, true));
        assert!(!holds(b"one", genoa, false) && !holds(b"other", milan, false));
        // What was found stays so, whoever asks again.
        assert!(holds(b"one", milan, false) && !holds(b"one", genoa, true));
        assert_eq!(checked.get(), 3);
    }
}
