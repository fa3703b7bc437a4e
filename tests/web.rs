//! The verifier as a page: that anyone makes the same bytes, that it answers in a real browser, and that
//! nothing leaves it.
#![allow(clippy::disallowed_methods, reason = "cargo tells a test where it is by the environment")]
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail, or say that it did not run"
)]

mod support;
#[path = "support/wasm.rs"]
mod wasm;

#[path = "../web/pack/compile.rs"]
mod compile;
#[path = "../web/pack/page.rs"]
mod page;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use counterfoil::digest::Sha256;
use counterfoil::launch::record::Record;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::server::Server;
use support::webdriver::Browser;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/launch/record.json");

/// The page, made once a test run.
fn page() -> Option<&'static str> {
    static PAGE: OnceLock<Option<String>> = OnceLock::new();
    let make = || {
        let tools = wasm::tools()?;
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("web");
        let cargo = Command::new(env::var_os("CARGO").unwrap());
        let variable = |name: &str| env::var_os(name);
        let wasm = compile::wasm(Path::new(ROOT), &target, cargo, &tools, variable).unwrap();
        Some(page::page(&wasm).unwrap())
    };
    PAGE.get_or_init(make).as_deref()
}

/// A directory with the page, a report and a few other files; a server for it; and a browser at the page.
struct Opened {
    browser: Browser,
    server: Server,
    directory: TempDir,
}

impl Opened {
    fn new() -> Option<Self> {
        let page = page()?;
        let browser = Browser::start()?;
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("verify.html"), page).unwrap();
        let server = Server::start(directory.path());
        browser.open(&server.url("verify.html"));
        Some(Self { browser, server, directory })
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Chooses files as a person does with the file input: one path a line.
    fn choose(&self, paths: &[&Path]) {
        let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        self.browser.keys("#files", &paths.join("\n"));
    }

    /// Has the page show a verdict, in place of one that it was given.
    fn show(&self, verdict: &Value, fields: &Value) {
        self.browser
            .script("show(arguments[0], arguments[1]);", &[verdict.clone(), fields.clone()]);
    }
}

/// A report with nothing in it but a version and a measurement, and so of no machine.
fn report(measurement: &[u8; 48]) -> Vec<u8> {
    let mut report = vec![0; 1184];
    report[0] = 2;
    report[0x90..0xc0].copy_from_slice(measurement);
    report
}

#[test]
fn anyone_makes_the_same_page() {
    let Some(page) = page() else { return };
    assert!(page.len() < 800_000, "{} bytes", page.len());
    for path in [ROOT, "/.cargo", "/registry/", "/home/", "/root/"] {
        assert!(!page.contains(path), "the page has `{path}` in it");
    }

    // Another and deeper directory, and another `CARGO_HOME` that finds the same crates.
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("a/rather/deep/place, with a blank");
    let home = place.path().join("home");
    copy_sources(Path::new(ROOT), &root);
    let cargo_home = elsewhere(&home);
    let variable = |name: &str| match name {
        "CARGO_HOME" => Some(cargo_home.clone().into_os_string()),
        name => env::var_os(name),
    };
    let tools = wasm::tools().unwrap();
    let cargo = Command::new(env::var_os("CARGO").unwrap());
    let wasm = compile::wasm(&root, &root.join("target"), cargo, &tools, variable).unwrap();
    let text = String::from_utf8_lossy(&wasm);
    for path in [place.path().to_str().unwrap(), ROOT, "/registry/", ".cargo"] {
        assert!(!text.contains(path), "the verifier has `{path}` in it");
    }
    let again = page::page(&wasm).unwrap();
    assert_eq!(Sha256::of(again), Sha256::of(page), "another place makes another page");
}

#[test]
fn chosen_files_are_checked() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, .. } = &opened;
    browser.wait("h1", "promised");
    opened.choose(&[Path::new(RECORD)]);
    browser.wait("#list", "record.json");
    assert_eq!(
        browser.script("return document.querySelector('#list select').value;", &[]),
        "launch-record"
    );
    browser.wait("#status", "report is still needed");
    assert_eq!(browser.text("#result"), "");

    let record = Record::from_json(&fs::read(RECORD).unwrap()).unwrap();
    let of_release = opened.write("report.bin", report(&record.digests[0].digest.0));
    opened.choose(&[&of_release]);
    let said = browser.wait("#result", "What was checked");
    assert!(
        said.contains("Rejected") && said.contains("The launch that has this digest"),
        "{said}"
    );
    assert!(said.contains(&record.digests[0].digest.to_string()), "{said}");

    // The same name again replaces the file.
    let of_another = opened.write("report.bin", report(&[7; 48]));
    opened.choose(&[&of_another]);
    let said = browser.wait("#result", "measurement-unknown");
    assert!(said.contains("What was attested"), "{said}");
    assert_eq!(browser.script("return given.length;", &[]), 2);
}

