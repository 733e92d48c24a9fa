//! `/users`: what everyone may know of others.

use super::pages::ListParams;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use messenger_common::auth::AuthUser;
use messenger_common::error::Result;
use messenger_common::http::extract::{PathParams, QueryParams};
use messenger_common::id::UserId;
use messenger_common::model::{Page, PublicUser};
use messenger_common::service::accounts::{self, SearchUsers};
use messenger_common::service::{Context, PageQuery, Query};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn router() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(search_users))
        .routes(routes!(get_user))
        .routes(routes!(list_blocked))
        .routes(routes!(block_user, unblock_user))
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
///
/// You get what everybody may see of an account, deactivated ones too.
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

/// List the users whom you blocked
///
/// The last blocked comes first.
#[utoipa::path(get, path = "/users/blocked", tag = "users", security(("bearer" = [])), params(ListParams),
    responses((status = 200, description = "A page of users", body = Page<PublicUser>)),
    extensions(("x-problems" = json!(["invalid"]))))]
async fn list_blocked(
    State(ctx): State<Context>,
    by: AuthUser,
    QueryParams(query): QueryParams<Query<PageQuery>>,
) -> Result<Json<Page<PublicUser>>> {
    accounts::blocked(&ctx, &by, query).await.map(Json)
}

/// Block a user
///
/// They can neither write to you in your private chat nor bring you into a group, and no mention
/// of theirs notifies you. They are not notified; what they try is answered with `blocked`. The
/// same again is not an error.
#[utoipa::path(put, path = "/users/{user_id}/block", tag = "users", security(("bearer" = [])),
    params(("user_id" = UserId, Path, description = "The user")),
    responses((status = 204, description = "The user is blocked")),
    extensions(("x-problems" = json!(["user_not_found", "invalid"]))))]
async fn block_user(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams(user): PathParams<UserId>,
) -> Result<StatusCode> {
    accounts::block(&ctx, &by, user, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unblock a user
///
/// If you have not blocked them, nothing changes.
#[utoipa::path(delete, path = "/users/{user_id}/block", tag = "users", security(("bearer" = [])),
    params(("user_id" = UserId, Path, description = "The user")),
    responses((status = 204, description = "The user is not blocked")),
    extensions(("x-problems" = json!(["user_not_found", "invalid"]))))]
async fn unblock_user(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams(user): PathParams<UserId>,
) -> Result<StatusCode> {
    accounts::block(&ctx, &by, user, false).await?;
    Ok(StatusCode::NO_CONTENT)
}
