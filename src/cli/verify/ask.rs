//! Asking a guest's agent for evidence.

use std::time::Duration;

use crate::cli::ui::Ui;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::http::{Client, Settings};
use crate::input::progress::Progress as _;
use crate::report::describe::hex;

/// The largest answer: a report and a certificate table of 64 kB, as base64.
const MAX: u64 = 256 * 1024;

/// 32 bytes that nobody can have known before.
pub(in crate::cli) fn nonce() -> Result<[u8; 32]> {
    let mut nonce = [0; 32];
    let count = rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())
        .map_err(std::io::Error::from)
        .context(Kind::Environment, || "the system gives no random bytes".to_owned())?;
    match count == nonce.len() {
        true => Ok(nonce),
        false => Err(Error::new(Kind::Environment, "the system gives too few random bytes")),
    }
}

/// What the agent at `url` answers.
pub(super) fn evidence(url: &str, nonce: &[u8; 32], ui: &Ui) -> Result<Vec<u8>> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let message = format!("`{url}` is no url of a guest's agent");
        return Err(Error::new(Kind::Usage, message).hint("it begins with http:// or https://"));
    }
    let base = url.trim_end_matches('/');
    let base = base.strip_suffix("/evidence").unwrap_or(base);
    let url = format!("{base}/evidence?nonce={}", hex(nonce));
    ui.detail(&format!("asking for `{url}`"));
    let settings =
        Settings { attempts: 1, patience: Duration::from_secs(20), ..Settings::default() };
    let client = Client::new(&settings).context(Kind::Environment, || base.to_owned())?;
    client.get_small(&url, MAX).map_err(|error| {
        Error::caused(Kind::Environment, format!("no evidence from `{base}`"), error).hint(
            "see that the guest runs, that its manifest has `evidence: {http: PORT}`, and that the port is reachable; \
             status 503 means that the guest's kernel has no attestation provider",
        )
    })
}
