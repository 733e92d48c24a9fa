//! Swagger UI and Redoc, both on `/openapi.json`, and the style of the pages that are text alone.

use super::{Asset, SCRIPT, STYLE, media_type};
use aide::redoc::Redoc;
use std::sync::Arc;

/// Swagger UI and Redoc set styles of elements and draw with data URLs; Redoc searches in a
/// worker.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:; \
     object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// A page of text runs nothing.
const TEXT_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A page of text, in the style of the documents.
pub(crate) fn reference(path: &str, html: String) -> Asset {
    Asset::page(path, html, TEXT_POLICY)
}

/// Swagger UI at `/docs` and Redoc at `/redoc`.
pub(crate) fn documents() -> Vec<Asset> {
    let mut all = vec![
        Asset::page("/docs", include_str!("../pages/docs.html"), POLICY),
        Asset::new("/docs/start.js", SCRIPT, include_str!("../pages/docs_start.js")),
        Asset::new("/docs/documents.css", STYLE, include_str!("../pages/documents.css")),
        Asset::page("/redoc", include_str!("../pages/redoc.html"), POLICY),
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