#[test]
fn dropped_files_are_checked() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, .. } = &opened;
    let record = fs::read_to_string(RECORD).unwrap();
    let digest = Record::from_json(record.as_bytes()).unwrap().digests[0].digest;
    let body = "
        const [record, report] = arguments;
        const transfer = new DataTransfer();
        transfer.items.add(new File([record], 'launch.json'));
        transfer.items.add(new File([new Uint8Array(report)], 'report'));
        const event = new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true });
        document.getElementById('drop').dispatchEvent(event);
        return event.defaultPrevented;";
    let dropped = browser.script(body, &[record.into(), json!(report(&digest.0))]);
    assert_eq!(dropped, true, "the browser would leave the page for the file");
    let said = browser.wait("#result", "What was checked");
    assert!(said.contains(&digest.to_string()), "{said}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, .. } = &opened;
    let report = opened.write("report.bin", report(&[7; 48]));
    let text = fs::read_to_string(RECORD).unwrap();
    let forged = opened.write("forged.json", text.replacen("\"vcpus\"", "\"vCPUs\"", 1));
    opened.choose(&[&report, &forged]);
    let said = browser.wait("#result", "No answer");
    assert!(said.contains("forged.json cannot be read as a launch record"), "{said}");

    let large = opened.directory.path().join("firmware.igvm");
    fs::File::create(&large).unwrap().set_len(17 << 20).unwrap();
    opened.choose(&[&large]);
    browser.wait("#list", "too large");

    // A digest that does not follow from the rest of its record is a reason, and not a mistake.
    let digest = Record::from_json(text.as_bytes()).unwrap().digests[0].digest.to_string();
    opened.write("forged.json", text.replace(&digest, &"5d".repeat(48)));
    opened.choose(&[&forged]);
    browser.wait("#result", "record-invalid");

    // Two reports: which one is meant?
    let other = opened.write("other.bin", [0; 1184]);
    opened.choose(&[&other]);
    browser.wait("#result", "Both report.bin and other.bin");
}

#[test]
fn nothing_leaves_the_page() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, server, .. } = &opened;
    let report = opened.write("report.bin", report(&[7; 48]));
    opened.choose(&[Path::new(RECORD), &report]);
    browser.wait("#result", "What was checked");

    let url = server.url("leak");
    let refused = |attempt: &str| {
        let body = format!(
            "const [url, done] = arguments;
             document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));
             {attempt}"
        );
        browser.later(&body, &[url.as_str().into()]).as_str().unwrap().to_owned()
    };
    assert_eq!(refused("fetch(url).catch(() => {});"), "connect-src");
    assert_eq!(refused("navigator.sendBeacon(url, 'x');"), "connect-src");
    assert_eq!(
        refused("try { new WebSocket(url.replace('http', 'ws')); } catch {}"),
        "connect-src"
    );
    assert_eq!(refused("new Image().src = url;"), "img-src");
    let append = |tag: &str, rest: &str| {
        format!("const it = document.createElement('{tag}'); {rest} document.body.append(it);")
    };
    assert_eq!(refused(&append("iframe", "it.src = url;")), "frame-src");
    assert_eq!(refused(&append("link", "it.rel = 'stylesheet'; it.href = url;")), "style-src-elem");
    let form = append("form", "it.action = url; it.method = 'post';") + "it.submit();";
    assert_eq!(refused(&form), "form-action");
    let script = append("script", "it.textContent = 'window.ran = true;';");
    let ran =
        browser.script(&format!("try {{ {script} }} catch {{}} return window.ran ?? false;"), &[]);
    assert_eq!(ran, false, "another script than the page's runs");

    let asked: Vec<_> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/verify.html"]);
}

