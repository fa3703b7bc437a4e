//! `id-block`: say, in a form that the AMD firmware enforces, which launch a guest must be.

mod files;
mod shown;
mod signing;
mod source;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::measure::parameters::number;
use crate::cli::ui::{Ui, quoted};
use crate::error::{Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::launch::features::Policy;
use crate::launch::id_block::{AuthError, Id, IdAuth, IdBlock as Block};
use shown::Shown;
use signing::Signing;
use source::Source;

const EXAMPLES: &str = "\
Examples:
  counterfoil id-block releases/llama --vcpus 4 --cpu EPYC-v4 --keyless
  counterfoil id-block --record launch.json --vcpus 4 --cpu EPYC-v4 --svn 3 --key id.pem
  counterfoil id-block --digest 3f57f22e...39ee8967f --policy 0x30000 --key id.pem \\
      --author-key author.pem --output launch
  counterfoil id-block releases/llama --verify launch     hold what is there against the release

With a key that does not leave its device:
  counterfoil id-block releases/llama --vcpus 4 --cpu EPYC-v4
  openssl dgst -sha384 -sign key.pem -out id-block.der id-block.bin
  counterfoil id-block releases/llama --vcpus 4 --cpu EPYC-v4 \\
      --signature id-block.der --public-key key.pub.pem

For old firmware, which starts no guest with an ID block and without an author key, add one:
  openssl dgst -sha384 -sign author.pem -out id-key.der id-key.bin
  ... --author-signature id-key.der --author-public-key author.pub.pem";

/// Make the ID block of a launch, and what authenticates it.
///
/// Launched with them, a guest starts only if it has this launch digest and this policy, and its
/// reports carry its IDs, its security version, and the digests of the keys that signed. A host may
/// leave them out or bring its own, and ID_KEY_DIGEST then differs: compare it.
///
/// `id-block.bin` is what is signed, `id-key.bin` the ID key, whose SHA-384 is ID_KEY_DIGEST, and
/// `id-auth.bin` keys and signatures: the same bytes at every run, since signatures made here take
/// no random number. Without a way to sign, only `id-block.bin` is written, for a key elsewhere. A
/// file that is there with other bytes is never replaced.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct IdBlock {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    contents: Contents,
    #[command(flatten)]
    signing: Signing,
    /// Where the files are written; the directory is made.
    #[arg(long, value_name = "DIR", default_value = ".", help_heading = "Files")]
    output: PathBuf,
    /// Check `id-block.bin` and `id-auth.bin` of this directory: that the signatures hold, and that
    /// the ID block says what else is given here, such as a release or --policy. Write nothing.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["Signing", "output"],
        help_heading = "Files"
    )]
    verify: Option<PathBuf>,
}

/// What an ID block says besides the launch digest.
#[derive(Debug, Args)]
#[command(next_help_heading = "Contents")]
struct Contents {
    /// The guest policy; by default that of the record, or with --digest QEMU's, 0x30000.
    #[arg(long, value_name = "BITS", value_parser = number::<u64>)]
    policy: Option<u64>,
    /// The security version of the guest (GUEST_SVN); 0 by default.
    #[arg(long, value_name = "N", value_parser = number::<u32>)]
    svn: Option<u32>,
    /// FAMILY_ID, as 32 hex digits; zeros by default.
    #[arg(long, value_name = "HEX", value_parser = id)]
    family_id: Option<Id>,
    /// IMAGE_ID, as 32 hex digits; zeros by default.
    #[arg(long, value_name = "HEX", value_parser = id)]
    image_id: Option<Id>,
}

