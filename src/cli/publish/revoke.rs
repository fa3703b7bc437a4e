//! `publish --revoke`: a statement that says only which others are not to be believed any more.

use serde_json::json;

use super::said::statement_digest;
use super::{Publish, payload};
use crate::cli::logging::publish;
use crate::cli::settings::Settings;
use crate::cli::signing::Signer;
use crate::cli::ui::Ui;
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::log::submit::Submission;
use crate::report::Time;
use crate::statement::launch::Revoked;
use crate::statement::revocation::Revocation;

impl Publish {
    pub(super) fn revocation(&self, signer: &Signer, ui: &Ui, settings: &Settings) -> Result<()> {
        let log = self.log.open()?;
        let reason = self.reason.clone().unwrap_or_default();
        let revoked = |file: &String| {
            Ok(Revoked { statement: statement_digest(file)?, reason: reason.clone() })
        };
        let revokes = self.revoke.iter().map(revoked).collect::<Result<Vec<_>>>()?;
        let issued = Time::from_unix(settings.now());
        let payload = payload(&Revocation { issued, revokes }.statement())?;
        let digest = Sha256::of(&payload);
        let envelope = signer.sign(payload)?;
        let submission = Submission { envelope, key: signer.public(), about: Vec::new() };
        let published = publish(log.as_ref(), vec![(submission, self.output.clone())])?;
        let Some((bundled, files)) = published.first() else {
            return Err(Error::new(Kind::Environment, "nothing was signed"));
        };
        let index = bundled.proof.as_ref().map(|proof| proof.index);
        if ui.is_json() {
            return ui.json(&json!({
                "statement": digest,
                "index": index,
                "files": files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            }));
        }
        ui.answer(&format!("{digest}"))?;
        ui.done(&format!("revocation in `{}`", self.output.display()));
        if let Some(index) = index {
            ui.note(&format!("it is entry {index} of the log"));
        }
        ui.next("copy it to `statements/` of each release that it is about, and have the log's witnesses see it");
        Ok(())
    }
}