#[test]
fn it_works_from_a_file() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, directory, .. } = &opened;
    browser.open(&format!("file://{}", directory.path().join("verify.html").display()));
    let report = opened.write("report.bin", report(&[7; 48]));
    opened.choose(&[Path::new(RECORD), &report]);
    browser.wait("#result", "What was checked");
}

#[test]
fn text_from_files_is_never_markup() {
    let Some(opened) = Opened::new() else { return };
    let markup = "<img src=x onerror=alert(1)><b>bold</b>";
    let mut verdict = rejected();
    for pointer in
        ["/reasons/0/says", "/reasons/0/advice", "/checks/0/says", "/notes/0", "/at", "/root"]
    {
        *verdict.pointer_mut(pointer).unwrap() = markup.into();
    }
    opened.show(&verdict, &json!([{ "field": markup, "value": markup, "means": markup }]));
    let made = "return document.querySelectorAll('#result img, #result b').length;";
    assert_eq!(opened.browser.script(made, &[]), 0);
    assert!(opened.browser.text("#result").contains(markup));
    // And the browser would refuse it, if somebody wrote it one day.
    let body = "try { document.body.innerHTML = '<p>x</p>'; return false; } catch { return true; }";
    assert_eq!(opened.browser.script(body, &[]), true);
}

#[test]
fn a_verdict_is_told_in_words() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, .. } = &opened;
    let said = |css: &str| browser.text(css);

    opened.show(&accepted(), &fields());
    assert_eq!(said(".verdict h2"), "Accepted");
    assert!(said(".verdict").contains("launched with 4 vCPUs of EPYC-v4"), "{}", said(".verdict"));
    assert!(said(".verdict").contains("1 of 5 checks were not made"), "{}", said(".verdict"));
    assert!(said(".verdict").contains("2026-11-22T12:00:00Z, by your browser’s clock"));
    let checks = said(".checks");
    assert!(checks.contains("passed") && checks.contains("not checked"), "{checks}");
    assert!(said("#result").contains("4 passed, 1 not checked"), "{}", said("#result"));
    assert_eq!(said("#result .warning"), "");
    pictures(browser, "accepted");

    opened.show(&rejected(), &fields());
    assert_eq!(said(".verdict h2"), "Rejected");
    assert!(said(".reasons").starts_with("Ask the operator"), "{}", said(".reasons"));
    assert!(said("#result").contains("What was different at the launch"));
    // What speaks against it comes before what is missing.
    let mut turned = rejected();
    turned["reasons"].as_array_mut().unwrap().reverse();
    opened.show(&turned, &fields());
    assert!(said(".reasons").starts_with("Ask the operator"), "{}", said(".reasons"));
    assert!(browser.text("#status").starts_with("Rejected. "));
    pictures(browser, "rejected");

    let mut other = accepted();
    other["root"] = "other".into();
    opened.show(&other, &fields());
    assert!(said("#result .warning").contains("The root is not AMD"));

    // Of a verdict that it does not know, the page makes none that is better.
    let mut unknown = accepted();
    unknown["verdict"] = "splendid".into();
    opened.show(&unknown, &fields());
    assert_eq!(said(".verdict h2"), "Cannot decide");
    pictures(browser, "cannot-decide");
}

#[test]
fn keyboards_and_readers_get_everything() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, .. } = &opened;
    let report = opened.write("report.bin", report(&[7; 48]));
    opened.choose(&[Path::new(RECORD), &report]);
    browser.wait("#result", "What was checked");
    // Everything that can be used has a name, and is reached without a mouse.
    let body = "
        const all = [...document.querySelectorAll('input, select, button, summary')];
        const named = (it) => it.getAttribute('aria-label') || it.textContent.trim() || it.labels?.[0]?.textContent.trim();
        return all.filter((it) => !named(it) || it.tabIndex < 0).map((it) => it.outerHTML);";
    assert_eq!(browser.script(body, &[]), json!([]));
    // A mark is for eyes, and the word beside it for everyone.
    let body = "return [...document.querySelectorAll('.checks li')].every(
        (row) => row.querySelector('svg[aria-hidden=true]') && row.querySelector('.word').textContent);";
    assert_eq!(browser.script(body, &[]), true);
    // Nothing is cut off on a phone.
    browser.picture(&screens().join("phone-files.png"), 360, "light");
    let body = "return document.documentElement.scrollWidth;";
    assert_eq!(browser.script(body, &[]), 360, "the page is wider than a phone");
}

