//! The roots that chains must end in: AMD's, by their keys. A root certificate that comes along with a
//! report proves nothing, since whoever forges a chain forges its root too; it is only held against these.

use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;

use super::certificate::Certificate;
use super::product::Product;

/// The keys of the AMD Root Keys (ARK), as the certificates at
/// `https://kdsintf.amd.com/vcek/v1/{Milan,Genoa,Turin}/cert_chain` have them. VLEKs have the same roots.
///
/// | | SHA-256 of the certificate | SHA-256 of the key (SubjectPublicKeyInfo in DER) | serial number |
/// |---|---|---|---|
/// | Milan | 69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd | 9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9 | 01 00 00 |
/// | Genoa | 4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1 | 429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831 | 02 00 00 |
/// | Turin | 1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a | 4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08 | 03 00 00 |
///
/// The serial numbers are what a list of revoked certificates names a root by that did not come along.
const AMD: [(Product, &str, [u8; 3]); 3] = [
    (Product::Milan, include_str!("roots/milan.pem"), [1, 0, 0]),
    (Product::Genoa, include_str!("roots/genoa.pem"), [2, 0, 0]),
    (Product::Turin, include_str!("roots/turin.pem"), [3, 0, 0]),
];

/// Whom a verifier believes.
#[derive(Clone, Debug)]
pub struct Roots {
    keys: Vec<(Product, RsaPublicKey)>,
    amd: bool,
    /// What whoever asked has given in the place of what is built in.
    given: Option<Certificate>,
}

impl Roots {
    /// AMD.
    pub fn amd() -> Self {
        let key = |(product, pem, _): (Product, &str, [u8; 3])| {
            // The keys are constants of this file; a test reads all of them.
            Some((product, RsaPublicKey::from_public_key_pem(pem).ok()?))
        };
        Self { keys: AMD.into_iter().filter_map(key).collect(), amd: true, given: None }
    }

    /// Somebody who is not AMD, for every product: to try a verifier without a processor. What is accepted
    /// then says so. Who gives one of AMD's own has AMD's, for the product that it is of.
    pub fn other(root: &Certificate) -> Option<Self> {
        let key = root.rsa_key()?;
        let given = Some(root.clone());
        let mut keys = Self::amd().keys;
        keys.retain(|(_, pinned)| same(pinned, &key));
        if !keys.is_empty() {
            return Some(Self { keys, amd: true, given });
        }
        let keys = Product::ALL.into_iter().map(|product| (product, key.clone())).collect();
        Some(Self { keys, amd: false, given })
    }

    /// Whether these are AMD's.
    pub fn is_amd(&self) -> bool {
        self.amd
    }

    /// The certificate that was given in the place of what is built in.
    pub(super) fn given(&self) -> Option<&Certificate> {
        self.given.as_ref()
    }

    /// The serial number of the certificate of a product's root.
    pub fn serial(&self, product: Product) -> Option<&[u8]> {
        let built_in =
            || AMD.iter().find(|(of, ..)| *of == product).map(|(.., serial)| &serial[..]);
        self.given.as_ref().map(Certificate::serial).or_else(built_in)
    }

    /// Whether a certificate is for the key of one of these roots or of AMD's, or is signed by one: whatever it
    /// calls itself, it is not somebody else's.
    pub fn concerns(&self, certificate: &Certificate) -> bool {
        let own = certificate.rsa_key();
        let amd = Self::amd();
        let mut keys = self.keys.iter().chain(&amd.keys).map(|(_, key)| key);
        keys.any(|key| {
            own.as_ref().is_some_and(|own| same(own, key)) || certificate.is_signed_by(key)
        })
    }

    /// The root's key of a product.
    pub(super) fn of(&self, product: Product) -> Option<&RsaPublicKey> {
        self.keys.iter().find(|(of, _)| *of == product).map(|(_, key)| key)
    }

    /// Whether a certificate is for the root's key of a product.
    pub fn is_pinned(&self, product: Product, certificate: &Certificate) -> bool {
        let key = certificate.rsa_key();
        self.of(product).zip(key.as_ref()).is_some_and(|(pinned, key)| same(pinned, key))
    }
}

/// Whether two keys are one.
pub(super) fn same(one: &RsaPublicKey, other: &RsaPublicKey) -> bool {
    one.n() == other.n() && one.e() == other.e()
}

/// The common name of a product's root.
pub(super) fn name(product: Product) -> String {
    format!("ARK-{product}")
}

#[cfg(test)]
mod tests {
    use rsa::pkcs8::EncodePublicKey as _;

    use super::*;
    use crate::digest::Sha256;

    /// The table above, which is what somebody else would compare.
    #[test]
    fn the_keys_are_those_of_the_table() {
        let roots = Roots::amd();
        for (product, digest) in [
            (Product::Milan, "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9"),
            (Product::Genoa, "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831"),
            (Product::Turin, "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08"),
        ] {
            let der = roots.of(product).unwrap().to_public_key_der().unwrap();
            assert_eq!(Sha256::of(der.as_bytes()).to_string(), digest, "{product}");
        }
        assert!(roots.is_amd());
    }
}
