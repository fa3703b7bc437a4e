//! The schema of the launch record, held against records by a validator that knows just the words
//! that the schema uses.

use std::collections::BTreeSet;

use counterfoil::launch::Cpu;
use counterfoil::launch::profile::PROFILES;
use counterfoil::launch::record::{SCHEMA, VERSION};
use serde_json::{Value, json};

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn record() -> Value {
    serde_json::from_slice(&crate::record::record().to_json().unwrap()).unwrap()
}

#[test]
fn a_record_is_valid() {
    let schema = schema();
    validate(&schema, &schema, &record(), "record").unwrap();
    assert_eq!(schema["properties"]["version"]["const"], VERSION);
    let mut plain = record();
    for (pointer, value) in [
        ("/firmware/reset_eip", json!(null)),
        ("/firmware/hash_table", json!(null)),
        ("/firmware/sections/0/gpa", json!("0x0")),
        ("/boot/initrd", json!(null)),
        ("/boot/cmdline", json!("two\nlines")),
        ("/policy", json!("0xffffffffffffffff")),
    ] {
        *plain.pointer_mut(pointer).unwrap() = value;
    }
    validate(&schema, &schema, &plain, "record").unwrap();
}

/// Every name that a record can hold, and no other.
#[test]
fn the_names_are_those_of_the_reader() {
    let schema = schema();
    let profiles: Vec<&str> = PROFILES.iter().map(|profile| profile.id).collect();
    assert_eq!(schema["properties"]["profile"]["enum"], json!(profiles));
    let listed = schema["$defs"]["model"]["enum"].as_array().unwrap();
    let listed: BTreeSet<&str> = listed.iter().map(|name| name.as_str().unwrap()).collect();
    let names: Vec<String> = Cpu::names().collect();
    assert_eq!(listed, names.iter().map(String::as_str).collect());
}

/// Each leaf of a record, spoiled, is noticed; each field, missing or added, too.
#[test]
fn what_is_no_record_is_not() {
    let schema = schema();
    let refused = |record: &Value, what: &str| {
        assert!(validate(&schema, &schema, record, "record").is_err(), "{what}");
    };
    for pointer in pointers(&record()) {
        let mut spoiled = record();
        *spoiled.pointer_mut(&pointer).unwrap() = json!(-1.5);
        refused(&spoiled, &pointer);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let mut spoiled = record();
        if let Some(fields) = spoiled.pointer_mut(parent).and_then(Value::as_object_mut)
            && !pointer.starts_with("/writers/cpio")
        {
            fields.remove(key);
            refused(&spoiled, &pointer);
        }
        let mut spoiled = record();
        if let Some(fields) = spoiled.pointer_mut(&pointer).and_then(Value::as_object_mut) {
            fields.insert("extra".to_owned(), json!(1));
            refused(&spoiled, &pointer);
        }
    }
    for (what, spoiled) in spoiled() {
        refused(&spoiled, &what);
    }
}

/// Records with one wrong value, and what that is.
fn spoiled() -> Vec<(String, Value)> {
    let cpu = record()["cpus"][0].clone();
    let digest = record()["digests"][0].clone();
    let values = [
        ("/version", json!(2)),
        ("/profile", json!("bochs")),
        ("/policy", json!("0x030000")),
        ("/policy", json!("0x1ffffffffffffffff")),
        ("/firmware/sha256", json!("4EC9")),
        ("/firmware/size", json!(0)),
        ("/firmware/size", json!(4097)),
        ("/firmware/reset_eip", json!("0x0")),
        ("/firmware/reset_eip", json!("0x080b004")),
        ("/firmware/reset_eip", json!("0x123456789")),
        ("/firmware/hash_table/gpa", json!("0x0")),
        ("/firmware/hash_table/size", json!("0x100000000")),
        ("/firmware/sections", json!([])),
        ("/firmware/sections/0/kind", json!("tdx-mem")),
        ("/firmware/sections/0/gpa", json!("0x800001")),
        ("/firmware/sections/0/gpa", json!("0x100000000")),
        ("/firmware/sections/0/size", json!("0x0")),
        ("/firmware/sections/0/size", json!("0x800")),
        ("/boot/cmdline", json!("console=ttyS0\0")),
        ("/vcpus/0", json!(0)),
        ("/vcpus", json!([])),
        ("/vcpus", json!([1, 1])),
        ("/cpus", json!([cpu, cpu])),
        ("/cpus/0/model", json!("EPYC-Milano")),
        ("/cpus/0/signature", json!(10_489_617)),
        ("/cpus/0/signature", json!("0x100000000")),
        ("/sev_features", json!(["0x1", "0x1"])),
        ("/digests", json!([digest, digest])),
        ("/digests/0/cpu", json!("EPYC-Milano")),
    ];
    let spoil = |(pointer, value): (&str, Value)| {
        let mut record = record();
        let what = format!("{pointer}: {value}");
        *record.pointer_mut(pointer).unwrap() = value;
        (what, record)
    };
    values.into_iter().map(spoil).collect()
}

