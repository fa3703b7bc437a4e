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
use counterfoil::report::Product;
use counterfoil::report::binding::report_data;
use counterfoil::report::describe::hex;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::amd::{Machine, NOW, Spec};
use support::launch::record;
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

    /// What a person adds to check a machine whose root is the tests' own, with the root said to be one.
    fn choose_all(&self, machine: &Machine) {
        let launch = self.write("launch.json", record().to_json().unwrap());
        let collateral = self.write("collateral.json", machine.collateral().to_json().unwrap());
        let root = self.write("root.der", Spec::ark(machine.product).sign());
        let report = self.write("report.bin", machine.attest());
        self.set("#time", NOW);
        self.choose(&[&launch, &collateral, &root, &report]);
        self.browser.wait("#result", "ark-not-pinned");
        self.set("#list select[aria-label='What root.der is']", "root");
        self.browser.wait("#result", "The root is not AMD’s.");
    }

    /// Sets a field or a choice as a person does.
    fn set(&self, css: &str, value: &str) {
        let body = "const it = document.querySelector(arguments[0]); it.value = arguments[1];
            it.dispatchEvent(new Event('change', { bubbles: true }));";
        self.browser.script(body, &[css.into(), value.into()]);
    }

    /// The verdict that the page shows as JSON.
    fn verdict(&self) -> Value {
        let body = "return document.querySelector('#result pre').textContent;";
        serde_json::from_str(self.browser.script(body, &[]).as_str().unwrap()).unwrap()
    }

    /// Has the page show a verdict, in place of one that it was given.
    fn show(&self, verdict: &Value) {
        let body = "show({ verdict: arguments[0], means: {} }, []);";
        self.browser.script(body, std::slice::from_ref(verdict));
    }
}

/// A machine that runs the release of `record()`, and whose root is the tests'.
fn machine() -> Machine {
    let mut machine = Machine::new(Product::Genoa);
    machine.set(0x90, &record().digests[1].digest.0);
    machine
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

/// As a file manager drops it: the browser itself makes the event, and opens the folder.
#[test]
fn a_dropped_folder_gives_its_records() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, directory, .. } = &opened;
    let release = directory.path().join("release");
    fs::create_dir_all(release.join("image")).unwrap();
    fs::copy(RECORD, release.join("launch.json")).unwrap();
    fs::write(release.join("image/launch.json"), "of another").unwrap();
    fs::write(release.join("manifest.yaml"), "name: x\n").unwrap();
    let report = opened.write("report.bin", report(&[7; 48]));
    let drop = |paths: &[&Path]| {
        for kind in ["dragEnter", "dragOver", "drop"] {
            let data = json!({ "items": [], "files": paths, "dragOperationsMask": 1 });
            let event = json!({ "type": kind, "x": 300, "y": 300, "data": data });
            browser.devtools("Input.dispatchDragEvent", &event);
        }
    };
    drop(&[&release]);
    browser.wait("#status", "report is still needed");
    assert_eq!(
        browser.script("return given.map(({ name, role }) => [name, role]);", &[]),
        json!([["launch.json", "launch-record"]])
    );
    drop(&[&report]);
    browser.wait("#result", "measurement-unknown");
    // Something else than a release's is not passed over in silence.
    drop(&[directory.path()]);
    browser.wait("#result", "There is no launch.json in the folder");
    assert_eq!(browser.script("return given.length;", &[]), 2);
}

