//! `log key`.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::ui::{Ui, quoted};
use crate::cli::verify::ask;
use crate::error::{Context as _, Error, Kind, Result};
use crate::log::{Algorithm, SignerKey};

const EXAMPLES: &str = "\
Examples:
  counterfoil log key --name log.example --type log --output log.key
  counterfoil log key --name w1.example --type witness-ml-dsa --output w1.key
  counterfoil log key --show log.key                 the verifier key of one that is there";

/// Make the private key of a log or a witness, and print its verifier key.
///
/// The name is what others know the key by. That of a log's key is the log's origin, which never changes; Sigstore's
/// verifiers know only origins that are host names in lower case, such as `log.example`. A file with a key is
/// never replaced.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Key {
    /// The key's name.
    #[arg(long, required_unless_present = "show")]
    name: Option<String>,
    /// What it is for: a log signs with Ed25519, a witness with Ed25519 or with ML-DSA-44.
    #[arg(long = "type", value_enum, required_unless_present = "show")]
    kind: Option<Type>,
    /// Where to put it.
    #[arg(long, short, value_name = "FILE", required_unless_present = "show")]
    output: Option<PathBuf>,
    /// Print the verifier key of the private key in this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "kind", "output"])]
    show: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    Log,
    Witness,
    WitnessMlDsa,
}

impl Key {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let key = match (&self.show, &self.name, self.kind, &self.output) {
            (Some(file), ..) => super::read_signer(file)?,
            (None, Some(name), Some(kind), Some(output)) => new(name, kind, output)?,
            _ => return Err(Error::new(Kind::Usage, "say `--name`, `--type` and `--output`")),
        };
        let verifier = key.verifier();
        if ui.is_json() {
            return ui.json(&json!({
                "name": verifier.name(),
                "type": format!("{:#04x}", verifier.algorithm() as u8),
                "vkey": verifier.to_string(),
            }));
        }
        if let (Some(output), Some(Type::Log)) = (&self.output, self.kind) {
            let file = quoted(&output.display().to_string());
            ui.next(&format!("counterfoil log init LOG --key {file}"));
        }
        ui.answer(&verifier.to_string())
    }
}

fn new(name: &str, kind: Type, output: &Path) -> Result<SignerKey> {
    let algorithm = match kind {
        Type::Log => Algorithm::Ed25519,
        Type::Witness => Algorithm::Ed25519Cosignature,
        Type::WitnessMlDsa => Algorithm::MlDsa44Cosignature,
    };
    if let Some((scheme, rest)) = name.split_once("://") {
        let message = format!("`--name` is an address without a scheme, and not `{scheme}://…`");
        let rest = quoted(rest.trim_end_matches('/'));
        return Err(Error::new(Kind::Usage, message).hint(format!("say `--name {rest}`")));
    }
    // An ML-DSA-44 cosignature has one byte for the length of a name, its own and the log's.
    if name.len() > 255 {
        return Err(Error::new(Kind::Usage, "a name has at most 255 bytes"));
    }
    let key = SignerKey::from_seed(name, algorithm, ask::nonce()?)
        .context(Kind::Usage, || "`--name`".to_owned())?;
    write(output, &format!("{}\n", key.to_text()))?;
    Ok(key)
}

/// Writes a private key to a new file, which is there whole, for its owner alone, and survives a power cut: what
/// it signs will be known by it.
fn write(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let write = || {
        // `tempfile` makes it with mode 0600.
        let mut new = tempfile::Builder::new().prefix(".counterfoil-").tempfile_in(parent)?;
        new.write_all(text.as_bytes())?;
        new.as_file().sync_all()?;
        new.persist_noclobber(path).map_err(|error| error.error)?;
        File::open(parent)?.sync_all()
    };
    write().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let message = format!("`{}` is there already, and a key is never replaced", path.display());
            Error::new(Kind::Usage, message)
                .hint("say another file; `counterfoil log key --show FILE` prints the verifier key of this one")
        }
        _ => Error::caused(Kind::Environment, format!("failed writing `{}`", path.display()), error),
    })
}
