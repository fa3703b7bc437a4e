//! What a firmware does beside the measured kernel, in images of which every module is known.

use counterfoil::launch::Record;
use counterfoil::launch::findings::{
    self, Finding, NEVER_RESUMES, NO_OPTION_ROMS, NOTHING_ELSE_BOOTS, RULES, State,
};

use crate::image::{Image, driver, file, guid, packed, section, utf16};
use crate::record;

const BDS: &str = "6d33944a-ec75-4855-a54d-809c75241f6c";
const FAT: &str = "961578fe-b6b7-44c3-af35-6bc705cd2b1f";
const BUS: &str = "93b80004-9fb3-11d4-9a3a-0090273fc14d";
const SEC: &str = "df1ccef6-f301-4a63-9661-fc6030dcc880";

const DRIVER_BINDING: &str = "18a031ab-b443-4d1a-a5c0-0c09261e9f71";
const DISK_IO: &str = "ce345171-ba0b-11d2-8e4f-00a0c969723b";
const FILE_SYSTEM: &str = "964e5b22-6459-11d2-8e39-00a0c969723b";
const LOAD_FILE: &str = "56ec3091-954c-11d2-8e3f-00a0c969723b";
const PXE: &str = "03c4e603-ac28-11d3-9a2d-0090273fc14d";
const HTTP: &str = "bdc8e6af-d9bc-4379-a72a-e0c4e75dae1c";
const ROOT_BRIDGE: &str = "2f707ebb-4a1a-11d4-9a38-0090273fc14d";
const OVERRIDE: &str = "3bc1b285-8a15-4a82-aabf-4d7d13fb3265";

/// `mov ecx, 0x71; call …; cmp al, 0xfe`, from a real security core.
const ASKS: &[u8] = &[0xb9, 0x71, 0, 0, 0, 0xe8, 0x68, 0xee, 0xff, 0xff, 0x3c, 0xfe, 0x0f, 0x84];

fn body(parts: &[&[u8]]) -> Vec<u8> {
    [b"MZ-body-", parts.concat().as_slice()].concat()
}

fn guids(names: &[&str]) -> Vec<u8> {
    names.iter().flat_map(|name| *guid(name).bytes()).collect()
}

fn bds(more: &[u8]) -> Vec<u8> {
    driver(BDS, "BdsDxe", &body(&[&utf16(r"\EFI\BOOT\BOOTX64.EFI"), more]))
}

fn fat() -> Vec<u8> {
    driver(FAT, "Fat", &guids(&[DRIVER_BINDING, DISK_IO, FILE_SYSTEM]))
}

fn bus(more: &[u8]) -> Vec<u8> {
    driver(BUS, "PciBusDxe", &body(&[&guids(&[ROOT_BRIDGE, OVERRIDE]), more]))
}

fn core(code: &[u8]) -> Vec<u8> {
    file(SEC, 3, &[section(0x12, &body(&[code])), section(0x15, &utf16("SecMain"))])
}

fn examine(files: &[Vec<u8>]) -> Vec<Finding> {
    let mut image = Image::amdsev();
    image.volumes = packed(files);
    findings::examine(&image.bytes()).unwrap().1
}

fn state(files: &[Vec<u8>], code: &str) -> State {
    let found = examine(files).into_iter().find(|finding| finding.rule.code == code);
    found.unwrap().state
}

/// The names of the modules that keep it open.
fn open(files: &[Vec<u8>], code: &str) -> Vec<String> {
    match state(files, code) {
        State::Open { found } => found.iter().map(|evidence| evidence.label()).collect(),
        other => panic!("{code}: {other:?}"),
    }
}

#[test]
fn every_rule_is_answered_in_order() {
    let codes: Vec<_> = examine(&[bds(&[])]).iter().map(|finding| finding.rule.code).collect();
    let rules: Vec<_> = RULES.iter().map(|rule| rule.code).collect();
    assert_eq!(codes, rules);
    assert_eq!(
        rules,
        ["boot-fallback", "option-roms", "s3-resume", "verifier-stops", "page-validation"]
    );
    assert!(rules.iter().all(|code| findings::rule(code).unwrap().code == *code));
    assert!(findings::rule("fw-cfg-blobs").is_none());
}

