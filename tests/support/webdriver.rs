//! A browser, driven through its driver (W3C WebDriver): JSON over loopback, and nothing more of it than
//! the tests need.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use tempfile::TempDir;

const BROWSER: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";

/// Of its own accord a browser looks for updates, variations and more. Root has no sandbox to go into.
const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// The key of an element's reference (WebDriver, section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser with one window. Stops when it is dropped.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Debian's Chromium. A machine without it skips the test by name, unless it is the one that decides.
    pub fn start() -> Option<Self> {
        if !Path::new(BROWSER).exists() || !Path::new(DRIVER).exists() {
            let missing = "Debian's `chromium` and `chromium-driver` are not installed";
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            eprintln!("skipped: {missing}");
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new(DRIVER)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map(Result::unwrap);
        let port = lines
            .find_map(|line| Some(line.split_once("successfully on port ")?.1.to_owned()))
            .expect("chromedriver says its port");
        // Nobody reads what else it says, and a full pipe must not stop it.
        std::thread::spawn(move || lines.for_each(drop));

        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .new_agent();
        let base = format!("http://127.0.0.1:{}/session", port.trim_end_matches('.'));
        let data = format!("--user-data-dir={}", profile.path().display());
        let arguments: Vec<_> = ARGUMENTS.into_iter().chain([data.as_str()]).collect();
        let mut browser = Self { driver, agent, session: base, _profile: profile };
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": BROWSER, "args": arguments },
        } } });
        let id = browser.post("", &capabilities)["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Types, or chooses a file by its path.
    pub fn keys(&self, css: &str, text: &str) {
        let found = self.post("/element", &json!({ "using": "css selector", "value": css }));
        let id = found[ELEMENT].as_str().unwrap_or_else(|| panic!("{css}: {found}"));
        self.post(&format!("/element/{id}/value"), &json!({ "text": text }));
    }

    /// The value of a function's body.
    pub fn script(&self, body: &str, arguments: &[Value]) -> Value {
        self.post("/execute/sync", &json!({ "script": body, "args": arguments }))
    }

    /// What a promise of the body comes to, which ends by calling the last of its arguments.
    pub fn later(&self, body: &str, arguments: &[Value]) -> Value {
        self.post("/execute/async", &json!({ "script": body, "args": arguments }))
    }

    /// The text of an element as a person sees it; nothing if it is not to be seen.
    pub fn text(&self, css: &str) -> String {
        let body = "const found = document.querySelector(arguments[0]); return found ? found.innerText : '';";
        self.script(body, &[css.into()]).as_str().unwrap().to_owned()
    }

    /// Waits until the element says this, and returns all that it says.
    #[track_caller]
    pub fn wait(&self, css: &str, wanted: &str) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let text = self.text(css);
            if text.contains(wanted) {
                return text;
            }
            assert!(Instant::now() < end, "`{wanted}` is not in `{css}`: {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A command of the browser's own protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// A picture of the whole page, for people.
    pub fn picture(&self, to: &Path, width: u32, scheme: &str) {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let png = self.devtools("Page.captureScreenshot", &whole);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, Base64::decode_vec(png["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    #[track_caller]
    fn post(&self, command: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}{command}", self.session));
        let request = request.header("Content-Type", "application/json");
        let mut response = request.send(body.to_string()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert!(response.status().is_success(), "{command}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Or the browser outlives its driver.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
