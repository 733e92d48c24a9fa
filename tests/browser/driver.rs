//! Chromium and its driver as processes that end with the test.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fantoccini::ClientBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::page::Page;
use crate::support::ports;
use crate::support::process::{self, Log, Process};

/// How long chromedriver may take until it listens, and Chromium until its first window is there.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A chromedriver of this test's own. The driver asks the kernel to be killed with this process,
/// and Chromium, started by a wrapper, to be killed with its driver: nothing is left behind
/// however the test ends.
pub(super) struct Browser {
    driver: Mutex<Option<Process>>,
    address: String,
    dir: PathBuf,
    log: Arc<Log>,
}

impl Browser {
    /// Starts chromedriver on a free port; the Debian packages are installed where they are
    /// missing.
    pub(super) async fn start() -> Arc<Self> {
        let started = crate::support::blocking(Self::launch).await;
        Arc::new(started.unwrap_or_else(|error| panic!("{error}")))
    }

    fn launch() -> Result<Self, String> {
        let driver = program("chromedriver", "chromium-driver")?;
        let chromium = program("chromium", "chromium")?;
        let dir = process::new_dir("browser");
        let wrapper = format!("#!/bin/sh\nexec setpriv --pdeathsig KILL {} \"$@\"\n", chromium.display());
        let told = |error: std::io::Error| error.to_string();
        std::fs::write(dir.join("chromium"), wrapper).map_err(told)?;
        std::fs::set_permissions(dir.join("chromium"), Permissions::from_mode(0o755)).map_err(told)?;
        let log = Arc::<Log>::default();
        let mut command = process::bound_command(driver, "KILL");
        // A port of the harness: the one that chromedriver picks may be taken in the other address
        // family.
        let port = ports::free_port();
        command
            .args([&format!("--port={port}"), "--log-level=INFO"])
            .env("HOME", &dir)
            .env("TMPDIR", &dir)
            .current_dir(&dir);
        // There is no desktop to talk to, and nothing to wait for.
        command.env("DBUS_SESSION_BUS_ADDRESS", "disabled:");
        let process = Process::start(command, &log)?;
        log.find(0, START_LIMIT, |line| line.contains("started successfully").then_some(()))
            .ok_or_else(|| format!("chromedriver did not start:\n{}", log.since(0).join("\n")))?;
        Ok(Self { driver: Mutex::new(Some(process)), address: format!("http://127.0.0.1:{port}"), dir, log })
    }

    /// A browser with a profile of its own: another person at another machine.
    pub(super) async fn window(self: &Arc<Self>) -> Page {
        self.open(|_| ()).await
    }

    /// A browser whose user lets no page keep anything.
    pub(super) async fn window_that_keeps_nothing(self: &Arc<Self>) -> Page {
        self.open(|options| options["prefs"] = json!({"profile.default_content_setting_values.cookies": 2})).await
    }

    /// A browser whose user reads this language.
    pub(super) async fn window_in(self: &Arc<Self>, language: &str) -> Page {
        self.open(|options| options["prefs"] = json!({"intl.accept_languages": language})).await
    }

    /// The same on a phone, 360 by 740 pixels. (A plain window is never narrower than 500.)
    pub(super) async fn phone(self: &Arc<Self>) -> Page {
        let metrics = json!({"width": 360, "height": 740, "pixelRatio": 2.0, "touch": false, "mobile": true});
        self.open(|options| options["mobileEmulation"] = json!({"deviceMetrics": metrics})).await
    }

    async fn open(self: &Arc<Self>, change: impl FnOnce(&mut Value)) -> Page {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let profile = self.dir.join(format!("profile-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-proxy-server",
            // a window behind another one is as awake as it
            "--disable-renderer-backgrounding",
            "--disable-backgrounding-occluded-windows",
            "--disable-background-timer-throttling",
            // whatever asks for another host gets nothing, and a fault in the log to show for it
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            format!("--user-data-dir={}", profile.display()),
            "--window-size=1280,800",
        ]);
        let mut capabilities = serde_json::Map::<String, Value>::new();
        capabilities.insert("browserName".to_owned(), json!("chrome"));
        let mut options = json!({"args": arguments, "binary": self.dir.join("chromium")});
        change(&mut options);
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let connected = tokio::time::timeout(START_LIMIT, builder.connect(&self.address)).await;
        let said = || self.log.since(0).join("\n");
        let client = connected
            .unwrap_or_else(|_| panic!("Chromium takes longer than {START_LIMIT:?} to start:\n{}", said()))
            .unwrap_or_else(|error| panic!("Chromium does not start: {error}\n{}", said()));
        Page::new(client, Arc::clone(self))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.driver.lock().take());
        process::remove_dir(&self.dir);
    }
}

/// The executable, installed from `package` where it is missing.
fn program(name: &str, package: &str) -> Result<PathBuf, String> {
    if let Some(path) = process::find_program(name) {
        return Ok(path);
    }
    process::install(package)?;
    process::find_program(name).ok_or_else(|| format!("{package} brought no {name}"))
}