#[test]
fn digests_and_verdicts_can_be_copied() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, server, .. } = &opened;
    let report = opened.write("report.bin", report(&[7; 48]));
    opened.choose(&[Path::new(RECORD), &report]);
    browser.wait("#result", "What was attested");
    let permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"];
    let allowed = json!({ "origin": server.url(""), "permissions": permissions });
    browser.devtools("Browser.grantPermissions", &allowed);
    let copied = |css: &str| {
        browser.script("document.querySelector(arguments[0]).click();", &[css.into()]);
        browser.wait(css, "Copied");
        let body = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)));";
        browser.later(body, &[]).as_str().unwrap().to_owned()
    };
    assert_eq!(copied("#result dl button"), hex(&[7; 48]));
    browser.script("document.querySelector('#result details:last-child').open = true;", &[]);
    let json: Value = serde_json::from_str(&copied("#result details:last-child button")).unwrap();
    assert_eq!(json, opened.verdict());

    // Where a browser does not let a page write there, the button says so.
    browser.devtools("Browser.resetPermissions", &json!({}));
    browser.wait("#result dl button", "Copy");
    browser.script("document.querySelector('#result dl button').click();", &[]);
    browser.wait("#result dl button", "Not allowed here");
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
    let Opened { browser, .. } = &opened;
    let made = "return document.querySelectorAll('main img, main b b, #list b').length;";
    let policy = opened.write("<b>bold<img src=x onerror=alert(1)>.yaml", "<img src=x>: 1\n");
    let report = opened.write("report.bin", report(&[7; 48]));
    opened.choose(&[Path::new(RECORD), &report, &policy]);
    let said = browser.wait("#result", "unknown field");
    assert!(said.contains("<img src=x>") && said.contains("onerror"), "{said}");
    assert_eq!(browser.script(made, &[]), 0);
    browser.script("given.pop(); settle();", &[]);
    browser.wait("#result", "What was checked");

    let markup = "<img src=x onerror=alert(1)><b>bold</b>";
    let mut verdict = opened.verdict();
    for pointer in
        ["/reasons/0/says", "/reasons/0/advice", "/checks/0/says", "/notes/0", "/at", "/root"]
    {
        *verdict.pointer_mut(pointer).unwrap() = markup.into();
    }
    opened.show(&verdict);
    assert_eq!(browser.script(made, &[]), 0);
    assert!(browser.text("#result").contains(markup));
    // And the browser would refuse it, if somebody wrote it one day.
    let body = "try { document.body.innerHTML = '<p>x</p>'; return false; } catch { return true; }";
    assert_eq!(browser.script(body, &[]), true);
}

#[test]
fn a_report_is_accepted() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, .. } = &opened;
    let said = |css: &str| browser.text(css);
    opened.choose_all(&machine());
    let row = record().digests[1].clone();
    let verdict = opened.verdict();
    assert_eq!((&verdict["verdict"], &verdict["root"]), (&"accepted".into(), &"other".into()));
    assert_eq!(verdict["matched"]["digest"], row.digest.to_string());

    let banner = said(".verdict");
    assert!(banner.starts_with("Accepted, but not by AMD’s root"), "{banner}");
    assert!(banner.contains("launched with 1 vCPU of EPYC-Milan."), "{banner}");
    assert!(banner.contains("1 of 19 checks were not made"), "{banner}");
    assert!(banner.contains(&format!("Decided for {NOW}, the time that you said.")), "{banner}");
    assert!(said("#result").starts_with("The root is not AMD’s."), "{}", said("#result"));
    assert!(said("#result .warning").contains("nothing about any processor of AMD"));
    assert!(
        said("#status").starts_with("Accepted, but not by AMD’s root. "),
        "{}",
        said("#status")
    );
    assert_eq!(
        browser.script("return document.querySelector('.verdict').className;", &[]),
        "verdict tried"
    );
    assert!(said("#result dl").contains(&row.digest.to_string()), "{}", said("#result dl"));
    assert!(said("#result").contains("18 passed, 1 not checked."), "{}", said("#result"));
    assert!(
        said("#result").contains("not in AMD's: this is no statement about any AMD processor.")
    );
    assert!(
        said(".checks").contains("whose key is the one that was given."),
        "{}",
        said(".checks")
    );
    pictures(browser, "tried");

    // Under AMD's root, which the tests cannot sign for, the same is said in another word.
    let mut amd = verdict;
    amd["root"] = "AMD".into();
    amd["notes"].as_array_mut().unwrap().remove(0);
    opened.show(&amd);
    assert!(said(".verdict").starts_with("Accepted\n"), "{}", said(".verdict"));
    assert_eq!(said("#result .warning"), "");
    assert!(said("#status").starts_with("Accepted. "));
    pictures(browser, "accepted");
    // Of a verdict that it does not know, the page makes none that is better.
    amd["verdict"] = "splendid".into();
    opened.show(&amd);
    assert_eq!(said(".verdict h2"), "Cannot decide");
}

