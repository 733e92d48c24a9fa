//! `/users`: what everyone may know of others.

use super::pages::ListParams;
use axum::Json;
use axum::extract::State;
use messenger_common::auth::AuthUser;
use messenger_common::error::Result;
use messenger_common::http::extract::{PathParams, QueryParams};
use messenger_common::id::UserId;
use messenger_common::model::{Page, PublicUser};
use messenger_common::service::accounts::{self, SearchUsers};
use messenger_common::service::{Context, Query};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn router() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(search_users)).routes(routes!(get_user))
}

/// Find users
///
/// You get the active users whose name begins with `q`, in the order of their names.
#[utoipa::path(get, path = "/users", tag = "users", security(("bearer" = [])),
    params(("q" = Option<String>, Query, description = "The beginning of a username, in upper or lower case"), ListParams),
    responses((status = 200, description = "A page of users", body = Page<PublicUser>)),
    extensions(("x-problems" = json!(["invalid"]))))]
async fn search_users(
    State(ctx): State<Context>,
    _: AuthUser,
    QueryParams(query): QueryParams<Query<SearchUsers>>,
) -> Result<Json<Page<PublicUser>>> {
    accounts::search(&ctx, query).await.map(Json)
}

/// Get a user
#[utoipa::path(get, path = "/users/{user_id}", tag = "users", security(("bearer" = [])),
    params(("user_id" = UserId, Path, description = "The user")),
    responses((status = 200, description = "The public part of the account", body = PublicUser)),
    extensions(("x-problems" = json!(["user_not_found"]))))]
async fn get_user(
    State(ctx): State<Context>,
    _: AuthUser,
    PathParams(user): PathParams<UserId>,
) -> Result<Json<PublicUser>> {
    accounts::get(&ctx, user).await.map(Json)
}
