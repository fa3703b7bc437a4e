//! The schema of the launch record, held against records by a validator that knows just the words
//! that the schema uses.

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
    for (pointer, value) in [
        ("/version", json!(2)),
        ("/policy", json!("0x030000")),
        ("/policy", json!("0x1ffffffffffffffff")),
        ("/firmware/sha256", json!("4EC9")),
        ("/firmware/sections/0/kind", json!("tdx-mem")),
        ("/vcpus/0", json!(0)),
        ("/vcpus", json!([])),
        ("/cpus/0/signature", json!(10_489_617)),
    ] {
        let mut spoiled = record();
        *spoiled.pointer_mut(pointer).unwrap() = value;
        refused(&spoiled, pointer);
    }
}

/// A published validator agrees, where Python has one.
#[test]
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn a_published_validator_agrees() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    std::fs::write(path("schema"), SCHEMA).unwrap();
    std::fs::write(path("record"), crate::record::record().to_json().unwrap()).unwrap();
    let script = "import json, sys\ntry:\n import jsonschema\nexcept ImportError:\n sys.exit(77)\n\
                  s = json.load(open('schema'))\njsonschema.Draft202012Validator.check_schema(s)\n\
                  jsonschema.Draft202012Validator(s).validate(json.load(open('record')))\n";
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
            "minItems" => length() >= number(rule),
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
    match pattern {
        "^[0-9a-f]{64}$" => text.len() == 64 && digits(text),
        "^[0-9a-f]{96}$" => text.len() == 96 && digits(text),
        "^0x(0|[1-9a-f][0-9a-f]{0,15})$" => text.strip_prefix("0x").is_some_and(|text| {
            digits(text)
                && (text == "0" || (1..=16).contains(&text.len()) && !text.starts_with('0'))
        }),
        "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$" => {
            let parts: Vec<usize> = text.split('-').map(str::len).collect();
            parts == [8, 4, 4, 4, 12] && text.split('-').all(digits)
        }
        other => panic!("unknown pattern {other}"),
    }
}
