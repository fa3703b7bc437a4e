//! Whether one key's signature counts: is the key known, bound, in date, not revoked, strong?

use std::fmt;

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SignatureVersion, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails, PublicParams, Tag};

/// Why a signature does not count. Reads on after "key ABCD".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The text was changed, or the signature was.
    Bad,
    /// The key had expired before it signed.
    ExpiredKey,
    /// The signature has expired.
    ExpiredSignature,
    /// The key may not sign.
    NotForSigning,
    /// The key was revoked.
    Revoked,
    /// No valid signature of the primary key says that this key is in use.
    Unbound,
    /// None of the keys made it.
    Unknown,
    /// A kind of signature that release files do not have.
    Unsupported,
    /// MD5, SHA-1 and the like.
    WeakHash,
    /// Short RSA, or DSA.
    WeakKey,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bad => "signed something else: the file was changed after it was signed",
            Self::ExpiredKey => "had expired when it signed",
            Self::ExpiredSignature => "made a signature that has expired",
            Self::NotForSigning => "may not be used for signing",
            Self::Revoked => "was revoked",
            Self::Unbound => "is not bound by a valid self-signature",
            Self::Unknown => "is not in the keyrings",
            Self::Unsupported => "made a signature of an unsupported kind",
            Self::WeakHash => "signed with a hash weaker than sha-256",
            Self::WeakKey => "is too weak (rsa under 2048 bits, or dsa)",
        })
    }
}

/// The key that `signature` says made it: a fingerprint or a key id, in upper-case hexadecimal.
pub(super) fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|f| super::hex(f));
    fingerprint
        .or_else(|| signature.issuer_key_id().first().map(|id| id.to_string().to_uppercase()))
        .unwrap_or_else(|| "(unnamed)".to_owned())
}

/// Checks that `signature` over `signed` was made by a key of `certificate` that was good then.
pub(super) fn check(
    certificate: &SignedPublicKey,
    signature: &Signature,
    signed: &[u8],
    now: u64,
) -> Result<(), Refusal> {
    let primary = &certificate.primary_key;
    let by_primary = made_by(signature, primary);
    let mut subkeys =
        certificate.public_subkeys.iter().filter(|key| made_by(signature, &key.key)).peekable();
    if !by_primary && subkeys.peek().is_none() {
        return Err(Refusal::Unknown);
    }
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text))
        || !matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6)
    {
        return Err(Refusal::Unsupported);
    }
    if !is_strong(signature) {
        return Err(Refusal::WeakHash);
    }
    let at = created(signature).ok_or(Refusal::Unsupported)?;
    if lifetime_end(at, signature.signature_expiration_time()).is_some_and(|end| now >= end) {
        return Err(Refusal::ExpiredSignature);
    }
    // Whenever and for whatever reason: an archive that revokes its key has a new one.
    if certificate.details.revocation_signatures.iter().any(|s| s.verify_key(primary).is_ok()) {
        return Err(Refusal::Revoked);
    }
    let binding = newest_self_signature(certificate).ok_or(Refusal::Unbound)?;
    check_alive(primary, binding, at)?;

    let Some(first) = subkeys.next() else {
        check_strength(primary.public_params())?;
        // A primary key without flags may sign: they are younger than the first keys.
        if has_key_flags(binding) && !binding.key_flags().sign() {
            return Err(Refusal::NotForSigning);
        }
        return signature.verify(primary, signed).map_err(|_| Refusal::Bad);
    };
    let key = &first.key;
    check_strength(key.public_params())?;
    // The same key may be there twice, out of several files.
    let copies: Vec<_> =
        certificate.public_subkeys.iter().filter(|copy| copy.key == first.key).collect();
    let binding = newest_subkey_binding(certificate, &copies)?;
    check_alive(key, binding, at)?;
    signature.verify(key, signed).map_err(|_| Refusal::Bad)
}

