//! An ID block as it is printed: the words of a report, for those who will read one.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::id_block::files::{ID_AUTH, ID_BLOCK};
use crate::cli::measure::output::base64;
use crate::cli::ui::{Style, Ui, quoted};
use crate::digest::Sha384;
use crate::error::Result;
use crate::launch::id_block::{IdAuth, IdBlock, PublicKey};

pub(super) struct Shown<'a> {
    pub(super) block: &'a IdBlock,
    pub(super) auth: Option<&'a IdAuth>,
    /// What is known of the launch.
    pub(super) launch: Option<Value>,
    pub(super) files: &'a [PathBuf],
}

impl Shown<'_> {
    pub(super) fn print(&self, ui: &Ui) -> Result<()> {
        if ui.is_json() {
            return ui.json(&self.json());
        }
        let IdBlock { launch_digest, family_id, image_id, guest_svn, policy } = self.block;
        let mut lines = vec![
            ("MEASUREMENT", launch_digest.to_string()),
            ("FAMILY_ID", family_id.to_string()),
            ("IMAGE_ID", image_id.to_string()),
            ("GUEST_SVN", guest_svn.to_string()),
            ("POLICY", format!("{policy} ({})", policy.names().join(", "))),
        ];
        if let Some(auth) = self.auth {
            lines.push(("ID_KEY_DIGEST", auth.id_key().digest().to_string()));
            lines.push(("AUTHOR_KEY_EN", u8::from(auth.author_key().is_some()).to_string()));
            lines.push(("AUTHOR_KEY_DIGEST", author_digest(auth).to_string()));
        }
        let mut text = ui.paint(Style::Bold, "what reports of the guest will carry");
        text.push('\n');
        for (name, value) in lines {
            text += &format!("  {name:17}  {value}\n");
        }
        if let Some(auth) = self.auth {
            let how = match auth.is_keyless(self.block) {
                true => "keyless: ID_KEY_DIGEST stands for all that the ID block says",
                false => "by the ID key",
            };
            text += &format!("{} {how}\n", ui.paint(Style::Bold, "signed"));
        }
        for path in self.files {
            text += &format!("{} {}\n", ui.paint(Style::Bold, "file"), path.display());
        }
        if let Some(options) = self.qemu_from_files() {
            let head = "what to add to QEMU's `-object sev-snp-guest,...`, in a shell";
            text += &format!("{}\n  {options}\n", ui.paint(Style::Bold, head));
        }
        ui.answer(&text)
    }

    fn json(&self) -> Value {
        let IdBlock { launch_digest, family_id, image_id, guest_svn, policy } = self.block;
        let block = base64(&self.block.bytes());
        let auth = self.auth.map(|auth| base64(&auth.bytes()));
        json!({
            "digest": launch_digest,
            "launch": self.launch,
            "family_id": family_id,
            "image_id": image_id,
            "guest_svn": guest_svn,
            "policy": policy,
            "policy_names": policy.names(),
            "signed": self.auth.map(|auth| match auth.is_keyless(self.block) {
                true => "keyless",
                false => "key",
            }),
            "id_key_digest": self.auth.map(|auth| auth.id_key().digest()),
            "author_key_enabled": self.auth.map(|auth| auth.author_key().is_some()),
            "author_key_digest": self.auth.map(author_digest),
            "qemu": auth.as_ref().and_then(|auth| self.qemu(&block, auth)),
            "id_block": block,
            "id_auth": auth,
            "files": self.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        })
    }

    /// QEMU's properties (QEMU 10.2, qapi/qom.json, `SevSnpGuestProperties`).
    fn qemu(&self, block: &str, auth: &str) -> Option<String> {
        let author = if self.auth?.author_key().is_some() { "on" } else { "off" };
        let policy = self.block.policy;
        Some(format!("policy={policy},id-block={block},id-auth={auth},author-key-enabled={author}"))
    }

    /// The same for a shell that reads the files: written out it would fill a screen.
    fn qemu_from_files(&self) -> Option<String> {
        let encoded = |name: &str| {
            let path = self.files.iter().find(|path| path.ends_with(name))?;
            Some(format!("$(base64 -w0 {})", quoted(&path.display().to_string())))
        };
        self.qemu(&encoded(ID_BLOCK)?, &encoded(ID_AUTH)?)
    }
}

/// Without an author key the field of a report is zero.
fn author_digest(auth: &IdAuth) -> Sha384 {
    auth.author_key().map_or(Sha384::ZERO, PublicKey::digest)
}
