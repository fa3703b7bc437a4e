//! Who asks a registry, and how: what `push` and `pull` have in common.

use std::fs;
use std::io::Read as _;

use clap::Args;

use crate::cli::settings::Settings;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::http::{self, Client};
use crate::oci::challenge::Credentials;
use crate::oci::client::Repository;
use crate::oci::reference::Reference;

/// The most that a password has.
const LONGEST: u64 = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct Access {
    /// Who asks; by default whoever Docker's config.json names.
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Read the password or token from standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Speak to the registry without encryption, as is done anyway to one on this machine.
    #[arg(long)]
    plain_http: bool,
    /// Go through this proxy.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
}

impl Access {
    /// The repository, as whoever asks.
    pub(super) fn repository(
        &self,
        reference: &Reference,
        settings: &Settings,
    ) -> Result<Repository> {
        let client =
            Client::new(&http::Settings { proxy: self.proxy.clone(), ..Default::default() })
                .context(Kind::Usage, || "`--proxy`".to_owned())?;
        let credentials = match &self.username {
            Some(username) => {
                Some(Credentials { username: username.clone(), password: password()? })
            }
            None => settings.docker_config().and_then(|path| {
                // A file that is not there, or not for us, says nothing.
                Credentials::in_docker_config(&fs::read(path).ok()?, &reference.host)
            }),
        };
        Ok(Repository::new(client, reference, self.plain_http, credentials))
    }
}

fn password() -> Result<String> {
    let mut text = String::new();
    let failed = || "failed reading the password from standard input".to_owned();
    std::io::stdin().take(LONGEST).read_to_string(&mut text).context(Kind::Environment, failed)?;
    let password = text.trim_end_matches(['\r', '\n']);
    match password.is_empty() {
        false => Ok(password.to_owned()),
        true => Err(Error::new(Kind::Usage, "there is no password on standard input")),
    }
}
