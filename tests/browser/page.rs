//! One browser window, and how a test looks at it: by what a person would see, with a deadline on
//! everything.

use std::collections::BTreeSet;
use std::time::Duration;

use fantoccini::Client;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::{WebDriverCompatibleCommand, WindowHandle};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::driver::Browser;
use crate::support::SOON;

/// By which WebDriver names an element in an answer (W3C WebDriver, section 12.1).
const ELEMENT_KEY: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How long a page looks for something by itself, in milliseconds.
const LOOK_MS: u32 = 500;

/// A window at some page. Dropped, it leaves its browser to others, or ends it where the test has
/// failed.
pub(super) struct Page {
    client: Client,
    /// There until it is dropped.
    browser: Option<Browser>,
    origins: Mutex<BTreeSet<String>>,
}

impl Page {
    pub(super) fn new(browser: Browser) -> Self {
        Self { client: browser.client.clone(), browser: Some(browser), origins: Mutex::default() }
    }

    pub(super) async fn goto(&self, url: &str) {
        let origin = url::Url::parse(url).unwrap().origin().ascii_serialization();
        self.origins.lock().insert(origin);
        self.client.goto(url).await.unwrap();
    }

    pub(super) async fn reload(&self) {
        self.client.refresh().await.unwrap();
    }

    /// Has the page open `path` in a window of its own, and goes on there; gives the window that it
    /// leaves, for [`Self::back_to`].
    pub(super) async fn open_window(&self, path: &str) -> WindowHandle {
        let first = self.client.window().await.unwrap();
        self.js("window.open(arguments[0])", vec![json!(path)]).await;
        // WebDriver gives windows in no order: the new one is the one that was not there.
        let opened = crate::support::eventually("the window that the page opened", SOON, async || {
            self.client.windows().await.unwrap().into_iter().find(|window| *window != first)
        });
        self.client.switch_to_window(opened.await).await.unwrap();
        first
    }

    /// Goes on in that window; gives the one that it leaves.
    pub(super) async fn back_to(&self, window: WindowHandle) -> WindowHandle {
        let left = self.client.window().await.unwrap();
        self.client.switch_to_window(window).await.unwrap();
        left
    }

