//! The page: HTML, style, script and the verifier in one file, which forbids itself every connection.

use std::num::NonZeroU64;

use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha256};

const HTML: &str = include_str!("verify.html");
const STYLE: &str = include_str!("verify.css");
const SCRIPT: &str = include_str!("verify.js");

/// The page around the verifier.
pub(crate) fn page(wasm: &[u8]) -> Result<String, String> {
    // Within the script, so that the one hash stands for both; and compressed, which is a third of it. A page
    // is made once and loaded often: the search for short DEFLATE takes seconds and saves a twentieth.
    let search = zopfli::Options { iteration_count: NonZeroU64::MIN, ..Default::default() };
    let mut deflated = Vec::new();
    zopfli::compress(search, zopfli::Format::Deflate, wasm, &mut deflated)
        .map_err(|error| format!("cannot compress the verifier: {error}"))?;
    let script = fill(SCRIPT, "@WASM@", &Base64::encode_string(&deflated))?;
    let ends = |text: &str| text.contains("</") || text.contains("<!--");
    if ends(&script) || ends(STYLE) {
        return Err("what is put into the page would end its element".to_owned());
    }
    let page = fill(HTML, "@POLICY@", &policy(&script, STYLE))?;
    let page = fill(&page, "@STYLE@", STYLE)?;
    fill(&page, "@SCRIPT@", &script)
}

/// The Content-Security-Policy. The script and the style are these and no others; nothing is fetched, sent
/// or framed; and text never becomes markup.
fn policy(script: &str, style: &str) -> String {
    [
        "default-src 'none'",
        &format!("script-src {} 'wasm-unsafe-eval'", source(script)),
        &format!("style-src {}", source(style)),
        "img-src data:",
        "connect-src 'none'",
        "form-action 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    .join("; ")
}

/// A script or style by its hash (CSP level 3, section 2.3.1).
fn source(text: &str) -> String {
    format!("'sha256-{}'", Base64::encode_string(&Sha256::digest(text)))
}

fn fill(template: &str, mark: &str, text: &str) -> Result<String, String> {
    match template.split(mark).collect::<Vec<_>>()[..] {
        [before, behind] => Ok([before, text, behind].concat()),
        _ => Err(format!("`{mark}` is not in the template once")),
    }
}
