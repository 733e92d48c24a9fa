//! Chromium and its driver as processes, which serve one test after another.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fantoccini::error::CmdError;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::page::{BrowserLog, DevTools, Page};
use crate::support::ports;
use crate::support::process::{self, Log, Process};

/// How long chromedriver may take until it listens, and Chromium until its first window is there.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Browsers that wait for their next user at most. The eldest ends.
const IDLE: usize = 6;

/// Where the sessions of WebDriver are served: a test's own runtime ends with it.
static SESSIONS: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

/// A Chromium takes two seconds of a processor until it has started, so those that tests leave
/// serve others.
static IDLE_BROWSERS: Mutex<Vec<Browser>> = Mutex::new(Vec::new());

/// A browser with a profile of its own: another person at another machine.
pub(super) async fn window() -> Page {
    Browser::opened(json!({})).await
}

/// A browser whose user lets no page keep anything.
pub(super) async fn window_that_keeps_nothing() -> Page {
    Browser::opened(json!({"prefs": {"profile.default_content_setting_values.cookies": 2}})).await
}

/// A browser whose user reads this language.
pub(super) async fn window_in(language: &str) -> Page {
    Browser::opened(json!({"prefs": {"intl.accept_languages": language}})).await
}

/// The same on a phone, 360 by 740 pixels. (A plain window is never narrower than 500.)
pub(super) async fn phone() -> Page {
    let metrics = json!({"width": 360, "height": 740, "pixelRatio": 2.0, "touch": false, "mobile": true});
    Browser::opened(json!({"mobileEmulation": {"deviceMetrics": metrics}})).await
}

/// A Chromium and its driver, for one page's use at a time. The driver asks the kernel to be killed
/// with this process, and Chromium, started by a wrapper, to be killed with its driver: nothing is
/// left behind however the tests end.
pub(super) struct Browser {
    pub(super) client: Client,
    options: Value,
    _driver: Driver,
}

struct Driver {
    process: Option<Process>,
    address: String,
    dir: PathBuf,
    log: Arc<Log>,
}

impl Browser {
    /// A browser with these options of chromedriver, new or one that waits.
    async fn opened(options: Value) -> Page {
        let waiting = {
            let mut idle = IDLE_BROWSERS.lock();
            idle.iter().position(|browser| browser.options == options).map(|place| idle.remove(place))
        };
        let browser = match waiting {
            Some(browser) => browser,
            None => Self::start(options).await,
        };
        Page::new(browser)
    }

    async fn start(options: Value) -> Self {
        let driver = crate::support::blocking(Driver::launch).await.unwrap_or_else(|error| panic!("{error}"));
        let capabilities = driver.capabilities(options.clone());
        let address = driver.address.clone();
        let connecting = SESSIONS.spawn(async move {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities);
            builder.connect(&address).await
        });
        let connected = tokio::time::timeout(START_LIMIT, connecting).await;
        let said = || driver.log.since(0).join("\n");
        let client = connected
            .unwrap_or_else(|_| panic!("Chromium takes longer than {START_LIMIT:?} to start:\n{}", said()))
            .unwrap()
            .unwrap_or_else(|error| panic!("Chromium does not start: {error}\n{}", said()));
        Self { client, options, _driver: driver }
    }

    /// Lets others use it, once nothing is left in it of the pages of these origins.
    pub(super) fn leave(self, origins: BTreeSet<String>) {
        SESSIONS.spawn(async move {
            let cleaned = tokio::time::timeout(START_LIMIT, self.clean(origins)).await;
            let mut idle = IDLE_BROWSERS.lock();
            let eldest = (idle.len() == IDLE).then(|| idle.remove(0));
            idle.extend(matches!(cleaned, Ok(Ok(true))).then_some(self));
            drop(idle);
            drop(eldest);
        });
    }

    /// Whether all is as in a browser that has just started: a window that is shown, with nothing
    /// in it. What was set by Chromium's own protocol ends with the windows.
    async fn clean(&self, origins: BTreeSet<String>) -> Result<bool, CmdError> {
        let left = self.client.windows().await?;
        let new = self.client.new_window(true).await?;
        for window in left {
            self.client.switch_to_window(window).await?;
            self.client.close_window().await?;
        }
        self.client.switch_to_window(new.handle).await?;
        for origin in origins {
            let all = json!({"origin": origin, "storageTypes": "all"});
            self.client.issue_cmd(DevTools("Storage.clearDataForOrigin", all)).await?;
        }
        self.client.issue_cmd(BrowserLog).await?;
        let shown = "return document.visibilityState === 'visible' && document.hasFocus()";
        Ok(self.client.execute(shown, vec![]).await? == json!(true))
    }
}

impl Driver {
    /// Starts chromedriver on a free port; the Debian packages are installed where they are
    /// missing.
    fn launch() -> Result<Self, String> {
        let driver = program("chromedriver", "chromium-driver")?;
        let chromium = program("chromium", "chromium")?;
        let dir = process::new_dir("browser");
        // Without an address it opens its page of news.
        let wrapper = format!("#!/bin/sh\nexec setpriv --pdeathsig KILL {} \"$@\" about:blank\n", chromium.display());
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
        Ok(Self { process: Some(process), address: format!("http://127.0.0.1:{port}"), dir, log })
    }

    fn capabilities(&self, mut options: Value) -> serde_json::Map<String, Value> {
        options["args"] = json!([
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
            // pages of its own, made in advance for an address bar that nobody sees
            "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,PreloadTopChromeWebUI",
            // a window behind another one is as awake as it
            "--disable-renderer-backgrounding",
            "--disable-backgrounding-occluded-windows",
            "--disable-background-timer-throttling",
            // whatever asks for another host gets nothing, and a fault in the log to show for it
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            format!("--user-data-dir={}", self.dir.join("profile").display()),
            "--window-size=1280,800",
        ]);
        options["binary"] = json!(self.dir.join("chromium"));
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("browserName".to_owned(), json!("chrome"));
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        capabilities
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.process.take());
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
