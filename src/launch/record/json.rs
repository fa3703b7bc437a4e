//! The record as bytes: JSON with two spaces of indentation, fields in the order of the types, a
//! newline at the end. Only these bytes are a record.

use serde::Deserialize;

use super::{Address, Record, RecordError, VERSION};
use crate::launch::EPOCH;

impl Record {
    /// The canonical bytes.
    pub fn to_json(&self) -> Result<Vec<u8>, RecordError> {
        let mut json = serde_json::to_vec_pretty(self).map_err(RecordError::Json)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Reads a record and checks that it holds together: form, layout, parameters, and every
    /// digest, computed anew.
    pub fn from_json(json: &[u8]) -> Result<Self, RecordError> {
        // The version first, so that a later record is named as such and not as malformed.
        let Versioned { version } = serde_json::from_slice(json).map_err(RecordError::Json)?;
        if version != u64::from(VERSION) {
            return Err(RecordError::Version { found: version, expected: VERSION });
        }
        let record: Self = serde_json::from_slice(json).map_err(RecordError::Json)?;
        // This also finds a key given twice, of which readers in other languages take either.
        let canonical = record.clone().normal()?.to_json()?;
        if canonical != json {
            let lines = |json: &[u8]| json.split(|byte| *byte == b'\n').map(Vec::from).collect();
            let (expected, found): (Vec<Vec<u8>>, Vec<_>) = (lines(&canonical), lines(json));
            let same = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
            return Err(RecordError::NotCanonical { line: same + 1 });
        }
        let epoch = record.writers.get("launch").cloned().unwrap_or_default();
        if epoch != EPOCH {
            return Err(RecordError::Epoch { found: epoch, expected: EPOCH });
        }
        record.check_claims()?;
        record.check()?;
        Ok(record)
    }

    /// Lists in their order, and nothing where an image has an address of zero.
    fn normal(mut self) -> Result<Self, RecordError> {
        let (set, layout) = (self.set()?, self.firmware.layout()?);
        self.vcpus = set.vcpus().to_vec();
        self.sev_features = set.features().to_vec();
        self.firmware.reset_eip = layout.reset_eip().map(Address);
        self.firmware.hash_table = layout.hash_table();
        Ok(self)
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}
