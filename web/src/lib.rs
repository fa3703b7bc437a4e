//! The verifier in a browser: files as bytes in, a verdict as JSON out.
//!
//! The page has nothing to decide. It hands over what a person dropped on it and shows what comes back;
//! everything that makes a verdict is counterfoil's own library, compiled without the feature `host`.
#![deny(unsafe_code)]

pub mod abi;
pub mod check;
pub mod message;
pub mod role;

use counterfoil::error::{Result, causes};
use serde_json::{Value, json};

use message::Message;

/// What the files are, as far as they say it themselves: a list of `{"name", "as"}`.
///
/// # Errors
/// When `message` is not of the form that [`message`] describes.
pub fn recognise(message: &[u8]) -> Result<Value> {
    let message = Message::parse(message)?;
    let files = message.files.iter();
    Ok(files.map(|file| json!({ "name": file.name, "as": file.role })).collect())
}

/// The verdict: `{"verdict", "means"}`, the second by the codes of the first's reasons.
///
/// # Errors
/// When `message` is malformed, or one of the files is not what it is taken for.
pub fn verify(message: &[u8]) -> Result<Value> {
    check::verdict(&Message::parse(message)?)
}

/// The fields of the report: a list of `{"field", "offset", "value", "means"}`.
///
/// # Errors
/// When `message` is malformed, or there is no report in it.
pub fn describe(message: &[u8]) -> Result<Value> {
    check::fields(&Message::parse(message)?)
}

/// What the page gets: `{"ok": …}`, or `{"error": {"says", "causes", "advice"}}`.
pub fn answer(result: Result<Value>) -> Value {
    match result {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "error": {
            "says": error.to_string(),
            "causes": causes(&error),
            "advice": error.hints(),
        } }),
    }
}
