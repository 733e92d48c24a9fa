//! Joining a group: one round trip under the chat's lock, and the view after the commit.

use super::PostgresStore;
use crate::error::{Error, Result};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Member, Role};
use crate::store::changes::members as changes;
use crate::store::stored_time::Time;
use crate::store::{Chats, Committed, OutboxId};
use sqlx::FromRow;

/// A row of `messenger_join_v1`.
#[derive(FromRow)]
struct JoinRow {
    outcome: i32,
    seq: Option<Seq>,
    joined_at: Option<Time>,
    username: Option<String>,
    outbox_id: Option<i64>,
}

pub(super) async fn join(
    store: &PostgresStore,
    chat: ChatId,
    user: UserId,
    max_members: i64,
) -> Result<(Chat, Committed)> {
    let row: JoinRow = store
        .run(|| async {
            let mut lease = store.pool.lease().await?;
            let row = sqlx::query_as(
                "select outcome, seq, joined_at, username, outbox_id from messenger_join_v1($1, $2, $3)",
            );
            let row = row.bind(chat).bind(user).bind(max_members).fetch_one(lease.connection()).await;
            lease.end_written(row).await
        })
        .await?;
    let seen = async { store.chat(chat, user).await?.ok_or(Error::ChatNotFound) };
    match (row.outcome, row.seq, row.joined_at, row.username) {
        (0, Some(seq), Some(Time(joined_at)), Some(username)) => {
            let seen = seen.await?;
            let newcomer = Member { user_id: user, username, role: Role::Member, joined_at };
            let committed = changes::joined(chat, &newcomer, seq, &seen, row.outbox_id.map(OutboxId));
            Ok((seen, committed))
        }
        (1, ..) => Err(Error::ChatNotFound),
        (2, ..) => Ok((seen.await?, Committed::default())),
        (3, ..) => Err(Error::GroupFull),
        (4, ..) => Err(Error::UserNotFound),
        _ => store.change(|tx| Box::pin(changes::join(tx, chat, user, max_members))).await,
    }
}