/// The newest of the primary key's valid statements about itself.
fn newest_self_signature(certificate: &SignedPublicKey) -> Option<&Signature> {
    let primary = &certificate.primary_key;
    let direct = certificate.details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key)
            && is_strong(signature)
            && signature.verify_key(primary).is_ok()
    });
    let users = certificate.details.users.iter().flat_map(|user| {
        let verifies = move |signature: &&Signature| {
            // Other people's certifications are none of ours, and costly to find that out of.
            made_by(signature, primary)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        };
        let revoked = user
            .signatures
            .iter()
            .filter(|signature| signature.typ() == Some(SignatureType::CertRevocation))
            .filter(verifies)
            .filter_map(created)
            .max();
        user.signatures
            .iter()
            .filter(|signature| signature.typ() != Some(SignatureType::CertRevocation))
            .filter(|signature| is_strong(signature))
            .filter(move |signature| created(signature) > revoked)
            .filter(verifies)
    });
    direct.chain(users).max_by_key(|signature| created(signature))
}

/// The newest valid statement of the primary key that this subkey signs for it, and which the
/// subkey confirms (RFC 9580, 5.2.1.9).
fn newest_subkey_binding<'a>(
    certificate: &SignedPublicKey,
    copies: &[&'a SignedPublicSubKey],
) -> Result<&'a Signature, Refusal> {
    let primary = &certificate.primary_key;
    let of_type = |wanted: SignatureType| {
        copies
            .iter()
            .flat_map(|copy| copy.signatures.iter().map(|signature| (&copy.key, signature)))
            .filter(move |(_, signature)| signature.typ() == Some(wanted))
            .filter(|(key, signature)| signature.verify_subkey_binding(primary, *key).is_ok())
    };
    if of_type(SignatureType::SubkeyRevocation).next().is_some() {
        return Err(Refusal::Revoked);
    }
    let (key, binding) = of_type(SignatureType::SubkeyBinding)
        .filter(|(_, signature)| is_strong(signature))
        .max_by_key(|(_, signature)| created(signature))
        .ok_or(Refusal::Unbound)?;
    if !binding.key_flags().sign() {
        return Err(Refusal::NotForSigning);
    }
    let confirmed = binding.embedded_signature().is_some_and(|back| {
        is_strong(back) && back.verify_primary_key_binding(key, primary).is_ok()
    });
    if confirmed { Ok(binding) } else { Err(Refusal::Unbound) }
}

fn check_alive(key: &impl KeyDetails, binding: &Signature, at: u64) -> Result<(), Refusal> {
    let born = u64::from(key.created_at().as_secs());
    let expired = lifetime_end(born, binding.key_expiration_time()).is_some_and(|end| at >= end);
    if at < born || expired { Err(Refusal::ExpiredKey) } else { Ok(()) }
}

/// A lifetime of zero is for ever (RFC 9580, 5.2.3.13).
fn lifetime_end(start: u64, lifetime: Option<pgp::types::Duration>) -> Option<u64> {
    lifetime.map(|d| d.as_secs()).filter(|secs| *secs > 0).map(|secs| start + u64::from(secs))
}

fn check_strength(params: &PublicParams) -> Result<(), Refusal> {
    match params {
        PublicParams::RSA(rsa) if rsa.write_len() >= RSA_2048 => Ok(()),
        PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_)
        | PublicParams::ECDSA(_) => Ok(()),
        _ => Err(Refusal::WeakKey),
    }
}

fn is_strong(signature: &Signature) -> bool {
    matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    )
}

fn created(signature: &Signature) -> Option<u64> {
    signature.created().map(|time| u64::from(time.as_secs()))
}

fn made_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        let id = key.legacy_key_id();
        return signature.issuer_key_id().into_iter().any(|issuer| *issuer == id);
    }
    let fingerprint = key.fingerprint();
    fingerprints.into_iter().any(|issuer| *issuer == fingerprint)
}

fn has_key_flags(signature: &Signature) -> bool {
    signature.config().is_some_and(|config| {
        config.hashed_subpackets().any(|packet| matches!(packet.data, SubpacketData::KeyFlags(_)))
    })
}

/// The modulus of 2048 bits, an exponent of at least one byte, and the length before each.
const RSA_2048: usize = 2 + 256 + 2 + 1;