    /// Runs the body of a function in the page; its value. Use it to look, and clicks and keys to
    /// act.
    pub(super) async fn js(&self, body: &str, arguments: Vec<Value>) -> Value {
        let ran = self.client.execute(body, arguments).await;
        ran.unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// Runs the body of an async function in the page; its value.
    pub(super) async fn js_async(&self, body: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => {{ {body} }})().then((value) => done({{ value }}), (error) => done({{ error: String(error.stack) }}));"
        );
        let mut answer = self.client.execute_async(&script, vec![]).await.unwrap();
        assert_eq!(answer["error"], Value::Null, "{body}");
        answer["value"].take()
    }

    /// Waits until the expression is truthy in the page; its value.
    pub(super) async fn until(&self, what: &str, expression: &str, arguments: &[Value]) -> Value {
        self.until_within(SOON, what, expression, arguments).await
    }

    pub(super) async fn until_within(
        &self,
        limit: Duration,
        what: &str,
        expression: &str,
        arguments: &[Value],
    ) -> Value {
        // The page itself looks again and again: a command of WebDriver takes ten milliseconds of a
        // processor.
        let body = format!(
            "const given = [...arguments], done = given.pop(), end = performance.now() + given.pop();
             const look = function () {{ return {expression}; }};
             const again = () => {{
                 try {{
                     const value = look(...given);
                     if (value || performance.now() > end) done({{ value }});
                     else scheduler.postTask(again, {{ delay: 20 }});
                 }} catch (error) {{ done({{ error: String(error.stack) }}); }}
             }};
             again();"
        );
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let mut given = arguments.to_vec();
            given.push(json!(LOOK_MS));
            let value = match self.client.execute_async(&body, given).await {
                Ok(mut answer) => {
                    assert_eq!(answer["error"], Value::Null, "{expression}");
                    answer["value"].take()
                }
                // Another page came meanwhile, which is to be asked.
                Err(gone) if gone.to_string().contains("unloaded") => Value::Null,
                Err(error) => panic!("{error}: {expression}"),
            };
            let truthy = !matches!(&value, Value::Null | Value::Bool(false)) && value != json!(0) && value != json!("");
            if truthy {
                return value;
            }
            if tokio::time::Instant::now() >= deadline {
                let shown = self.js("return document.body.innerText", vec![]).await;
                let log = self.console().await;
                panic!("{what}: not within {limit:?}\nlog: {log:#?}\npage: {shown}");
            }
        }
    }

    /// Waits until an element that `selector` finds is shown with `text` in it.
    pub(super) async fn until_text(&self, selector: &str, text: &str) {
        self.until(
            &format!("`{text}` in `{selector}`"),
            "[...document.querySelectorAll(arguments[0])].some((e) => e.checkVisibility() && e.textContent.includes(arguments[1]))",
            &[json!(selector), json!(text)],
        )
        .await;
    }

    /// Waits until no element that `selector` finds has `text` in it.
    pub(super) async fn until_no_text(&self, selector: &str, text: &str) {
        self.until(
            &format!("no `{text}` in `{selector}`"),
            "![...document.querySelectorAll(arguments[0])].some((e) => e.checkVisibility() && e.textContent.includes(arguments[1]))",
            &[json!(selector), json!(text)],
        )
        .await;
    }

    /// Waits until the chat page's connection is there.
    pub(super) async fn until_connected(&self) {
        self.until_within(
            Duration::from_secs(60),
            "the live connection",
            "document.documentElement.dataset.connection === 'open'",
            &[],
        )
        .await;
    }

    /// The texts of all elements that `selector` finds.
    pub(super) async fn texts(&self, selector: &str) -> Vec<String> {
        let body = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)";
        serde_json::from_value(self.js(body, vec![json!(selector)]).await).unwrap()
    }

    /// Clicks the element, which must come to be there, visible and not covered.
    pub(super) async fn click(&self, selector: &str) {
        self.act(selector, "", async |found| found.click().await).await;
    }

    /// Clicks the first element among those that `selector` finds whose text has `text` in it.
    pub(super) async fn click_text(&self, selector: &str, text: &str) {
        self.act(selector, text, async |found| found.click().await).await;
    }

    /// Empties the field and types `text` into it.
    pub(super) async fn fill(&self, selector: &str, text: &str) {
        let fill = async |found: Element| {
            found.clear().await?;
            found.send_keys(text).await
        };
        self.act(selector, "", fill).await;
    }

    /// Types into the field; `\u{e007}` is Enter, as WebDriver has it.
    pub(super) async fn keys(&self, selector: &str, keys: &str) {
        self.act(selector, "", async |found| found.send_keys(keys).await).await;
    }

    /// Does it to the first shown element that `selector` finds and that has `text` in it.
    /// WebDriver finds by one command and acts by another: to an element that the page drew anew in
    /// between nothing was done.
    async fn act(&self, selector: &str, text: &str, act: impl AsyncFn(Element) -> Result<(), CmdError>) {
        loop {
            let found = self
                .until(
                    &format!("`{selector}` with `{text}` to be shown"),
                    "[...document.querySelectorAll(arguments[0])].find((e) => e.checkVisibility() && e.textContent.includes(arguments[1]))",
                    &[json!(selector), json!(text)],
                )
                .await;
            let reference = found[ELEMENT_KEY].as_str().unwrap_or_else(|| panic!("{found} is no element")).to_owned();
            let element = Element::from_element_id(self.client.clone(), reference.into());
            match act(element).await {
                Err(gone) if gone.is_stale_element_reference() => {}
                done => return done.unwrap_or_else(|error| panic!("{selector} with `{text}`: {error}")),
            }
        }
    }

    /// Types wherever the focus is.
    pub(super) async fn press(&self, keys: &str) {
        self.client.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// A command of Chromium's own protocol; its answer.
    pub(super) async fn devtools(&self, command: &'static str, parameters: Value) -> Value {
        self.client.issue_cmd(DevTools(command, parameters)).await.unwrap()
    }

    /// The browser's complaints since the last call: errors and warnings, scripts' and
    /// its own.
    pub(super) async fn console(&self) -> Vec<String> {
        let entries = self.client.issue_cmd(BrowserLog).await.unwrap();
        let grave = |entry: &&Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        let entries = entries.as_array().unwrap();
        entries.iter().filter(grave).map(text).collect()
    }

    /// Nothing was complained of, and nothing was asked of another host.
    pub(super) async fn assert_clean(&self, site: &str) {
        let complaints = self.console().await;
        assert!(complaints.is_empty(), "the browser's log: {complaints:#?}");
        self.assert_own_host(site).await;
    }

    /// Nothing was asked of another host than `site`.
    pub(super) async fn assert_own_host(&self, site: &str) {
        let body = "return performance.getEntries().filter((e) => ['navigation', 'resource'].includes(e.entryType)).map((e) => e.name)";
        let asked: Vec<String> = serde_json::from_value(self.js(body, vec![]).await).unwrap();
        assert!(asked.len() > 1, "{asked:?}");
        for address in &asked {
            assert!(address.starts_with(site), "{address} of {asked:?}");
        }
    }

    /// axe finds nothing that keeps people out, in the state that is shown.
    pub(super) async fn assert_accessible(&self, state: &str) {
        // An element that fades in is judged when it is there.
        self.until("nothing to move", "document.getAnimations().every((one) => one.playState !== 'running')", &[])
            .await;
        if self.js("return !window.axe", vec![]).await == json!(true) {
            let source = crate::support::blocking(super::accessible::axe).await;
            self.js(source, vec![]).await;
        }
        let body = "const { violations } = await axe.run(document, { resultTypes: ['violations'] });
            return violations.map((one) => [one.id, one.help, one.nodes.map((node) => node.html + ' ' + node.failureSummary)])";
        let violations = self.js_async(body).await;
        assert_eq!(violations, json!([]), "{state}: {violations:#}");
        self.picture(&state.replace(' ', "-")).await;
    }

    /// Keeps a picture in the folder that `MESSENGER_SCREENSHOTS` names, if it does: for people to
    /// look at.
    pub(super) async fn picture(&self, name: &str) {
        let Some(dir) = std::env::var_os("MESSENGER_SCREENSHOTS") else {
            return;
        };
        let png = self.client.screenshot().await.unwrap();
        std::fs::write(std::path::Path::new(&dir).join(format!("{name}.png")), png).unwrap();
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let Some(browser) = self.browser.take() else { return };
        if !std::thread::panicking() {
            browser.leave(std::mem::take(self.origins.get_mut()));
        }
    }
}

/// chromedriver's own command for the browser's log.
#[derive(Debug)]
pub(super) struct BrowserLog;

impl WebDriverCompatibleCommand for BrowserLog {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}

/// chromedriver's own way to Chromium's protocol.
#[derive(Debug)]
pub(super) struct DevTools(pub(super) &'static str, pub(super) Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({"cmd": self.0, "params": self.1}).to_string()))
    }
}
