//! Files served as they stand: the web pages and the documents, all from the program itself.

mod documents;
mod site;

pub(crate) use documents::{documents, reference};
pub(crate) use site::pages;

use axum::body::Bytes;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::{Arc, OnceLock};

/// No page asks for a device.
const NO_DEVICES: &str = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), hid=()";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// A smaller file fits into one packet as it is.
const PACKED_FROM_BYTES: usize = 1024;

/// A file with the address at which it is served. Cloning shares its bytes.
#[derive(Clone)]
pub(crate) struct Asset(Arc<Inner>);

struct Inner {
    path: String,
    bytes: Bytes,
    media_type: &'static str,
    policy: Option<HeaderValue>,
    tag: String,
    /// Whether the address names the content, so that it never changes.
    kept: bool,
    /// Made when the first client asks for it.
    packed: OnceLock<Option<Bytes>>,
}

impl Asset {
    pub(crate) fn new(path: impl Into<String>, media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let tag = digest([&bytes[..]]);
        let (path, packed) = (path.into(), OnceLock::new());
        Self(Arc::new(Inner { path, bytes, media_type, policy: None, tag, kept: false, packed }))
    }

    fn page(path: impl Into<String>, bytes: impl Into<Bytes>, policy: &str) -> Self {
        Self::new(path, HTML, bytes).under(policy)
    }

    /// The same under a policy of its own: what is no page may load nothing.
    fn under(mut self, policy: &str) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.policy = HeaderValue::try_from(policy).ok();
        }
        self
    }

    /// The same at another address.
    fn at(&self, path: impl Into<String>) -> Self {
        let Inner { bytes, media_type, policy, tag, kept, .. } = &*self.0;
        let (policy, tag, packed) = (policy.clone(), tag.clone(), OnceLock::new());
        let (path, bytes) = (path.into(), bytes.clone());
        Self(Arc::new(Inner { path, bytes, media_type, policy, tag, kept: *kept, packed }))
    }

    /// The same at an address that names its content: browsers need not ask for it again.
    fn kept_at(&self, path: impl Into<String>) -> Self {
        let mut asset = self.at(path);
        if let Some(inner) = Arc::get_mut(&mut asset.0) {
            inner.kept = true;
        }
        asset
    }

    /// Whether people see it by itself.
    pub(crate) fn is_page(&self) -> bool {
        self.0.media_type == HTML
    }

    /// Whether its address names its content.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.kept
    }

    /// Where it is served.
    pub(crate) fn path(&self) -> &str {
        &self.0.path
    }

    /// The file, compressed where the client takes it, or 304 for one that has it already (RFC
    /// 9110, section 13.1.2). Unless its address names its content, a browser asks for it anew each
    /// time: a new release of the program shows at once.
    pub(crate) async fn answer(&self, headers: &HeaderMap) -> Response {
        let inner = &*self.0;
        let packed = if takes_gzip(headers) { self.packed().await } else { None };
        let had = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut response = if had.contains(&inner.tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, inner.media_type)], packed.unwrap_or(&inner.bytes).clone()).into_response()
        };
        let whole = response.status() == StatusCode::OK;
        let out = response.headers_mut();
        let cache = if inner.kept { "public, max-age=31536000, immutable" } else { "no-cache" };
        out.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
        out.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if packed.is_some() && whole {
            out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let suffix = if packed.is_some() { "-gzip" } else { "" };
        if let Ok(tag) = HeaderValue::try_from(format!("\"{}{suffix}\"", inner.tag)) {
            out.insert(ETAG, tag);
        }
        if let Some(policy) = &inner.policy {
            out.insert(CONTENT_SECURITY_POLICY, policy.clone());
            out.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
            out.insert(PERMISSIONS_POLICY, HeaderValue::from_static(NO_DEVICES));
        }
        response
    }

    /// Swagger UI and Redoc take tens of milliseconds to compress, too long for a thread that
    /// answers.
    async fn packed(&self) -> Option<&Bytes> {
        if !self.is_packed() {
            return None;
        }
        if self.0.packed.get().is_none() {
            let asset = self.clone();
            let pack = move || asset.0.packed.get_or_init(|| gzip(&asset.0.bytes)).is_some();
            tokio::task::spawn_blocking(pack).await.ok()?;
        }
        self.0.packed.get()?.as_ref()
    }

    fn is_packed(&self) -> bool {
        let Inner { media_type, bytes, .. } = &*self.0;
        let text = media_type.starts_with("text/") || media_type.ends_with("json") || media_type.ends_with("xml");
        text && bytes.len() >= PACKED_FROM_BYTES
    }
}

fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::default());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Whether gzip is named and not refused (RFC 9110, section 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|one| {
        let (name, more) = one.split_once(';').unwrap_or((one, ""));
        let quality = more.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && quality.unwrap_or(1.0) > 0.0
    })
}

/// A word for this content, the same on every node of a release.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let head = hasher.finalize().iter().take(8).fold(0_u64, |head, byte| head << 8 | u64::from(*byte));
    format!("{head:016x}")
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => HTML,
        "js" => SCRIPT,
        "css" => STYLE,
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
