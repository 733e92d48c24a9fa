//! The admin port: `/metrics`, `/healthz` (alive), `/servez` (serves, whatever its back ends do)
//! and `/readyz` (its back ends answer too). Never on the public port.

use super::head;
use super::middleware::seal;
use super::problem::normalise;
use super::request_id::RequestIds;
use crate::error::Error;
use crate::lifecycle::{DATABASE, Readiness};
use crate::metrics::Metrics;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// The admin port's router.
pub fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(render).with_state((metrics, readiness.clone())))
        .route("/healthz", get(async || Json(json!({"status": "alive"}))))
        .route("/servez", get(serves).with_state(readiness.clone()))
        .route("/readyz", get(ready).with_state(readiness))
        .fallback(async || Error::NotFound)
        .layer(from_fn_with_state(Arc::new(RequestIds::default()), through))
}

async fn through(State(ids): State<Arc<RequestIds>>, mut request: Request, next: Next) -> Response {
    let id = ids.of(request.headers());
    let response = match head::check(&mut request) {
        Ok(()) => next.run(request).await,
        Err(error) => head::refusal(error),
    };
    let mut response = normalise(response);
    seal(response.headers_mut(), &id);
    // Its few connections are for those who ask.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn render(State((metrics, readiness)): State<(Metrics, Readiness)>) -> impl IntoResponse {
    metrics.ready.set(readiness.is_ready().into());
    metrics.serving.set((readiness.serves() && readiness.is_up(DATABASE)).into());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

async fn serves(State(readiness): State<Readiness>) -> impl IntoResponse {
    let (serves, draining) = (readiness.serves(), readiness.is_draining());
    (status(serves), Json(json!({"serves": serves, "draining": draining})))
}

fn status(is_well: bool) -> StatusCode {
    if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    let ready = readiness.is_ready();
    let checks: serde_json::Map<_, _> =
        readiness.checks().into_iter().map(|(name, up)| (name.to_owned(), up.into())).collect();
    let causes: serde_json::Map<_, _> =
        readiness.causes().into_iter().map(|(name, cause)| (name.to_owned(), cause.into())).collect();
    let draining = readiness.is_draining();
    (status(ready), Json(json!({"ready": ready, "draining": draining, "checks": checks, "causes": causes})))
}
