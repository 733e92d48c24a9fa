//! `/auth`: accounts and sessions.

use super::pages::ListParams;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderName};
use messenger_common::auth::AuthUser;
use messenger_common::error::Result;
use messenger_common::http::caller::Public;
use messenger_common::http::client_ip::ClientIp;
use messenger_common::http::extract::{FormOrJson, JsonBody, PathParams, ProgramName, QueryParams};
use messenger_common::id::SessionId;
use messenger_common::model::{Page, SessionInfo, TokenPair, User};
use messenger_common::service::accounts::{self, Register, UpdateMe};
use messenger_common::service::sessions::{self, Login, Refresh};
use messenger_common::service::{Context, PageQuery, Query, Unchecked};
use utoipa_axum::{router::OpenApiRouter, routes};

/// No cache on the way may keep tokens (RFC 6749, section 5.1).
type Tokens = ([(HeaderName, &'static str); 1], Json<TokenPair>);

pub(super) fn router() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(list_sessions, end_other_sessions))
        .routes(routes!(end_session))
        .routes(routes!(me, update_me, delete_me))
}

/// Create an account
///
/// The username and the e-mail address must be unique; upper and lower case count as the same.
/// If the answer was lost, send the same request again: for ten minutes you get the same account.
/// With an invitation into a group you are its member at once. The server may ask for one.
#[utoipa::path(post, path = "/auth/register", tag = "auth", request_body = Register,
    responses((status = 201, description = "Your new account", body = User)),
    extensions(("x-problems" = json!(["username_taken", "email_taken", "registration_closed", "invite_not_found", "group_full", "rate_limited"]))))]
async fn register(
    State(ctx): State<Context>,
    Public(from, JsonBody(body)): Public<JsonBody<Unchecked<Register>>>,
) -> Result<(StatusCode, Json<User>)> {
    let user = accounts::register(&ctx, from, body).await?;
    Ok((StatusCode::CREATED, Json(user)))
}

/// Log in
///
/// Send your username or your e-mail address. A wrong password and an unknown user get the same
/// answer, after the same time. Programs that speak OAuth2 may send both as a form.
#[utoipa::path(post, path = "/auth/login", tag = "auth",
    request_body = Login,
    responses((status = 200, description = "The tokens of a new session", body = TokenPair)),
    extensions(("x-problems" = json!(["bad_credentials", "account_disabled", "rate_limited"]))))]
async fn login(
    State(ctx): State<Context>,
    ProgramName(program): ProgramName,
    Public(from, FormOrJson(body)): Public<FormOrJson<Unchecked<Login>>>,
) -> Result<Tokens> {
    Ok(not_kept(sessions::login(&ctx, from, program, body).await?))
}

/// Refresh the tokens
///
/// Each refresh token works once; the answer has the next one. Using one again ends the whole
/// session.
#[utoipa::path(post, path = "/auth/refresh", tag = "auth", request_body = Refresh,
    responses((status = 200, description = "New tokens of the same session", body = TokenPair)),
    extensions(("x-problems" = json!(["token_invalid", "token_expired", "token_reused", "account_disabled", "rate_limited"]))))]
async fn refresh(
    State(ctx): State<Context>,
    Public(from, JsonBody(body)): Public<JsonBody<Unchecked<Refresh>>>,
) -> Result<Tokens> {
    Ok(not_kept(sessions::refresh(&ctx, from, body).await?))
}

/// Log out
///
/// This ends the session. Its refresh token stops at once; its WebSockets and its access tokens
/// stop within a second on every node.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "The session has ended")))]
async fn logout(State(ctx): State<Context>, by: AuthUser) -> Result<StatusCode> {
    sessions::logout(&ctx, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List your sessions
///
/// You get the sessions that go on, the newest first.
#[utoipa::path(get, path = "/auth/sessions", tag = "auth", security(("bearer" = [])), params(ListParams),
    responses((status = 200, description = "A page of your sessions", body = Page<SessionInfo>)),
    extensions(("x-problems" = json!(["invalid"]))))]
async fn list_sessions(
    State(ctx): State<Context>,
    by: AuthUser,
    QueryParams(query): QueryParams<Query<PageQuery>>,
) -> Result<Json<Page<SessionInfo>>> {
    sessions::list(&ctx, &by, query).await.map(Json)
}

/// End a session
///
/// It ends as by a logout: its refresh token stops at once, its WebSockets and its access tokens
/// within a second on every node. You may end the session that you ask with.
#[utoipa::path(delete, path = "/auth/sessions/{session_id}", tag = "auth", security(("bearer" = [])),
    params(("session_id" = SessionId, Path, description = "One of your sessions")),
    responses((status = 204, description = "The session has ended")),
    extensions(("x-problems" = json!(["session_not_found"]))))]
async fn end_session(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams(session): PathParams<SessionId>,
) -> Result<StatusCode> {
    sessions::end(&ctx, &by, session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End all other sessions
///
/// Only the session that you ask with goes on.
#[utoipa::path(delete, path = "/auth/sessions", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "All your other sessions have ended")))]
async fn end_other_sessions(State(ctx): State<Context>, by: AuthUser) -> Result<StatusCode> {
    sessions::end_others(&ctx, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get your account
///
/// Only you see your e-mail address.
#[utoipa::path(get, path = "/auth/me", tag = "auth", security(("bearer" = [])),
    responses((status = 200, description = "Your account", body = User)))]
async fn me(State(ctx): State<Context>, by: AuthUser) -> Result<Json<User>> {
    accounts::me(&ctx, &by).await.map(Json)
}

/// Change your e-mail address or password
///
/// Both need `current_password`. A new password ends all your other sessions.
#[utoipa::path(patch, path = "/auth/me", tag = "auth", security(("bearer" = [])), request_body = UpdateMe,
    responses((status = 200, description = "Your account", body = User)),
    extensions(("x-problems" = json!(["wrong_password", "email_taken", "rate_limited"]))))]
async fn update_me(
    State(ctx): State<Context>,
    by: AuthUser,
    from: ClientIp,
    JsonBody(body): JsonBody<Unchecked<UpdateMe>>,
) -> Result<Json<User>> {
    accounts::update_me(&ctx, &by, from.0, body).await.map(Json)
}

/// Deactivate your account
///
/// `is_active` becomes false, and all your sessions end.
#[utoipa::path(delete, path = "/auth/me", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "Your account is deactivated")))]
async fn delete_me(State(ctx): State<Context>, by: AuthUser) -> Result<StatusCode> {
    accounts::delete_me(&ctx, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn not_kept(pair: TokenPair) -> Tokens {
    ([(CACHE_CONTROL, "no-store")], Json(pair))
}
