//! Files served as they stand: the web pages and the documents, all from the program itself.

use aide::redoc::Redoc;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The policy of our pages: their own files and sockets, nothing inline, nothing from elsewhere,
/// and no text that becomes markup or a script.
const STRICT: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'";
/// Swagger UI and Redoc set styles of elements and draw with data URLs; Redoc searches in a
/// worker.
const DOCUMENTS: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:; \
     object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// No page asks for a device.
const NO_DEVICES: &str = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), hid=()";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// The pages of `api/static`.
#[derive(RustEmbed)]
#[folder = "static/"]
#[allow_missing = true]
struct Pages;

/// The client of `clients/js`, which the pages load: one source for both.
#[derive(RustEmbed)]
#[folder = "../clients/js/src/"]
#[allow_missing = true]
struct Client;

/// A file with the address at which it is served. Cloning shares its bytes.
#[derive(Clone)]
pub(crate) struct Asset(Arc<Inner>);

struct Inner {
    path: String,
    bytes: Bytes,
    media_type: &'static str,
    policy: Option<&'static str>,
    tag: Option<HeaderValue>,
}

impl Asset {
    pub(crate) fn new(path: impl Into<String>, media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let tag = HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish())).ok();
        Self(Arc::new(Inner { path: path.into(), bytes, media_type, policy: None, tag }))
    }

    fn page(path: impl Into<String>, bytes: impl Into<Bytes>, policy: &'static str) -> Self {
        let mut asset = Self::new(path, HTML, bytes);
        if let Some(inner) = Arc::get_mut(&mut asset.0) {
            inner.policy = Some(policy);
        }
        asset
    }

    /// The same at another address.
    fn at(&self, path: &str) -> Self {
        let Inner { bytes, media_type, policy, tag, .. } = &*self.0;
        let inner =
            Inner { path: path.to_owned(), bytes: bytes.clone(), media_type, policy: *policy, tag: tag.clone() };
        Self(Arc::new(inner))
    }

    /// Whether people see it by itself.
    pub(crate) fn is_page(&self) -> bool {
        self.0.policy.is_some()
    }

    /// Where it is served.
    pub(crate) fn path(&self) -> &str {
        &self.0.path
    }

    /// The file, or 304 for who has it already (RFC 9110, section 13.1.2). It is asked for anew
    /// each time: a new release of the program shows at once.
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let had = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let fresh = self.0.tag.as_ref().and_then(|tag| tag.to_str().ok()).is_some_and(|tag| had.contains(tag));
        let mut response = if fresh {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, self.0.media_type)], self.0.bytes.clone()).into_response()
        };
        let out = response.headers_mut();
        out.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Some(tag) = &self.0.tag {
            out.insert(ETAG, tag.clone());
        }
        if let Some(policy) = self.0.policy {
            out.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
            out.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
            out.insert(PERMISSIONS_POLICY, HeaderValue::from_static(NO_DEVICES));
        }
        response
    }
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
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The pages of `api/static` and the client: HTML under its own name, what it loads under
/// `/static/`.
pub(crate) fn pages() -> Vec<Asset> {
    let mut all: Vec<_> = folder::<Pages>().chain(folder::<Client>()).collect();
    let icon = all.iter().find(|asset| asset.path() == "/static/icon.svg").map(|asset| asset.at("/favicon.ico"));
    all.extend(icon);
    all
}

fn folder<F: RustEmbed>() -> impl Iterator<Item = Asset> {
    F::iter().filter_map(|name| {
        let bytes = match F::get(&name)?.data {
            std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Some(match media_type(&name) {
            HTML => Asset::page(format!("/{name}"), bytes, STRICT),
            media_type => Asset::new(format!("/static/{name}"), media_type, bytes),
        })
    })
}

/// Swagger UI at `/docs` and Redoc at `/redoc`, both on `/openapi.json`.
pub(crate) fn documents() -> Vec<Asset> {
    let mut all = vec![
        Asset::page("/docs", include_str!("pages/docs.html"), DOCUMENTS),
        Asset::new("/docs/start.js", SCRIPT, include_str!("pages/docs_start.js")),
        Asset::page("/redoc", include_str!("pages/redoc.html"), DOCUMENTS),
        Asset::new("/redoc/redoc.standalone.js", SCRIPT, redoc()),
    ];
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    for name in ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"] {
        if let Ok(Some(file)) = utoipa_swagger_ui::serve(name, config.clone()) {
            all.push(Asset::new(format!("/docs/{name}"), media_type(name), file.bytes.into_owned()));
        }
    }
    all
}

/// Redoc's script, which its crate gives out only inside a page; without the logo that it would
/// load from elsewhere.
fn redoc() -> String {
    let page = Redoc::new("").html();
    let script =
        page.split_once("<script>").and_then(|(_, rest)| rest.rsplit_once("Redoc.init(")).map(|(script, _)| script);
    script.unwrap_or_default().trim().replace("https://cdn.redoc.ly/redoc/logo-mini.svg", "data:,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_path(path: &str) -> Asset {
        pages().into_iter().chain(documents()).find(|asset| asset.path() == path).expect(path)
    }

    #[test]
    fn every_document_is_there_and_nothing_comes_from_elsewhere() {
        for path in ["/docs", "/redoc", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/favicon-32x32.png"]
        {
            assert!(!by_path(path).0.bytes.is_empty(), "{path}");
        }
        let redoc = by_path("/redoc/redoc.standalone.js");
        assert!(redoc.0.bytes.len() > 500_000);
        assert!(!String::from_utf8_lossy(&redoc.0.bytes).contains("cdn.redoc"));
        for path in ["/docs", "/redoc"] {
            let page = by_path(path);
            let text = String::from_utf8_lossy(&page.0.bytes).into_owned();
            assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
            assert!(!text.contains("<script>"), "{path} has an inline script");
        }
    }

    #[test]
    fn a_page_opens_its_own_sockets_only_and_asks_for_no_device() {
        for path in ["/websocket_test.html", "/websocket_test_new.html"] {
            let answer = by_path(path).answer(&HeaderMap::new());
            let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().expect("text");
            assert!(!policy.contains("ws:") && !policy.contains("unsafe"), "{policy}");
            assert_eq!(answer.headers()[OPENER_POLICY], "same-origin");
            assert_eq!(answer.headers()[PERMISSIONS_POLICY], NO_DEVICES);
        }
    }

    #[test]
    fn who_has_it_is_told_so() {
        let page = by_path("/docs");
        let first = page.answer(&HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        assert!(first.headers().contains_key(CONTENT_SECURITY_POLICY));
        let tag = first.headers()[ETAG].clone();
        let again = page.answer(&HeaderMap::from_iter([(IF_NONE_MATCH, tag)]));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = page.answer(&HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("\"other\""))]));
        assert_eq!(other.status(), StatusCode::OK);
    }
}
