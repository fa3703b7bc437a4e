//! What people have a report in. Each form is known by what it begins with; the report and whatever came
//! along with it are taken out, and nothing is believed.
//!
//! | | |
//! |---|---|
//! | the report | 1184 bytes; also `outblob` of configfs-tsm |
//! | extended report | the report with a certificate table behind it (GHCB specification, section 4.1.8.1) |
//! | MSG_REPORT_RSP | a header of 32 bytes, the report, and zeros: what SNP_GET_REPORT returns (SNP ABI, table "MSG_REPORT_RSP Message Structure") |
//! | HCL | Azure's `HCLA` header of 32 bytes, the report, and the runtime data that its REPORT_DATA is the hash of |
//! | JSON | our agent's answer, or an object with the report as text under one of [`KEYS`] |
//! | hex, base64, gzip | any of these |
//!
//! configfs-tsm's `outblob` and `auxblob` as one object of JSON are the report and its certificate table.

use std::fmt;
use std::io::{self, Read as _};

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding as _};
use flate2::bufread::GzDecoder;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::collateral::{Collateral, MOST_IN_EVIDENCE};
use super::fields::SIZE;
use super::reason::Reason;
use crate::digest::Sha256;

/// The most that is looked at. The largest form in use, Azure's as JSON with certificates, has some 20 kB.
pub const LARGEST: usize = 1 << 20;

/// The fewest digits that are taken for a report as text.
const SHORTEST: usize = 256;

/// How many containers may be within one another.
const DEEPEST: u32 = 8;

/// Where others put the report in JSON, first to last.
pub const KEYS: [&str; 7] =
    ["report", "attestation_report", "hcl_report", "quote", "body", "outblob", "evidence"];

/// A report and what came along with it.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The bytes of the report.
    pub report: Vec<u8>,
    /// Certificates and lists that came along.
    pub collateral: Collateral,
    /// What the report was in, from the outside in.
    pub forms: Vec<Form>,
    /// What the agent says that its REPORT_DATA is made from.
    pub claim: Option<Claim>,
    /// Azure's runtime data.
    pub runtime_data: Option<Vec<u8>>,
}

/// What our agent says of the REPORT_DATA that it asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claim {
    /// REPORT_DATA.
    pub report_data: [u8; 64],
    /// The nonce that it is made from, unless the workload chose it whole.
    pub nonce: Option<[u8; 32]>,
    /// What the workload has bound.
    pub binding: Option<[u8; 32]>,
}

/// What a report can be in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Nothing.
    Report,
    /// With a certificate table behind it.
    ExtendedReport,
    /// What SNP_GET_REPORT returns.
    Response,
    /// Azure's.
    Hcl,
    /// Our agent's answer.
    Agent,
    /// JSON of somebody else's.
    Json,
    /// Hex digits.
    Hex,
    /// Base64, of either alphabet.
    Base64,
    /// RFC 1952.
    Gzip,
}

/// Bytes that no report was found in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{says}")]
pub struct WrapperError {
    /// The reason that this is.
    pub reason: Reason,
    /// Where and what.
    pub says: String,
}

impl Evidence {
    /// Takes the report out of what it came in.
    ///
    /// # Errors
    /// When none is found, or what is around it is damaged.
    pub fn open(bytes: &[u8]) -> Result<Self, WrapperError> {
        let mut forms = Vec::new();
        let mut held;
        let mut bytes = bytes;
        let mut tables = Vec::new();
        loop {
            if bytes.len() > LARGEST {
                let says = format!("{} bytes, of at most {LARGEST}", bytes.len());
                return Err(error(Reason::WrapperTooLarge, says));
            }
            if forms.len() as u32 == DEEPEST {
                return Err(error(
                    Reason::WrapperTooDeep,
                    format!("more than {DEEPEST} containers"),
                ));
            }
            match step(bytes, &mut forms, &mut tables)? {
                Step::Inner(inner) => held = inner,
                Step::Done(mut evidence) => {
                    for table in &tables {
                        evidence.add_table(table, "`auxblob`")?;
                    }
                    return Ok(Self { forms, ..*evidence });
                }
            }
            bytes = &held;
        }
    }

