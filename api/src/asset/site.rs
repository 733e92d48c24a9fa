//! The pages of `api/static`, put together once at start so that few round trips show them. What
//! paints a page stands in it, all that it runs is asked for at once, and the address of each file
//! names its release, so that a browser keeps it.
//!
//! Addresses are relative: a proxy may keep a path of its own before them.

use super::{Asset, HTML, digest, media_type};
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The files of the pages.
#[derive(RustEmbed)]
#[folder = "static/"]
#[allow_missing = true]
struct Pages;

/// The client of `clients/js`, which the pages load: one source for both.
#[derive(RustEmbed)]
#[folder = "../clients/js/src/"]
#[allow_missing = true]
struct Client;

/// The page that opens without a network.
const SHELL: &str = "websocket_test_new.html";
/// A service worker rules what lies beside and below it, and a manifest names addresses relative
/// to its own: both stand at the root.
const WORKER: &str = "sw.js";
const WORKER_POLICY: &str = "default-src 'none'; connect-src 'self'";
const MANIFEST: &str = "app.webmanifest";
const ICON: &str = "icon.svg";

type Files = BTreeMap<String, Bytes>;

/// HTML under its own name, what it loads under `/static/`, and once more under the release.
pub(crate) fn pages() -> Vec<Asset> {
    assembled(&folder::<Pages>().chain(folder::<Client>()).collect())
}

fn folder<F: RustEmbed>() -> impl Iterator<Item = (String, Bytes)> {
    F::iter().filter_map(|name| {
        let bytes = match F::get(&name)?.data {
            std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Some((name.into_owned(), bytes))
    })
}

pub(super) fn assembled(files: &Files) -> Vec<Asset> {
    let release = digest(files.iter().flat_map(|(name, bytes)| [name.as_bytes(), &bytes[..]]));
    let mut all = Vec::with_capacity(files.len() * 2);
    for (name, bytes) in files {
        if name == WORKER {
            let script = worker(files, &release, &text(bytes));
            all.push(Asset::new(format!("/{name}"), media_type(name), script).under(WORKER_POLICY));
        } else if name == MANIFEST {
            all.push(Asset::new(format!("/{name}"), media_type(name), bytes.clone()));
        } else if media_type(name) == HTML {
            let (page, policy) = page(files, &release, &text(bytes));
            all.push(Asset::page(format!("/{name}"), page, &policy));
        } else {
            let asset = Asset::new(format!("/static/{name}"), media_type(name), bytes.clone());
            all.push(asset.kept_at(format!("/static/{release}/{name}")));
            if name == ICON {
                all.push(asset.at("/favicon.ico"));
            }
            all.push(asset);
        }
    }
    all
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A page with its styles and its first script in it, and the policy under which it runs: its own
/// files and sockets, nothing inline but these, nothing from elsewhere, and no text that becomes
/// markup or a script.
fn page(files: &Files, release: &str, source: &str) -> (String, String) {
    let mut styles = String::new();
    let mut scripts = String::new();
    let mut page = String::with_capacity(source.len() * 2);
    for line in source.lines() {
        if let Some(style) = named(line, "<link rel=\"stylesheet\" href=\"").and_then(|name| files.get(name)) {
            inline(&mut page, &mut styles, "style", &text(style));
        } else if let Some(script) = named(line, "<script src=\"").and_then(|name| files.get(name)) {
            inline(&mut page, &mut scripts, "script", &text(script));
        } else {
            let entry = named(line, "<script type=\"module\" src=\"");
            for module in entry.map(|name| modules(files, name)).unwrap_or_default() {
                page.extend(["  <link rel=\"modulepreload\" href=\"static/", release, "/", &module, "\">\n"]);
            }
            page.push_str(&line.replace("\"static/", &format!("\"static/{release}/")));
            page.push('\n');
        }
    }
    let policy = format!(
        "default-src 'self'; script-src 'self'{scripts}; style-src 'self'{styles}; img-src 'self' data:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'"
    );
    (page, policy)
}

/// The file of `static/` that an element on a line of its own names.
fn named<'a>(line: &'a str, beginning: &str) -> Option<&'a str> {
    let (address, _) = line.trim().strip_prefix(beginning)?.split_once('"')?;
    address.strip_prefix("static/")
}

fn inline(page: &mut String, allowed: &mut String, element: &str, content: &str) {
    let hash = STANDARD.encode(Sha256::digest(content));
    // A page that names a file twice bears it twice; the policy needs its hash once.
    if !allowed.contains(&hash) {
        allowed.extend([" 'sha256-", &hash, "'"]);
    }
    page.extend(["  <", element, ">", content, "</", element, ">\n"]);
}

/// A module and all that it imports, each once.
fn modules(files: &Files, first: &str) -> Vec<String> {
    let mut found = vec![first.to_owned()];
    let mut at = 0;
    while let Some(source) = found.get(at).map(|name| files.get(name).map(text).unwrap_or_default()) {
        for rest in source.split("from './").skip(1) {
            let name = rest.split('\'').next().unwrap_or_default();
            if files.contains_key(name) && !found.iter().any(|one| one == name) {
                found.push(name.to_owned());
            }
        }
        at += 1;
    }
    found
}

/// The service worker with the list of what it keeps.
fn worker(files: &Files, release: &str, source: &str) -> String {
    let mut kept: Vec<_> = modules(files, "chat.js").iter().map(|name| format!("static/{release}/{name}")).collect();
    kept.push(format!("static/{release}/{ICON}"));
    kept.push(MANIFEST.to_owned());
    let kept: Vec<_> = kept.iter().map(|name| format!("'{name}'")).collect();
    format!("const RELEASE = '{release}';\nconst FILES = ['{SHELL}', {}];\n{source}", kept.join(", "))
}