fn pictures(browser: &Browser, name: &str) {
    for (device, width) in [("desk", 1100), ("phone", 390)] {
        for scheme in ["light", "dark"] {
            browser.picture(
                &screens().join(format!("{name}-{device}-{scheme}.png")),
                width,
                scheme,
            );
        }
    }
}

/// Where people find the pictures.
fn screens() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("web/pictures")
}

fn accepted() -> Value {
    let check = |check: &str, result: &str, says: &str| json!({ "check": check, "result": result, "says": says, "reason": null });
    json!({
        "version": 1, "verdict": "accepted", "at": "2026-11-22T12:00:00Z", "root": "AMD",
        "report": { "version": 5, "product": "Genoa", "measurement": "5d".repeat(48) },
        "matched": { "vcpus": 4, "cpu": "EPYC-v4", "sev_features": "0x1", "digest": "5d".repeat(48) },
        "checks": [
            check("chain", "passed", "the certificates lead to AMD's root for Genoa"),
            check("report-signature", "passed", "the certified key of this processor signed the report"),
            check("revocation", "passed", "none of the certificates is on AMD's list of revoked ones"),
            check("measurement", "passed", "the measurement is one of the release's"),
            check("report-data", "not-checked", "nobody said what REPORT_DATA must be, so an old report passes too"),
        ],
        "reasons": [],
        "notes": ["the firmware of the release runs a blob that nobody measures; its THREAT-MODEL.md says more"],
        "diagnosis": null,
    })
}

fn rejected() -> Value {
    let mut verdict = accepted();
    verdict["verdict"] = "rejected".into();
    verdict["matched"] = Value::Null;
    verdict["checks"][2] = json!({ "check": "revocation", "result": "unknown", "reason": "crl-missing",
        "says": "there is no list of revoked certificates, so nobody knows whether one of these is on it" });
    verdict["checks"][3] = json!({ "check": "measurement", "result": "failed", "reason": "measurement-unknown",
        "says": "the measurement is none of the release's" });
    verdict["reasons"] = json!([
        { "code": "measurement-unknown", "says": "the measurement is none of the release's",
          "advice": "ask the operator to launch with the command line of the release" },
        { "code": "crl-missing", "says": "there is no list of revoked certificates",
          "advice": "fetch the list with `counterfoil collateral fetch`, and add it" },
    ]);
    verdict["diagnosis"] = json!({ "causes": [{ "changes": [{ "reason": "cmdline-word-added",
        "says": "the command line had `console=ttyS0` at its end",
        "advice": "launch with the command line that `counterfoil run --print` shows" }] }] });
    verdict
}

fn fields() -> Value {
    json!([
        { "field": "VERSION", "value": "5", "means": "the form of the report" },
        { "field": "MEASUREMENT", "value": "5d".repeat(48), "means": "the launch digest" },
        { "field": "POLICY", "value": "0x30000", "means": "no debugging, no migration; SMT is allowed" },
    ])
}

fn copy_sources(from: &Path, to: &Path) {
    let skipped = |name: &str| matches!(name, "target" | ".git" | "releases" | "fuzz");
    let entries = walkdir::WalkDir::new(from)
        .into_iter()
        .filter_entry(|entry| !skipped(entry.file_name().to_str().unwrap_or_default()));
    for entry in entries.map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
        let copy = to.join(entry.path().strip_prefix(from).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(entry.path(), copy).unwrap();
    }
}

/// A `CARGO_HOME` under another path, with the crates and the sources' settings of the real one.
fn elsewhere(home: &Path) -> PathBuf {
    let real = env::var_os("CARGO_HOME")
        .map_or_else(|| Path::new(&env::var_os("HOME").unwrap()).join(".cargo"), PathBuf::from);
    let cargo_home = home.join("crates elsewhere");
    fs::create_dir_all(cargo_home.join("registry")).unwrap();
    for (name, entry) in ["cache", "index"].map(|name| (name, real.join("registry").join(name))) {
        std::os::unix::fs::symlink(entry, cargo_home.join("registry").join(name)).unwrap();
    }
    for name in ["config.toml", "config"] {
        if real.join(name).is_file() {
            fs::copy(real.join(name), cargo_home.join(name)).unwrap();
        }
    }
    cargo_home
}