impl IdBlock {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        match &self.verify {
            Some(directory) => self.check(ui, directory),
            None => self.make(ui),
        }
    }

    fn make(&self, ui: &Ui) -> Result<()> {
        let signers = self.signing.signers()?;
        let launches = self.source.read()?.ok_or_else(|| {
            Error::new(Kind::Usage, "no launch to make an ID block of")
                .hint("name a release, or `--record FILE`, or `--digest HEX`")
        })?;
        let (launch_digest, launch) = launches.one()?;
        launches.warn_about(ui);
        let contents = &self.contents;
        let block = Block {
            launch_digest,
            family_id: contents.family_id.unwrap_or_default(),
            image_id: contents.image_id.unwrap_or_default(),
            guest_svn: contents.svn.unwrap_or_default(),
            policy: contents.policy(launches.policy(), ui)?,
        };
        let auth = signers.map(|signers| signers.sign(&block)).transpose()?;
        let paths = files::write(&self.output, &block, auth.as_ref())?;
        Shown { block: &block, auth: auth.as_ref(), launch, files: &paths }.print(ui)?;
        if auth.is_none() {
            ui.note(
                "nothing is signed yet: sign the 96 bytes, and give this command again with \
                 `--signature id-block.der --public-key key.pub.pem`",
            );
            let path = self.output.join(files::ID_BLOCK).display().to_string();
            let sign = "openssl dgst -sha384 -sign key.pem -out id-block.der";
            ui.next(&format!("{sign} {}", quoted(&path)));
        }
        Ok(())
    }

    fn check(&self, ui: &Ui, directory: &Path) -> Result<()> {
        let launches = self.source.read()?;
        let paths = [files::ID_BLOCK, files::ID_AUTH].map(|name| directory.join(name));
        let [block_path, auth_path] = &paths;
        let block = Block::parse(&files::read(block_path)?).map_err(|error| {
            let message = format!("`{}` is not an ID block", block_path.display());
            Error::caused(Kind::Malformed, message, error)
        })?;
        let auth = IdAuth::parse(&files::read(auth_path)?, &block).map_err(|error| {
            let (path, block) = (auth_path.display(), block_path.display());
            match error {
                AuthError::Format(error) => {
                    let message = format!("`{path}` is not ID authentication information");
                    Error::caused(Kind::Malformed, message, error)
                }
                error => {
                    let message = format!("`{path}` does not authenticate `{block}`");
                    Error::caused(Kind::Rejected, message, error)
                }
            }
        })?;
        if let Some(launches) = &launches {
            launches.contain(&block.launch_digest)?;
            launches.warn_about(ui);
        }
        self.contents.compare(&block, launches.as_ref().and_then(source::Launches::policy))?;
        check_policy(block.policy, ui)?;
        Shown { block: &block, auth: Some(&auth), launch: None, files: &paths }.print(ui)?;
        ui.done(match launches {
            Some(_) => "the signatures hold, and the ID block is for what was given",
            None => "the signatures hold; give a release, a record or a digest to compare, too",
        });
        Ok(())
    }
}

impl Contents {
    /// The policy for a launch whose record has `recorded`.
    fn policy(&self, recorded: Option<Policy>, ui: &Ui) -> Result<Policy> {
        let given = self.policy.map(Policy);
        let policy = match (given, recorded) {
            (Some(given), Some(recorded)) if given != recorded => {
                ui.warn(&format!(
                    "the launch record has policy {recorded}: launched with that, the guest does \
                     not start with this ID block, whose policy is {given}"
                ));
                given
            }
            (Some(policy), _) | (None, Some(policy)) => policy,
            (None, None) => {
                let policy = Policy::QEMU_DEFAULT;
                ui.note(&format!(
                    "policy {policy}, which is QEMU's default, since a digest has none: the guest \
                     must be launched with it; `--policy` sets another"
                ));
                policy
            }
        };
        check_policy(policy, ui)?;
        Ok(policy)
    }

    /// Holds an ID block against what is given here or recorded.
    fn compare(&self, block: &Block, recorded: Option<Policy>) -> Result<()> {
        let policy = self.policy.map(Policy).or(recorded);
        let differs = |what: &str, found: String, expected: Option<String>| match expected {
            Some(expected) if expected != found => {
                let message = format!("ID block has {what} {found}: expected {expected}");
                Err(Error::new(Kind::Rejected, message))
            }
            _ => Ok(()),
        };
        differs("policy", block.policy.to_string(), policy.map(|it| it.to_string()))?;
        differs("GUEST_SVN", block.guest_svn.to_string(), self.svn.map(|it| it.to_string()))?;
        let text = |id: Option<Id>| id.map(|id| id.to_string());
        differs("FAMILY_ID", block.family_id.to_string(), text(self.family_id))?;
        differs("IMAGE_ID", block.image_id.to_string(), text(self.image_id))
    }
}

/// Refuses what no guest starts with, and says what gives the guest away.
fn check_policy(policy: Policy, ui: &Ui) -> Result<()> {
    policy.check().map_err(|error| {
        let message = "no guest starts with this ID block";
        Error::caused(Kind::Rejected, message, error).hint("QEMU's default policy is 0x30000")
    })?;
    if policy.debug() {
        ui.warn("policy allows DEBUG: the host may read and change all memory of the guest");
    }
    if policy.migrate_ma() {
        ui.warn(
            "policy allows MIGRATE_MA: a migration agent that the host binds to the guest may have \
             all memory of the guest",
        );
    }
    Ok(())
}

fn id(text: &str) -> Result<Id, String> {
    text.to_ascii_lowercase().parse().map_err(|_| "expected 32 hex digits".to_owned())
}
