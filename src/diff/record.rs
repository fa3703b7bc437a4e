//! Two launch records, from what is launched down to the digests.

use serde_json::Value;

use super::{Cause, Diff, cmdline};

/// Parts of a launch whose difference makes others of a record differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The firmware.
    Firmware,
    /// The kernel.
    Kernel,
    /// The initrd.
    Initrd,
    /// The command line.
    Cmdline,
    /// The volumes.
    Volumes,
}

/// What differs of itself, in the order in which a launch is described.
const OWN: [(&str, Cause, &str); 5] = [
    ("profile", Cause::Profile, "VMM profile"),
    ("vcpus", Cause::Vcpus, "vCPU counts"),
    ("cpus", Cause::Cpu, "CPUs"),
    ("sev_features", Cause::Features, "SEV_FEATURES"),
    ("policy", Cause::Policy, "guest policy"),
];

/// Compares records. Parts that were compared by what they are, and not by what a record says of them, are
/// in `known`: what follows from them is not reported again.
pub(super) fn compare(diff: &mut Diff, one: &Value, two: &Value, known: &[Part]) {
    let measured = diff.differences.len();
    for (key, cause, what) in OWN {
        let (value, other) = (shown(key, &one[key]), shown(key, &two[key]));
        diff.value(cause, what, value, other);
    }
    part(diff, known, Part::Firmware, (&one["firmware"], &two["firmware"]));
    let (boot, other) = (&one["boot"], &two["boot"]);
    part(diff, known, Part::Kernel, (&boot["kernel"], &other["kernel"]));
    part(diff, known, Part::Cmdline, (&boot["cmdline"], &other["cmdline"]));
    part(diff, known, Part::Initrd, (&boot["initrd"], &other["initrd"]));
    part(diff, known, Part::Volumes, (&one["volumes"], &two["volumes"]));
    // Digests follow from all that; where nothing else differs, one of the records lies.
    if diff.differences.len() == measured && known.is_empty() {
        for key in ["digest_before_vcpus", "digests"] {
            if one[key] != two[key] {
                let at = first(&one[key], &two[key], key);
                diff.differs(Cause::Record, format!("`{at}`, of the same inputs"));
            }
        }
    }
    if one["writers"] != two["writers"] {
        diff.differs(Cause::Writer, format!("writers {} → {}", one["writers"], two["writers"]));
    }
    if one["tool"] != two["tool"] {
        diff.differs(Cause::Tool, format!("written by {} → {}", one["tool"], two["tool"]));
    }
    for key in ["version", "unmeasured"] {
        if one[key] != two[key] {
            diff.differs(Cause::Record, format!("`{}`", first(&one[key], &two[key], key)));
        }
    }
}

fn part(diff: &mut Diff, known: &[Part], part: Part, (one, two): (&Value, &Value)) {
    if one == two || known.contains(&part) {
        return;
    }
    let (name, cause) = match part {
        Part::Firmware => ("firmware", Cause::Firmware),
        Part::Kernel => ("kernel", Cause::Kernel),
        Part::Initrd => ("initrd", Cause::Content),
        Part::Volumes => ("volumes", Cause::Volume),
        Part::Cmdline => {
            return diff.within("command line", |diff| match (one.as_str(), two.as_str()) {
                (Some(one), Some(two)) => cmdline::compare(diff, one, two),
                _ => diff.differs(Cause::Cmdline, format!("{one} → {two}")),
            });
        }
    };
    diff.within(name, |diff| {
        let at = first(one, two, "");
        let leaf = |value: &Value| match value.pointer(&pointer(&at)) {
            Some(leaf) => leaf.to_string(),
            None => "nothing".to_owned(),
        };
        diff.differs(cause, format!("{at} {} → {}", leaf(one), leaf(two)));
    });
}

/// A value as people read it.
fn shown(key: &str, value: &Value) -> String {
    let one = |value: &Value| match (key, value) {
        ("cpus", Value::Object(cpu)) => match (&cpu["model"], &cpu["signature"]) {
            (Value::String(model), _) => model.clone(),
            (_, signature) => signature.as_str().unwrap_or_default().to_owned(),
        },
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    };
    match value {
        Value::Array(values) => values.iter().map(one).collect::<Vec<_>>().join(", "),
        other => one(other),
    }
}

/// The first place that differs, as `a.b[3]`.
fn first(one: &Value, two: &Value, at: &str) -> String {
    let below = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match (one, two) {
        (Value::Object(one), Value::Object(two)) => {
            let keys = one.keys().chain(two.keys());
            let nothing = &Value::Null;
            for key in keys {
                let (left, right) =
                    (one.get(key).unwrap_or(nothing), two.get(key).unwrap_or(nothing));
                if left != right {
                    return first(left, right, &below(key));
                }
            }
            at.to_owned()
        }
        (Value::Array(one), Value::Array(two)) => {
            match one.iter().zip(two).position(|(one, two)| one != two) {
                Some(index) => first(&one[index], &two[index], &format!("{at}[{index}]")),
                None => format!("{at}[{}]", one.len().min(two.len())),
            }
        }
        _ => at.to_owned(),
    }
}

/// `a.b[3]` as a JSON pointer (RFC 6901); the keys of records need no escapes.
fn pointer(at: &str) -> String {
    match at.is_empty() {
        true => String::new(),
        false => format!(
            "/{}",
            at.replace('[', ".").replace(']', "").replace("..", ".").replace('.', "/")
        ),
    }
}
