//! The messenger's REST server: contract section 2, its documents and the two web pages.
//!
//! Depends on `messenger_common` alone, which knows the rules; here a handler takes a request
//! apart and shapes the answer.
//!
//! # Rooms, top to bottom
//!
//! A room imports rooms that stand below it in this list, and no other.
//!
//! - `asyncapi`: the WebSocket's document, for programs and for people
//! - `openapi`: the document of the calls
//! - `routes`: the handlers
//! - `samples`: an example of each shape
//! - `asset`: files that the program serves

mod asset;
mod asyncapi;
mod openapi;
mod routes;
mod samples;

use crate::asset::Asset;
use crate::routes::pages::{self, About, Home};
use axum::Router;
use axum::middleware::from_fn_with_state;
use messenger_common::config::Config;
use messenger_common::http::Bound;
use messenger_common::http::idempotency::{self, Keyed};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::program::{self, App, Started};
use messenger_common::service::Context;
use serde_json::Value;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The routes of the REST server, without the layers that every program puts around its own.
pub fn router(context: Context, config: &Config, lifecycle: &Lifecycle) -> Router {
    let (api, handlers) = routes::api().split_for_parts();
    let (home, page) = pages::home().split_for_parts();
    let about = About::of(config);
    let openapi = openapi::document(&about, &config.limits, handlers.merge_from(page));
    let asyncapi = asyncapi::document(&about, &config.limits, &openapi);
    let mut assets = pages::fixed();
    let home_page = Home { about, page: pages::client(&assets) };
    assets.push(json("/openapi.json", &openapi));
    assets.push(json("/asyncapi.json", &asyncapi));
    assets.push(asset::reference("/asyncapi", asyncapi::page::html(&asyncapi, &config.limits)));
    let keyed = Keyed { context: context.clone(), lifecycle: lifecycle.clone(), paths: &routes::KEYED };
    let api = api.route_layer(from_fn_with_state(keyed, idempotency::once));
    let pages = home.with_state(Arc::new(home_page)).merge(pages::assets(assets));
    let pages = pages.route_layer(from_fn_with_state(context.clone(), pages::priced));
    api.with_state(context).merge(pages)
}

/// The REST server, from its listeners to its exit code.
pub async fn run(config: Config, public: Bound, admin: TcpListener, lifecycle: Lifecycle) -> ExitCode {
    let build = |started: &Started<'_>| Ok(App::of(router(started.context.clone(), started.config, started.lifecycle)));
    program::run(config, public, admin, lifecycle, build).await
}

fn json(path: &str, document: &Value) -> Asset {
    Asset::new(path, "application/json", document.to_string())
}
