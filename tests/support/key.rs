//! OpenPGP keys made for a test, the same at every run, and what they sign.

use pgp::composed::{
    CleartextSignedMessage, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails, Password, SigningKey, Timestamp};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// When test keys are made, in Unix seconds.
pub const CREATED: u32 = 1_700_000_000;

/// A key with a signing subkey.
pub struct Key {
    secret: SignedSecretKey,
    pub sign_with_subkey: bool,
}

/// How a text is signed.
#[derive(Clone, Copy, Debug)]
pub struct Signing {
    pub hash: HashAlgorithm,
    pub at: u32,
    pub kind: SignatureType,
}

impl Default for Signing {
    fn default() -> Self {
        Self { hash: HashAlgorithm::Sha256, at: CREATED + 1000, kind: SignatureType::Text }
    }
}

impl Key {
    /// The Ed25519 key number `seed`.
    pub fn new(seed: u64) -> Self {
        Self::of_type(seed, KeyType::Ed25519Legacy)
    }

    pub fn of_type(seed: u64, kind: KeyType) -> Self {
        let mut subkey = SubkeyParamsBuilder::default();
        subkey.key_type(kind.clone()).can_sign(true).created_at(Timestamp::from_secs(CREATED));
        let mut params = SecretKeyParamsBuilder::default();
        params
            .key_type(kind)
            .can_certify(true)
            .can_sign(true)
            .created_at(Timestamp::from_secs(CREATED))
            .primary_user_id(format!("Test Archive {seed} <archive@example.org>"))
            .subkey(subkey.build().unwrap());
        let secret = params.build().unwrap().generate(StdRng::seed_from_u64(seed)).unwrap();
        Self { secret, sign_with_subkey: true }
    }

    /// The fingerprint of the primary key, as it is shown.
    pub fn fingerprint(&self) -> String {
        self.secret.fingerprint().as_bytes().iter().map(|byte| format!("{byte:02X}")).collect()
    }

    pub fn primary(&self) -> &pgp::packet::SecretKey {
        &self.secret.primary_key
    }

    pub fn public(&self) -> SignedPublicKey {
        SignedPublicKey::from(self.secret.clone())
    }

    /// The binary keyring.
    pub fn binary(&self) -> Vec<u8> {
        self.public().to_bytes().unwrap()
    }

    /// The armoured keyring.
    pub fn armoured(&self) -> String {
        self.public().to_armored_string(None.into()).unwrap()
    }

    /// The key, with the signatures over it made anew by `change`.
    pub fn with_details(
        &self,
        change: impl FnOnce(&mut SignedPublicKey, &SignedSecretKey),
    ) -> Vec<u8> {
        let mut public = self.public();
        change(&mut public, &self.secret);
        public.to_bytes().unwrap()
    }

    /// `text` in the cleartext framework.
    pub fn clearsign(&self, text: &str) -> String {
        self.clearsign_as(text, Signing::default())
    }

    pub fn clearsign_as(&self, text: &str, signing: Signing) -> String {
        let text = text.trim_end_matches('\n');
        let message = if self.sign_with_subkey {
            let key = &self.secret.secret_subkeys[0].key;
            CleartextSignedMessage::new(text, config(key, signing), key, &Password::empty())
        } else {
            let key = &self.secret.primary_key;
            CleartextSignedMessage::new(text, config(key, signing), key, &Password::empty())
        };
        message.unwrap().to_armored_string(None.into()).unwrap()
    }

    /// A signature over the octets of `text`.
    pub fn detach(&self, text: &[u8]) -> Signature {
        let signing = Signing { kind: SignatureType::Binary, ..Signing::default() };
        let key = &self.secret.secret_subkeys[0].key;
        config(key, signing).sign(key, &Password::empty(), text).unwrap()
    }

    pub fn detach_armoured(&self, text: &[u8]) -> String {
        DetachedSignature::new(self.detach(text)).to_armored_string(None.into()).unwrap()
    }
}

/// A signature with the usual subpackets.
pub fn config(key: &impl SigningKey, signing: Signing) -> SignatureConfig {
    let mut config = SignatureConfig::v4(signing.kind, key.algorithm(), signing.hash);
    let regular = |data| Subpacket::regular(data).unwrap();
    config.hashed_subpackets = vec![
        regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(signing.at))),
        regular(SubpacketData::IssuerFingerprint(key.fingerprint())),
    ];
    config.unhashed_subpackets = vec![regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))];
    config
}