    fn bare(report: &[u8]) -> Self {
        Self {
            report: report.to_vec(),
            collateral: Collateral::default(),
            forms: Vec::new(),
            claim: None,
            runtime_data: None,
        }
    }
}

enum Step {
    /// There was something in it.
    Inner(Vec<u8>),
    /// It was the report.
    Done(Box<Evidence>),
}

fn done(evidence: Evidence) -> Result<Step, WrapperError> {
    Ok(Step::Done(Box::new(evidence)))
}

/// One container less; a certificate table that stood beside the next one is put into `tables`.
fn step(
    bytes: &[u8],
    forms: &mut Vec<Form>,
    tables: &mut Vec<Vec<u8>>,
) -> Result<Step, WrapperError> {
    if bytes.starts_with(&GZIP) {
        forms.push(Form::Gzip);
        return Ok(Step::Inner(gunzip(bytes)?));
    }
    if bytes.starts_with(b"HCLA") {
        forms.push(Form::Hcl);
        return done(hcl(bytes)?);
    }
    if let Some(response) = response(bytes)? {
        forms.push(Form::Response);
        return done(Evidence::bare(response));
    }
    if let Some(text) = text(bytes) {
        if text.starts_with('{') {
            return json(text, forms, tables);
        }
        let compact: String = text.split_ascii_whitespace().collect();
        // A word is base64 too. A report has keys and digests, and no packing makes it as short as this.
        if compact.len() >= SHORTEST {
            if let Some(inner) = unhex(&compact) {
                forms.push(Form::Hex);
                return Ok(Step::Inner(inner));
            }
            if let Some(inner) = unbase64(&compact) {
                forms.push(Form::Base64);
                return Ok(Step::Inner(inner));
            }
        }
        let says = "text that is neither hex, base64 nor JSON of a report".to_owned();
        return Err(error(Reason::WrapperUnknown, says));
    }
    // A report begins with its version, which is a small number.
    match bytes {
        // Of its size is nothing else: one of a version that there is not is told by that.
        [_, _, 0, 0, ..] if bytes.len() == SIZE && bytes.iter().any(|byte| *byte != 0) => {
            forms.push(Form::Report);
            done(Evidence::bare(bytes))
        }
        [1..=255, 0, 0, 0, ..] if bytes.len() >= SIZE => {
            let (report, rest) = bytes.split_at(SIZE);
            let mut evidence = Evidence::bare(report);
            if rest.iter().all(|byte| *byte == 0) {
                forms.push(Form::Report);
                return done(evidence);
            }
            forms.push(Form::ExtendedReport);
            let entries = table(rest).ok_or_else(|| {
                let says =
                    format!("{} bytes behind the report are no certificate table", rest.len());
                error(Reason::WrapperCertificates, says)
            })?;
            for der in &entries {
                evidence.add(der)?;
            }
            done(evidence)
        }
        [2..=5, 0, 0, 0, ..] => {
            let says = format!("{} bytes of a report's {SIZE}", bytes.len());
            Err(error(Reason::WrapperTruncated, says))
        }
        _ => {
            let says = format!("{} bytes that are no report, and hold none", bytes.len());
            Err(error(Reason::WrapperUnknown, says))
        }
    }
}

impl Evidence {
    fn add(&mut self, der: &[u8]) -> Result<(), WrapperError> {
        let damaged = |says: String| error(Reason::WrapperCertificates, says);
        let found = Collateral::read_plain(der).map_err(|error| damaged(error.to_string()))?;
        self.collateral.merge(&found).map_err(|error| damaged(error.to_string()))?;
        let most = self.collateral.certificates.len().max(self.collateral.crls.len());
        match most > MOST_IN_EVIDENCE {
            true => Err(damaged(format!("more than {MOST_IN_EVIDENCE} certificates or lists"))),
            false => Ok(()),
        }
    }