#[test]
fn what_speaks_against_a_report_is_told() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, .. } = &opened;
    let said = |css: &str| browser.text(css);
    let machine = machine();
    opened.choose_all(&machine);
    let rejected = |reason: &str| {
        browser.wait(".reasons", reason);
        assert_eq!(said(".verdict h2"), "Rejected");
        assert!(said("#status").starts_with("Rejected. "), "{}", said("#status"));
        let codes = opened.verdict()["reasons"].clone();
        let codes = codes.as_array().unwrap().iter().map(|reason| reason["code"].clone());
        assert_eq!(codes.collect::<Vec<_>>(), [reason]);
        said("#result")
    };
    let accepted = || {
        browser.wait(".verdict h2", "Accepted");
    };

    // One byte of HOST_DATA.
    let mut changed = machine.attest();
    changed[0xc0] ^= 1;
    opened.choose(&[&opened.write("report.bin", changed)]);
    let all = rejected("report-signature");
    assert!(all.contains("The launch that has this digest"), "{all}");
    assert!(said(".verdict p").contains("The certified key did not sign these bytes."), "{all}");
    assert!(said(".reasons").starts_with("Fetch report and certificate again; if both are as"));
    pictures(browser, "rejected");

    opened.choose(&[&opened.write("report.bin", machine.attest())]);
    accepted();
    let policy = opened.write("policy.yaml", "version: 1\nvmpl: [1]\n");
    opened.choose(&[&policy]);
    rejected("vmpl");
    assert!(said(".here").contains("counterfoil verify --show-policy"), "{}", said(".here"));
    opened.write("policy.yaml", "version: 1\nvmlp: [1]\n");
    opened.choose(&[&policy]);
    let all = browser.wait("#result", "No answer");
    assert!(all.contains("policy.yaml:2:1: unknown field vmlp"), "{all}");
    assert!(said("#result pre").contains("2 | vmlp: [1]\n  | ^"), "{all}");
    pictures(browser, "policy");
    opened.write("policy.yaml", "version: 1\n");
    opened.choose(&[&policy]);
    accepted();

    opened.set("#time", "2033-01-01");
    browser.wait(".reasons", "vek-expired");
    assert!(said(".verdict").contains("Decided for 2033-01-01T00:00:00Z, the time that you said."));
    assert!(said(".reasons").contains("crl-stale"), "{}", said(".reasons"));
    assert!(said(".here").contains("is typed in above"), "{}", said(".here"));
    opened.set("#time", "tomorrow");
    browser.wait("#result", "That is not a time to decide for.\n\ntomorrow is not a time such as");
    opened.set("#time", NOW);
    accepted();

    // A nonce that the report is not over, and one that it is; then all of REPORT_DATA.
    let nonce = [0x11; 32];
    opened.set("#challenge", &hex(&nonce));
    rejected("report-data");
    let mut fresh = machine.clone();
    fresh.set(0x50, &report_data(&nonce, &[0; 32]));
    opened.choose(&[&opened.write("report.bin", fresh.attest())]);
    accepted();
    assert!(said(".checks").contains("REPORT_DATA is made with the nonce that was sent"));
    assert!(!said(".verdict").contains("not made"), "{}", said(".verdict"));
    opened.set("#challenge", &"ab".repeat(64));
    rejected("report-data");
    opened.set("#challenge", "fresh");
    browser.wait("#result", "neither a nonce (64 hex digits) nor REPORT_DATA (128)");
    opened.set("#challenge", &hex(&report_data(&nonce, &[0; 32])));
    accepted();
}

#[test]
fn what_is_missing_is_told_after_what_speaks_against() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, .. } = &opened;
    opened.choose_all(&machine());
    browser.script(
        "given.splice(given.findIndex(({ name }) => name === 'collateral.json'), 1); settle();",
        &[],
    );
    browser.wait(".verdict h2", "Cannot decide");
    let reasons = browser.text(".reasons");
    assert!(
        reasons.contains("vek-missing") && reasons.contains("counterfoil collateral fetch"),
        "{reasons}"
    );
    let here = browser.text(".here");
    assert!(
        here.contains("This page asks nobody") && here.contains("like any other file"),
        "{here}"
    );
    pictures(browser, "cannot-decide");

    opened.set("#challenge", &"ab".repeat(64));
    browser.wait(".verdict h2", "Rejected");
    assert!(
        browser.text(".reasons").starts_with("See that the report is for this key and this nonce")
    );
}

#[test]
fn everything_is_said_in_sentences() {
    let Some(opened) = Opened::new() else { return };
    let Opened { browser, .. } = &opened;
    opened.choose_all(&machine());
    let roughly = "
        const texts = [...document.querySelectorAll('.checks li > span:nth-child(2), .reasons p, .here li, .notes li, .verdict p')];
        return texts.map((it) => it.firstElementChild?.tagName === 'B' ? it.childNodes[1].textContent : it.textContent)
            .filter((text) => !/[.?!]$/.test(text) || /^[a-z’'-]+ /.test(text) && !/^counterfoil/.test(text) || /[.;]\\.$/.test(text));";
    assert_eq!(browser.script(roughly, &[]), json!([]));
    assert!(
        browser.text(".checks").contains("Signing key\nA VCEK."),
        "{}",
        browser.text(".checks")
    );
    let mut other = machine();
    other.set(0x90, &[7; 48]);
    let report = opened.write("report.bin", other.attest());
    opened.choose(&[&report]);
    browser.wait("#result", "measurement-unknown");
    assert_eq!(browser.script(roughly, &[]), json!([]));
    assert!(browser.text("#result").contains("launches near the release’s gives this digest."));
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
