//! An SSH agent (draft-ietf-sshm-ssh-agent) with one Ed25519 key: where torchwood's witness has its key.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use base64ct::{Base64Unpadded, Encoding as _};
use counterfoil::digest::Sha256;
use ed25519_dalek::{Signer as _, SigningKey};

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Serves at `socket` as long as the test runs, and says the key's fingerprint.
pub fn start(socket: &Path, key: SigningKey) -> String {
    let blob = [string(b"ssh-ed25519"), string(key.verifying_key().as_bytes())].concat();
    let fingerprint = format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::of(&blob).0));
    let listener = UnixListener::bind(socket).unwrap();
    let shared = Arc::new((key, blob));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            // Ends with the connection.
            std::thread::spawn(move || while answer(&stream, &shared.0, &shared.1).is_some() {});
        }
    });
    fingerprint
}

fn answer(mut stream: &UnixStream, key: &SigningKey, blob: &[u8]) -> Option<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message).ok()?;
    let answer = match message.split_first()? {
        (&REQUEST_IDENTITIES, _) => {
            [vec![IDENTITIES_ANSWER], 1u32.to_be_bytes().to_vec(), string(blob), string(b"")]
                .concat()
        }
        (&SIGN_REQUEST, rest) => {
            let (_, rest) = take(rest)?;
            let (data, _) = take(rest)?;
            let signature = key.sign(data).to_bytes();
            let signature = [string(b"ssh-ed25519"), string(&signature)].concat();
            [vec![SIGN_RESPONSE], string(&signature)].concat()
        }
        _ => vec![FAILURE],
    };
    stream.write_all(&string(&answer)).ok()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    rest.split_at_checked(u32::from_be_bytes(length.try_into().ok()?) as usize)
}