    /// Takes what is in a certificate table; nothing but zeros is none.
    fn add_table(&mut self, bytes: &[u8], named: &str) -> Result<(), WrapperError> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let says = || format!("{named} is no certificate table");
        let entries = table(bytes).ok_or_else(|| error(Reason::WrapperCertificates, says()))?;
        entries.iter().try_for_each(|der| self.add(der))
    }
}

/// RFC 1952, section 2.3.1.
const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, WrapperError> {
    let mut inner = Vec::new();
    let mut rest = bytes;
    // All members, and nothing behind them: nobody else may find another report in it.
    while !rest.is_empty() {
        if !rest.starts_with(&GZIP) {
            let says = format!("{} bytes stand behind the gzip", rest.len());
            return Err(error(Reason::WrapperDamaged, says));
        }
        let mut member = GzDecoder::new(rest);
        let most = (LARGEST + 1 - inner.len()) as u64;
        member.by_ref().take(most).read_to_end(&mut inner).map_err(|cause| {
            let reason = match cause.kind() {
                io::ErrorKind::UnexpectedEof => Reason::WrapperTruncated,
                _ => Reason::WrapperDamaged,
            };
            error(reason, format!("gzip: {cause}"))
        })?;
        if inner.len() > LARGEST {
            let says = format!("unpacks to more than {LARGEST} bytes");
            return Err(error(Reason::WrapperTooLarge, says));
        }
        rest = member.into_inner();
    }
    Ok(inner)
}

/// What is in hex, base64 or gzip, or in one of those in gzip.
pub(super) fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let bytes = match bytes.starts_with(&GZIP) {
        true => gunzip(bytes).ok()?,
        false => bytes.to_vec(),
    };
    let Some(text) = text(&bytes) else { return Some(bytes) };
    let compact: String = text.split_ascii_whitespace().collect();
    unhex(&compact).or_else(|| unbase64(&compact)).or(Some(bytes))
}

/// MSG_REPORT_RSP: STATUS, REPORT_SIZE, 24 reserved bytes, the report; then what is left of the buffer.
fn response(bytes: &[u8]) -> Result<Option<&[u8]>, WrapperError> {
    let Some((header, rest)) = bytes.split_first_chunk::<32>() else { return Ok(None) };
    let (status, size, reserved) = (word(header, 0), word(header, 4), &header[8..]);
    if reserved.iter().any(|byte| *byte != 0) || size as usize != SIZE && size != 0 {
        return Ok(None);
    }
    // SNP ABI, table "MSG_REPORT_RSP Message Structure": 0 is success, 16h invalid parameters, 27h an invalid
    // selection of the key.
    if status != 0 && size == 0 && rest.iter().all(|byte| *byte == 0) {
        return Err(error(
            Reason::WrapperStatus,
            format!("the firmware answered with status {status:#x}"),
        ));
    }
    if size == 0 {
        return Ok(None);
    }
    match (status, rest.get(..SIZE)) {
        (0, Some(report)) if rest[SIZE..].iter().all(|byte| *byte == 0) => Ok(Some(report)),
        (0, Some(_)) => {
            Err(error(Reason::WrapperUnknown, "something stands behind the response".to_owned()))
        }
        (0, None) => {
            let says = format!("{} bytes behind the response's header, not {SIZE}", rest.len());
            Err(error(Reason::WrapperTruncated, says))
        }
        (status, _) => Err(error(
            Reason::WrapperStatus,
            format!("the firmware answered with status {status:#x}"),
        )),
    }
}