#[test]
fn boot_loaders_of_the_host() {
    let code = "boot-fallback";
    assert_eq!(open(&[bds(&[]), fat()], code), ["BdsDxe", "Fat"]);
    let network = |protocol| driver(FAT, "Net", &guids(&[DRIVER_BINDING, LOAD_FILE, protocol]));
    assert_eq!(open(&[bds(&[]), network(PXE)], code), ["BdsDxe", "Net"]);
    assert_eq!(open(&[bds(&[]), network(HTTP)], code), ["BdsDxe", "Net"]);
    // A boot manager that goes by another name is one all the same.
    assert_eq!(open(&[fat()], code), ["Fat"]);
    // Nothing to start from.
    assert_eq!(state(&[bds(&[])], code), State::Absent);
    let consumer = driver(FAT, "Other", &guids(&[DISK_IO, FILE_SYSTEM]));
    assert_eq!(state(&[bds(&[]), consumer], code), State::Absent);
    // A manager that stops, whatever drivers there are; and one that stops beside one that does not.
    let mark = NOTHING_ELSE_BOOTS.bytes();
    let State::Marked { by } = state(&[bds(mark), fat()], code) else { panic!() };
    assert_eq!(by.label(), "BdsDxe");
    assert_eq!(open(&[bds(mark), bds(&[]), fat()], code), ["BdsDxe", "Fat"]);
    let elsewhere = driver(FAT, "Mark", &body(&[mark]));
    assert_eq!(open(&[bds(&[]), fat(), elsewhere], code), ["BdsDxe", "Fat"]);
}

#[test]
fn programs_in_devices() {
    let code = "option-roms";
    assert_eq!(open(&[bus(&[])], code), ["PciBusDxe"]);
    assert_eq!(state(&[bds(&[])], code), State::Absent);
    // A shell knows every protocol's name, and is no driver.
    let shell = file(BUS, 9, &[section(0x10, &guids(&[ROOT_BRIDGE, OVERRIDE]))]);
    assert_eq!(state(&[shell], code), State::Absent);
    assert!(matches!(state(&[bus(NO_OPTION_ROMS.bytes())], code), State::Marked { .. }));
    assert_eq!(open(&[bus(NEVER_RESUMES.bytes())], code), ["PciBusDxe"]);
}

#[test]
fn waking_in_place_of_booting() {
    let code = "s3-resume";
    assert_eq!(open(&[core(ASKS)], code), ["SecMain"]);
    assert!(matches!(state(&[core(NEVER_RESUMES.bytes())], code), State::Marked { .. }));
    // Neither is there, or no core at all: the bytes do not tell.
    assert_eq!(state(&[core(b"other code")], code), State::NotVisible);
    assert_eq!(state(&[bds(&[])], code), State::NotVisible);
    assert_eq!(state(&[core(NEVER_RESUMES.bytes()), core(b"other")], code), State::NotVisible);
    assert_eq!(open(&[core(NEVER_RESUMES.bytes()), core(ASKS)], code), ["SecMain"]);
    // Far from each other the two mean nothing.
    let far = [&ASKS[..5], &[0x90; 40], &ASKS[5..]].concat();
    assert_eq!(state(&[core(&far)], code), State::NotVisible);
    // At the very end of the module.
    assert_eq!(open(&[core(&ASKS[..12])], code), ["SecMain"]);
    assert_eq!(state(&[core(&ASKS[..5])], code), State::NotVisible);
}

#[test]
fn what_the_file_does_not_show_is_called_so() {
    let files = [bds(&[]), fat(), bus(&[]), core(ASKS)];
    assert_eq!(state(&files, "page-validation"), State::NotVisible);
    assert_eq!(state(&files, "verifier-stops"), State::NotVisible);
    let json = serde_json::to_value(examine(&files)).unwrap();
    let states: Vec<_> = json.as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["open", "open", "open", "not-visible", "not-visible"]);
    assert_eq!(json[0]["code"], "boot-fallback");
    assert_eq!(json[2]["found"][0]["name"], "SecMain");
}

/// A record holds what is open under its code, and one without them holds as before.
#[test]
fn a_record_says_what_is_open() {
    let findings = examine(&[bds(&[]), fat(), bus(NO_OPTION_ROMS.bytes()), core(ASKS)]);
    let plain = record::record();
    let record = plain.clone().with_findings(&findings);
    let whats: Vec<_> = record.unmeasured.iter().map(|item| item.what.as_str()).collect();
    assert_eq!(whats[..4], ["fw-cfg-blobs", "boot-fallback", "s3-resume", "acpi-tables"]);
    assert_eq!(Record::from_json(&record.to_json().unwrap()).unwrap(), record);
    assert_eq!(Record::from_json(&plain.to_json().unwrap()).unwrap(), plain);
    assert_eq!(record.digests, plain.digests);
}