/// A published validator agrees, where Python has one.
#[test]
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn a_published_validator_agrees() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    std::fs::write(path("schema"), SCHEMA).unwrap();
    std::fs::write(path("record"), crate::record::record().to_json().unwrap()).unwrap();
    std::fs::write(path("spoiled"), serde_json::to_vec(&spoiled()).unwrap()).unwrap();
    let script = "import json, sys\ntry:\n import jsonschema\nexcept ImportError:\n sys.exit(77)\n\
                  s = json.load(open('schema'))\njsonschema.Draft202012Validator.check_schema(s)\n\
                  v = jsonschema.Draft202012Validator(s)\nv.validate(json.load(open('record')))\n\
                  for what, spoiled in json.load(open('spoiled')):\n assert not v.is_valid(spoiled), what\n";
    let mut python = std::process::Command::new("python3");
    match python.args(["-c", script]).current_dir(place.path()).output() {
        Ok(output) if output.status.code() != Some(77) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        _ => eprintln!("skipped: no Python with the package `jsonschema`"),
    }
}

/// Every place in a document but its root.
fn pointers(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    let below = |(key, value): (String, &Value)| {
        let deeper = pointers(value).into_iter().map(|rest| format!("/{key}{rest}"));
        std::iter::once(format!("/{key}")).chain(deeper).collect::<Vec<_>>()
    };
    children.into_iter().flat_map(below).collect()
}

/// A word that is not known here is a mistake in the schema or in this validator.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (word, rule) in schema.as_object().unwrap() {
        let number = |rule: &Value| rule.as_f64().unwrap();
        let length = || value.as_array().map_or(0, Vec::len) as f64;
        let holds = match word.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap());
                return validate(root, target.unwrap(), value, at);
            }
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_u64() || value.is_i64(),
                "null" => value.is_null(),
                other => panic!("type {other}"),
            },
            "minimum" => value.as_f64().is_some_and(|value| value >= number(rule)),
            "maximum" => value.as_f64().is_some_and(|value| value <= number(rule)),
            "multipleOf" => value.as_f64().is_some_and(|value| value % number(rule) == 0.0),
            "minItems" => length() >= number(rule),
            "uniqueItems" => {
                let items = value.as_array().unwrap();
                items.iter().enumerate().all(|(at, item)| !items[..at].contains(item))
            }
            "pattern" => value.as_str().is_some_and(|text| matches(rule.as_str().unwrap(), text)),
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|key| value.get(key.as_str().unwrap()).is_some()),
            "properties" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        validate(root, rule, value, &format!("{at}.{key}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = |key: &String| schema["properties"].get(key).is_some();
                for (key, value) in value.as_object().unwrap().iter().filter(|(key, _)| !known(key))
                {
                    match rule {
                        Value::Bool(allowed) if !allowed => {
                            return Err(format!("{at}.{key}: added"));
                        }
                        rule => validate(root, rule, value, &format!("{at}.{key}"))?,
                    }
                }
                true
            }
            "items" => {
                for (index, value) in value.as_array().unwrap().iter().enumerate() {
                    validate(root, rule, value, &format!("{at}[{index}]"))?;
                }
                true
            }
            "anyOf" => {
                let rules = rule.as_array().unwrap();
                rules.iter().any(|rule| validate(root, rule, value, at).is_ok())
            }
            other => panic!("{at}: unknown word {other}"),
        };
        if !holds {
            return Err(format!("{at}: {word} does not hold"));
        }
    }
    Ok(())
}

/// The patterns of the schema.
fn matches(pattern: &str, text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    // Up to so many digits, of which the first is not zero, and then these.
    let hex = |text: &str, most: usize, end: &str| {
        let text = text.strip_prefix("0x").and_then(|text| text.strip_suffix(end));
        text.is_some_and(|text| {
            digits(text) && (1..=most).contains(&text.len()) && !text.starts_with('0')
        })
    };
    match pattern {
        "^[0-9a-f]{64}$" => text.len() == 64 && digits(text),
        "^[0-9a-f]{96}$" => text.len() == 96 && digits(text),
        "^0x(0|[1-9a-f][0-9a-f]{0,15})$" => text == "0x0" || hex(text, 16, ""),
        "^0x(0|[1-9a-f][0-9a-f]{0,7})$" => text == "0x0" || hex(text, 8, ""),
        "^0x[1-9a-f][0-9a-f]{0,7}$" => hex(text, 8, ""),
        "^0x(0|[1-9a-f][0-9a-f]{0,4}000)$" => text == "0x0" || hex(text, 5, "000"),
        "^0x[1-9a-f][0-9a-f]{0,4}000$" => hex(text, 5, "000"),
        "^[^\\u0000]*$" => !text.contains('\0'),
        "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$" => {
            let parts: Vec<usize> = text.split('-').map(str::len).collect();
            parts == [8, 4, 4, 4, 12] && text.split('-').all(digits)
        }
        other => panic!("unknown pattern {other}"),
    }
}
