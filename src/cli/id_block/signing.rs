//! Who signs: keys and signatures as files.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::id_block::files::read;
use crate::error::{Error, Kind, Result};
use crate::launch::id_block::{
    AuthError, IdAuth, IdBlock, KeyError, PrivateKey, PublicKey, Signature, Signer,
};

#[derive(Debug, Args)]
#[command(next_help_heading = "Signatures")]
pub(super) struct Signing {
    /// Sign with this private key: P-384, in PEM (PKCS #8 or SEC 1), not encrypted.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keyless", "signature"])]
    key: Option<PathBuf>,
    /// Sign without a key: the public key is computed from the ID block, so that anyone can make
    /// the same files, and ID_KEY_DIGEST stands for all that the ID block says.
    #[arg(long, conflicts_with = "signature")]
    keyless: bool,
    /// A signature of id-block.bin that was made elsewhere, in DER.
    #[arg(long, value_name = "FILE", requires = "public_key")]
    signature: Option<PathBuf>,
    /// The key that made --signature, in PEM.
    #[arg(long, value_name = "FILE", requires = "signature")]
    public_key: Option<PathBuf>,
    /// Sign the ID key with this private key.
    #[arg(long, value_name = "FILE", conflicts_with = "author_signature")]
    author_key: Option<PathBuf>,
    /// A signature of id-key.bin that was made elsewhere, in DER.
    #[arg(long, value_name = "FILE", requires = "author_public_key")]
    author_signature: Option<PathBuf>,
    /// The key that made --author-signature, in PEM.
    #[arg(long, value_name = "FILE", requires = "author_signature")]
    author_public_key: Option<PathBuf>,
}

/// Who signs the ID block, and who signs the ID key.
pub(super) struct Signers {
    id: Signer,
    author: Option<Signer>,
}

impl Signing {
    /// `None` if the signature is yet to be made elsewhere.
    pub(super) fn signers(&self) -> Result<Option<Signers>> {
        let id = match self.keyless {
            true => Some(Signer::Keyless),
            false => signer(&self.key, &self.signature, &self.public_key)?,
        };
        let author = signer(&self.author_key, &self.author_signature, &self.author_public_key)?;
        match (id, author) {
            (Some(id), author) => Ok(Some(Signers { id, author })),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let message = "an author key signs the ID key, and there is no ID key";
                let hint = "name it with `--key`, `--keyless`, or `--signature` and `--public-key`";
                Err(Error::new(Kind::Usage, message).hint(hint))
            }
        }
    }
}

impl Signers {
    pub(super) fn sign(&self, block: &IdBlock) -> Result<IdAuth> {
        IdAuth::new(block, &self.id, self.author.as_ref()).map_err(unsigned)
    }
}

/// An ID block that is not authenticated.
fn unsigned(error: AuthError) -> Error {
    let (what, hint) = match error {
        AuthError::Key => (
            "the ID key is not signed by the author key",
            "sign the `id-key.bin` of this ID key, with SHA-384",
        ),
        AuthError::Block | AuthError::Format(_) => (
            "the ID block is not signed by the ID key",
            "sign the `id-block.bin` of these options, with SHA-384: launch, policy, IDs and \
             `--svn` are all in it",
        ),
        AuthError::Unsignable => (
            "there is no signature to make",
            "give another `--key` or `--author-key`, or with `--keyless` another `--svn`",
        ),
    };
    Error::caused(Kind::Rejected, what, error).hint(hint)
}

fn signer(
    key: &Option<PathBuf>,
    signature: &Option<PathBuf>,
    public_key: &Option<PathBuf>,
) -> Result<Option<Signer>> {
    match (key, signature, public_key) {
        (Some(path), ..) => {
            let key = PrivateKey::from_pem(read(path)?).map_err(|error| refused(path, error))?;
            Ok(Some(Signer::Key(key)))
        }
        (None, Some(path), Some(key_path)) => {
            let key = PublicKey::from_pem(&read(key_path)?);
            let key = key.map_err(|error| refused(key_path, error))?;
            let signature = Signature::from_der(&read(path)?).map_err(|error| {
                let message = format!("`{}` is not a signature", path.display());
                let hint = "`openssl dgst -sha384 -sign` writes one";
                Error::caused(Kind::Malformed, message, error).hint(hint)
            })?;
            Ok(Some(Signer::Given { key, signature }))
        }
        _ => Ok(None),
    }
}

/// A key that is not taken.
fn refused(path: &Path, error: KeyError) -> Error {
    let (kind, hint) = match &error {
        KeyError::Algorithm { .. } => (
            Kind::Rejected,
            "the AMD firmware knows no other; `openssl ecparam -name secp384r1 -genkey -noout -out \
             key.pem` makes one",
        ),
        KeyError::Label { expected: "PUBLIC KEY", .. } => {
            (Kind::Rejected, "`openssl pkey -in key.pem -pubout` writes the public half of a key")
        }
        KeyError::Label { .. } => {
            (Kind::Rejected, "to sign elsewhere, give `--signature` and `--public-key`")
        }
        KeyError::Encrypted => (
            Kind::CannotDecide,
            "`openssl pkey -in FILE` decrypts it; or let openssl sign, and give `--signature` and \
             `--public-key`",
        ),
        KeyError::NoBlock(_) => {
            (Kind::Malformed, "`openssl pkey -inform DER -in FILE` makes PEM of DER")
        }
        KeyError::Text(_) | KeyError::Damaged { .. } | KeyError::Numbers(_) => {
            (Kind::Malformed, "`openssl pkey -check -noout -in FILE` says more of a private key")
        }
    };
    Error::caused(kind, format!("`{}` is not a key to use", path.display()), error).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_signed_is_not_signed_wrongly() {
        let said = |error| unsigned(error).to_string();
        assert_eq!(said(AuthError::Unsignable), "there is no signature to make");
        assert!(said(AuthError::Block).starts_with("the ID block is not signed"));
        assert!(said(AuthError::Key).starts_with("the ID key is not signed"));
    }
}
