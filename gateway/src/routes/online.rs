//! The users who are online, answered from any node.

use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use messenger_common::auth::AuthUser;
use messenger_common::error::Result;
use messenger_common::http::extract::{PathParams, QueryParams};
use messenger_common::id::ChatId;
use messenger_common::model::OnlinePage;
use messenger_common::service::{PageQuery, Query, online};

pub(super) async fn everywhere(
    State(gateway): State<Gateway>,
    _by: AuthUser,
    QueryParams(query): QueryParams<Query<PageQuery>>,
) -> Result<Json<OnlinePage>> {
    online::everywhere(&gateway.hub.ctx, query).await.map(Json)
}

pub(super) async fn in_chat(
    State(gateway): State<Gateway>,
    by: AuthUser,
    PathParams(chat): PathParams<ChatId>,
    QueryParams(query): QueryParams<Query<PageQuery>>,
) -> Result<Json<OnlinePage>> {
    online::in_chat(&gateway.hub.ctx, &by, chat, query).await.map(Json)
}