/// Azure's report, from the vTPM's NV index 0x01400001 ("Guest attestation for confidential virtual
/// machines design", section "Attestation report format"): a header of 32 bytes, the hardware's report,
/// and IGVM_REQUEST_DATA, in which the runtime data stand.
fn hcl(bytes: &[u8]) -> Result<Evidence, WrapperError> {
    let short =
        || error(Reason::WrapperTruncated, format!("{} bytes of an Azure report", bytes.len()));
    let report = bytes.get(32..32 + SIZE).ok_or_else(short)?;
    let mut evidence = Evidence::bare(report);
    let request = &bytes[32 + SIZE..];
    let Some((header, rest)) = request.split_first_chunk::<20>() else {
        return if request.is_empty() { Ok(evidence) } else { Err(short()) };
    };
    // Data size, version, report type, hash type of REPORT_DATA, size of the runtime data.
    let (kind, hash, size) = (word(header, 8), word(header, 12), word(header, 16));
    if kind != HCL_SNP {
        return Err(error(Reason::HclType, format!("report type {kind}; SEV-SNP is {HCL_SNP}")));
    }
    let data = rest.get(..size as usize).ok_or_else(short)?;
    let bound = hash == HCL_SHA256 && report.get(0x50..0x70) == Some(&Sha256::of(data).0[..]);
    if !bound {
        let says = match hash {
            HCL_SHA256 => format!("the SHA-256 of the runtime data is {}", Sha256::of(data)),
            hash => format!("the hash is of type {hash}; SHA-256 is {HCL_SHA256}"),
        };
        return Err(error(Reason::HclRuntimeData, says));
    }
    evidence.runtime_data = Some(data.to_vec());
    Ok(evidence)
}

/// IGVM_REQUEST_DATA: report type of SEV-SNP.
const HCL_SNP: u32 = 2;

/// IGVM_REQUEST_DATA: REPORT_DATA begins with the SHA-256 of the runtime data.
const HCL_SHA256: u32 = 1;

fn json(
    text: &str,
    forms: &mut Vec<Form>,
    tables: &mut Vec<Vec<u8>>,
) -> Result<Step, WrapperError> {
    let wrong = |says: String| error(Reason::WrapperJson, says);
    let Strict(value) = serde_json::from_str(text).map_err(|cause| wrong(cause.to_string()))?;
    if let (Some(code), Some(message)) = (string(&value, "error"), string(&value, "message")) {
        return Err(wrong(format!("the agent had no report to give: {message} ({code})")));
    }
    if value.get("provider").is_some() && value.get("report_data").is_some() {
        forms.push(Form::Agent);
        return done(agent(&value)?);
    }
    forms.push(Form::Json);
    let mut found = KEYS.iter().filter_map(|key| Some((*key, value.get(*key)?)));
    let (key, inner) =
        found.next().ok_or_else(|| wrong(format!("none of the keys {}", KEYS.join(", "))))?;
    if let Some((other, _)) = found.next() {
        return Err(wrong(format!(
            "`{key}` and `{other}`: which of them is the report is not said"
        )));
    }
    // What configfs-tsm has beside the report.
    match value.get("auxblob").filter(|_| key == "outblob") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => {
            let compact: String = text.split_ascii_whitespace().collect();
            let table = unhex(&compact).or_else(|| unbase64(&compact));
            tables.push(
                table.ok_or_else(|| wrong("`auxblob` is neither hex nor base64".to_owned()))?,
            );
        }
        Some(Value::Array(list)) => {
            let says = || wrong("`auxblob` is a list of something else than bytes".to_owned());
            tables.push(octets(list).ok_or_else(says)?);
        }
        Some(_) => return Err(wrong("`auxblob` is neither text nor bytes".to_owned())),
    }
    match inner {
        // An object within: once more.
        Value::Object(_) => Ok(Step::Inner(inner.to_string().into_bytes())),
        Value::String(text) => Ok(Step::Inner(text.clone().into_bytes())),
        Value::Array(list) => octets(list)
            .map(Step::Inner)
            .ok_or_else(|| wrong(format!("`{key}` is a list of something else than bytes"))),
        _ => Err(wrong(format!("`{key}` is neither text, bytes nor an object"))),
    }
}

/// A list of numbers that are bytes.
fn octets(list: &[Value]) -> Option<Vec<u8>> {
    list.iter().map(|value| u8::try_from(value.as_u64()?).ok()).collect()
}

