//! `GET /`, and everything that is served as it stands.

use crate::asset::{self, Asset};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, VARY};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use messenger_common::config::Config;
use messenger_common::error::{Error, Result};
use messenger_common::http::client_ip::ClientIp;
use messenger_common::http::extract::PathParams;
use messenger_common::service::Context;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// A page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "what the document says of `PageQuery`")]
pub(super) struct ListParams {
    /// How many items you want.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<i64>,
    /// The `next_cursor` of an earlier page.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

/// The running program.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct About {
    /// The project's name.
    #[schema(example = "MessengerAPI")]
    pub(crate) name: String,
    /// Its description.
    #[schema(example = "API for a messenger")]
    pub(crate) description: String,
    /// Its version.
    #[schema(example = "0.1.0")]
    pub(crate) version: String,
}

impl About {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            name: config.project_name.clone(),
            description: config.description.clone(),
            version: config.version.clone(),
        }
    }
}

/// The choices of `GET /`.
pub(crate) struct Home {
    pub(crate) about: About,
    pub(crate) page: Option<Asset>,
}

/// The page at `GET /`.
pub(crate) fn home() -> OpenApiRouter<Arc<Home>> {
    OpenApiRouter::new()
        .routes(routes!(root))
        .route("/invite/{code}", get(invited))
        .route("/invite/{code}/", get(invited))
}

/// Each asset at its address.
pub(crate) fn assets(all: Vec<Asset>) -> axum::Router {
    let names: HashMap<_, _> = all
        .iter()
        .filter_map(|asset| Some((asset.path().strip_prefix("/static/")?.to_owned(), asset.clone())))
        .collect();
    let names = Arc::new(names);
    // One route for the files of every release: a metric bears it. While a release is rolled out, a
    // page of one node asks another for its files.
    let of_release = get(async move |PathParams((release, name)): PathParams<(String, String)>, headers: HeaderMap| {
        let own = names.get(&format!("{release}/{name}"));
        match own.or_else(|| names.get(&name)) {
            Some(asset) => asset.answer(&headers).await,
            None => Error::NotFound.into_response(),
        }
    });
    let router = axum::Router::new().route("/static/{release}/{name}", of_release);
    all.into_iter().filter(|asset| !asset.is_kept()).fold(router, |router, asset| {
        let path = asset.path().to_owned();
        // A page loads its files from beside it: under the page's own name there is nothing.
        let router = if asset.is_page() {
            let name = path.trim_start_matches('/').to_owned();
            router
                .route(&format!("{path}/"), get(move || std::future::ready(Redirect::permanent(&format!("../{name}")))))
        } else {
            router
        };
        router.route(&path, get(async move |headers: HeaderMap| asset.answer(&headers).await))
    })
}

/// The layer around all that is served as it stands: its address pays for it.
pub(crate) async fn priced(
    State(ctx): State<Context>,
    from: ClientIp,
    request: Request,
    next: Next,
) -> Result<Response> {
    ctx.charge_page(from.0).await?;
    Ok(next.run(request).await)
}

/// The web client among them.
pub(crate) fn client(all: &[Asset]) -> Option<Asset> {
    all.iter().find(|asset| asset.path() == "/websocket_test_new.html").cloned()
}

/// All pages and documents that need no configuration.
pub(crate) fn fixed() -> Vec<Asset> {
    let mut all = asset::pages();
    all.extend(asset::documents());
    all
}

/// See what runs here
///
/// A browser gets the web client, any other program JSON.
#[utoipa::path(get, path = "/", tag = "pages",
    responses((status = 200, description = "Name, description and version",
        content((About = "application/json"), (String = "text/html")))),
    extensions(("x-problems" = json!(["rate_limited"]))))]
async fn root(State(home): State<Arc<Home>>, headers: HeaderMap) -> Response {
    // Several lines are one list.
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut response = match &home.page {
        Some(page) if prefers_html(&accept.join(",")) => page.answer(&headers).await,
        _ => Json(&home.about).into_response(),
    };
    response.headers_mut().append(VARY, axum::http::HeaderValue::from_static("accept"));
    response
}

/// An invitation's address as friends are sent it: leads to the page, which shows what it is for.
/// The way is relative, since a proxy may keep a path of its own before it.
async fn invited(PathParams(code): PathParams<String>, uri: Uri) -> Result<Redirect> {
    let root = if uri.path().ends_with('/') { "../.." } else { ".." };
    let sound = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if sound { Ok(Redirect::to(&format!("{root}/#/invite/{code}"))) } else { Err(Error::InviteNotFound) }
}

/// Whether HTML is named, and JSON not preferred to it (RFC 9110, section 12.5.1).
fn prefers_html(accept: &str) -> bool {
    let quality = |wanted: &str| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next()?.eq_ignore_ascii_case(wanted);
            let q = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('='));
            let q = q.map_or(Some(1.0), |q| q.parse::<f32>().ok());
            q.filter(|_| named)
        });
        ranges.fold(0.0, f32::max)
    };
    let (html, json) = (quality("text/html"), quality("application/json"));
    html > 0.0 && html >= json
}

#[cfg(test)]
mod tests {
    use super::prefers_html;

    #[test]
    fn a_browser_gets_the_page_and_a_program_json() {
        assert!(prefers_html("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"));
        assert!(prefers_html("application/json;q=0.5, text/html"));
        for json in
            ["", "*/*", "application/json", "application/json, text/html;q=0.9", "text/html;Q=0", "text/html;q=x"]
        {
            assert!(!prefers_html(json), "{json}");
        }
    }
}