/// Our agent's answer: see `initrd/src/evidence.rs`.
fn agent(value: &Value) -> Result<Evidence, WrapperError> {
    let wrong = |key: &str, what: &str| error(Reason::WrapperJson, format!("`{key}` is no {what}"));
    if value.get("version").and_then(Value::as_u64) != Some(1) {
        return Err(wrong("version", "version that is known (1)"));
    }
    let blob = |key: &str| {
        let text = string(value, key).ok_or_else(|| wrong(key, "text"))?;
        Base64::decode_vec(text).map_err(|_| wrong(key, "base64"))
    };
    let report = blob("report")?;
    // The kernel hands over whatever the firmware wrote, which may be followed by zeros.
    let (report, rest) = report.split_at_checked(SIZE).ok_or_else(|| {
        error(Reason::WrapperTruncated, format!("{} bytes of a report's {SIZE}", report.len()))
    })?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(wrong("report", "report alone"));
    }
    let mut evidence = Evidence::bare(report);
    evidence.add_table(&blob("certificates")?, "`certificates`")?;
    let hash = |key: &str| match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            bytes(text).map(Some).ok_or_else(|| wrong(key, "32 bytes in hex"))
        }
        Some(_) => Err(wrong(key, "text")),
    };
    let report_data = string(value, "report_data").and_then(bytes::<64>);
    let report_data = report_data.ok_or_else(|| wrong("report_data", "64 bytes in hex"))?;
    evidence.claim = Some(Claim { report_data, nonce: hash("nonce")?, binding: hash("binding")? });
    Ok(evidence)
}

/// The entries of a certificate table that are certificates or lists: GUID, offset, length, until a GUID of
/// zeros; offsets are from the table's start. Operators and libraries put other things there too, which are
/// passed over. None if it is no such table.
pub(super) fn table(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    let mut count = 0;
    for at in (0..).step_by(24) {
        let entry: &[u8; 24] = bytes.get(at..)?.first_chunk()?;
        let (guid, place) = entry.split_first_chunk::<16>()?;
        if *guid == [0; 16] {
            return (count > 0).then_some(entries);
        }
        count += 1;
        if count > MOST_IN_EVIDENCE {
            return None;
        }
        let (offset, length) = (word(place, 0) as usize, word(place, 4) as usize);
        // An entry stands behind at least itself and the end of the table, and is something.
        if length == 0 || offset < 48 {
            return None;
        }
        let entry = bytes.get(offset..offset.checked_add(length)?)?;
        if GUIDS.contains(&u128::from_be_bytes(*guid)) {
            entries.push(entry.to_vec());
        }
    }
    None
}

/// GHCB specification, table 12; in the order in which their text is written.
const GUIDS: [u128; 5] = [
    0xc0b406a4_a803_4952_9743_3fb6014cd0ae, // ARK
    0x4ab7b379_bbac_4fe4_a02f_05aef327c782, // ASK
    0x63da758d_e664_4564_adc5_f4b93be8accd, // VCEK
    0xa8074bc2_a25a_483e_aae6_39c045a0b8a1, // VLEK
    0x92f81bc3_5811_4d3d_97ff_d19f88dc67ea, // CRL
];

/// JSON in which no key is given twice: readers in other languages take either.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strictly).map(Self)
    }
}

struct Strictly;

impl<'de> Visitor<'de> for Strictly {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Strict(value) = map.next_value()?;
            if object.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("key `{key}` is there twice")));
            }
        }
        Ok(Value::Object(object))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    let text =
        std::str::from_utf8(bytes).ok()?.trim_matches([' ', '\t', '\r', '\n', '\0', '\u{feff}']);
    let printable = |char: char| !char.is_control() || char.is_ascii_whitespace();
    (!text.is_empty() && text.chars().all(printable)).then_some(text)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let standard = Base64::decode_vec(text).or_else(|_| Base64Unpadded::decode_vec(text));
    let url = || Base64Url::decode_vec(text).or_else(|_| Base64UrlUnpadded::decode_vec(text));
    standard.or_else(|_| url()).ok()
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex(text)?.try_into().ok()
}

fn string<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// The little-endian number at a constant offset within.
fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |word| u32::from_le_bytes(*word))
}

fn error(reason: Reason, says: String) -> WrapperError {
    WrapperError { reason, says }
}
