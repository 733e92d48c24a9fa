//! The log of every chat and the outbox.

use super::PostgresStore;
use super::chats::views;
use super::connection::ServerConnection;
use super::prune::prune;
use crate::error::Result;
use crate::event::LogEvent;
use crate::id::{ChatId, Seq, UserId};
use crate::store::entry::{LogRow, log_columns, page};
use crate::store::fault::{Fault, is_lost};
use crate::store::kinds::kinds;
use crate::store::log::{TAIL, in_the_order_asked};
use crate::store::outbox::{EVENTS_PER_CLAIM, OutboxPayload, rebuilt};
use crate::store::stored_time::Time;
use crate::store::{CLAIM_LEASE, Committed, Log, LogAfter, LogHead, LogPage, OutboxId, Tail, TailMark};
use async_trait::async_trait;
use sqlx::FromRow;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// A row of the piece that was asked for at this place, counted from one.
#[derive(FromRow)]
struct Placed {
    place: i64,
    #[sqlx(flatten)]
    row: LogRow,
}

#[async_trait]
impl Log for PostgresStore {
    async fn logs_after(&self, asked: &[LogAfter]) -> Result<Vec<Option<LogPage>>> {
        let chats: Vec<i64> = asked.iter().map(|one| one.chat_id.0).collect();
        let after: Vec<i64> = asked.iter().map(|one| one.after.0).collect();
        let limits: Vec<i64> = asked.iter().map(|one| i64::try_from(one.limit).unwrap_or(i64::MAX)).collect();
        let rows: Vec<Placed> = self
            .rows(|| {
                sqlx::query_as(concat!(
                    "select p.place, ",
                    log_columns!(),
                    " from unnest($1::bigint[], $2::bigint[], $3::bigint[]) with ordinality as p (chat_id, after, most, place)
                     cross join lateral (select * from chats c where c.id = p.chat_id limit 1) c
                     left join lateral (
                         select * from log o where o.chat_id = c.id and o.seq > greatest(p.after, c.floor)
                         order by o.seq limit p.most
                     ) e on true
                     -- Each by its key, whatever the plan expects of so many chats.
                     left join lateral (
                         select * from messages x where x.id = e.message_id and e.kind in ",
                    kinds!(of_a_message),
                    " limit 1
                     ) x on true
                     left join lateral (select * from users a where a.id = x.author_id limit 1) a on true
                     left join lateral (select * from users u where u.id = e.user_id limit 1) u on true
                     order by p.place, e.seq"
                ))
                .bind(&chats)
                .bind(&after)
                .bind(&limits)
            })
            .await?;
        let mut rows = rows.into_iter().peekable();
        let pages = (1..).take(asked.len()).map(|place| {
            let own = std::iter::from_fn(|| rows.next_if(|placed| placed.place == place));
            page(own.map(|placed| placed.row))
        });
        Ok(pages.collect())
    }

    async fn heads(&self, asked: &[(ChatId, Seq)]) -> Result<Vec<Option<LogHead>>> {
        let (chats, seqs): (Vec<i64>, Vec<i64>) = asked.iter().map(|(chat, seq)| (chat.0, seq.0)).unzip();
        let rows: Vec<(i64, Seq, Option<Time>)> = self
            .rows(|| {
                sqlx::query_as(
                    "select p.ord, c.seq, e.created_at
                     from unnest($1::bigint[], $2::bigint[]) with ordinality as p (chat_id, seq, ord)
                     join chats c on c.id = p.chat_id
                     left join lateral (
                         select o.created_at from log o where o.chat_id = p.chat_id and o.seq = p.seq limit 1
                     ) e on p.seq > 0",
                )
                .bind(&chats)
                .bind(&seqs)
            })
            .await?;
        Ok(in_the_order_asked(asked.len(), rows))
    }

    async fn tail(&self, since: Option<TailMark>, within: Duration) -> Result<Tail> {
        // The mark first: what is given after it belongs to the next look.
        let given: Option<(i64,)> =
            self.row(|| sqlx::query_as("select last_value - (not is_called)::int from messages_id_seq")).await?;
        let mark = TailMark(given.map_or(0, |(id,)| id));
        let Some(since) = since else { return Ok(Tail { mark, moved: Some(Vec::new()) }) };
        if !(0..=TAIL).contains(&(mark.0 - since.0)) {
            return Ok(Tail { mark, moved: None });
        }
        let moved = self
            .rows(|| {
                // Bounds on both sides: for one alone a plan would expect a third of the table.
                sqlx::query_as(
                    "select t.chat_id, max(t.seq) from (
                         select chat_id, seq from messages where id > $1 and id <= $2
                         union all
                         select chat_id, seq from events
                         where created_at between now() - make_interval(secs => $3) and now() + interval '1 minute'
                     ) t group by t.chat_id",
                )
                .bind(since.0)
                .bind(mark.0)
                .bind(within.as_secs_f64())
            })
            .await?;
        Ok(Tail { mark, moved: Some(moved) })
    }

    async fn outbox_remove(&self, ids: &[OutboxId]) -> Result<()> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let removed =
                sqlx::query("delete from outbox where id = any ($1)").bind(&ids).execute(lease.connection()).await;
            // To remove it again does no harm.
            lease.end(removed).await.map(drop)
        })
        .await
    }

    async fn outbox_claim(&self, age: Duration, limit: usize) -> Result<Vec<Committed>> {
        self.run(|| async {
            let losses = self.pool.losses();
            let mut lease = self.pool.lease().await?;
            let claimed = async {
                let connection = lease.connection();
                let low = self.outbox.get(connection, losses).await?;
                claim(connection, low, age, limit).await
            };
            let claimed = claimed.await;
            let claimed = lease.end(claimed).await?;
            if claimed.is_empty() {
                return Ok(Vec::new());
            }
            let read = |(id, payload): (i64, String)| OutboxPayload::read(id, &payload);
            let entries: Vec<_> = claimed.into_iter().filter_map(read).collect();
            match self.rebuild(&entries).await {
                Err(Fault::Sql(error)) if !is_lost(&error) => {}
                other => return other,
            }
            // One of them cannot be rebuilt. It must not hold up the others.
            let mut good = Vec::with_capacity(entries.len());
            for entry in &entries {
                match self.rebuild(std::slice::from_ref(entry)).await {
                    Ok(one) => good.extend(one),
                    Err(Fault::Sql(error)) if !is_lost(&error) => {
                        tracing::error!(outbox.id = entry.0.0, %error, "an outbox entry cannot be rebuilt");
                    }
                    Err(fault) => return Err(fault),
                }
            }
            Ok(good)
        })
        .await
    }

    async fn outbox_pending(&self) -> Result<i64> {
        let count: Option<(i64,)> =
            self.row(|| sqlx::query_as("select count(*) from (select from outbox limit 10000) o")).await?;
        Ok(count.map_or(0, |(count,)| count))
    }

    async fn prune(&self, older_than: Duration, limit: usize) -> Result<usize> {
        self.run(|| prune(&self.pool, older_than, limit)).await
    }
}

impl PostgresStore {
    pub(super) async fn rebuild(&self, entries: &[(OutboxId, OutboxPayload)]) -> Result<Vec<Committed>, Fault> {
        let mut lease = self.pool.lease().await?;
        let rebuilt = rebuild(lease.connection(), entries).await;
        lease.end(rebuilt).await
    }
}

/// Claims entries of that age from that id on. A time in the future was written before the
/// server's clock stepped back, or by another primary: the entry is free at once. No claim lasts
/// longer than its lease.
async fn claim(
    connection: &mut ServerConnection,
    low: i64,
    age: Duration,
    limit: usize,
) -> Result<Vec<(i64, String)>, sqlx::Error> {
    sqlx::query_as(
        "with free as materialized (
             select id, size from outbox
             where id >= $5
               and (created_at < clock_timestamp() - make_interval(secs => $1) or created_at > clock_timestamp())
               and (claimed_until is null or claimed_until < clock_timestamp()
                    or claimed_until > clock_timestamp() + make_interval(secs => $4))
             order by id limit $2 for update skip locked
         ), few as (
             select id from (select id, sum(size) over (order by id) - size as before from free) f where before < $3
         ), claimed as (
             update outbox o set claimed_until = clock_timestamp() + make_interval(secs => $4)
             where o.id = any (array(select id from few)) returning o.id, o.payload::text as payload
         )
         select id, payload from claimed order by id",
    )
    .bind(age.as_secs_f64())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(EVENTS_PER_CLAIM)
    .bind(CLAIM_LEASE.as_secs_f64())
    .bind(low)
    .fetch_all(connection)
    .await
}

/// Rebuilds what these entries stand for, as it is now.
async fn rebuild(
    connection: &mut ServerConnection,
    entries: &[(OutboxId, OutboxPayload)],
) -> Result<Vec<Committed>, sqlx::Error> {
    let mut ranges = Vec::new();
    for (index, (_, payload)) in entries.iter().enumerate() {
        ranges.extend(payload.events.iter().map(|(chat, first, last)| (index, *chat, *first, *last)));
    }
    let shown: BTreeSet<_> = entries.iter().flat_map(|(_, payload)| payload.shown()).collect();
    let shown: Vec<_> = shown.into_iter().collect();
    let mut events: Vec<Vec<LogEvent>> = entries.iter().map(|_| Vec::new()).collect();
    for (index, event) in events_of(connection, &ranges).await? {
        if let Some(list) = events.get_mut(index) {
            list.push(event);
        }
    }
    // After the events: a removal that their texts are newer than shows here.
    let seen = if shown.is_empty() { Vec::new() } else { views(connection, &shown).await? };
    let seen: HashMap<_, _> = seen.into_iter().map(|(user, chat)| ((chat.id, user), chat)).collect();
    let pairs = pairs_of(connection, &ranges).await?;
    Ok(entries.iter().zip(events).map(|((id, payload), events)| rebuilt(*id, payload, events, &seen, &pairs)).collect())
}

type Range = (usize, ChatId, Seq, Seq);

async fn events_of(connection: &mut ServerConnection, ranges: &[Range]) -> Result<Vec<(usize, LogEvent)>, sqlx::Error> {
    #[derive(sqlx::FromRow)]
    struct Row {
        ord: i64,
        #[sqlx(flatten)]
        log: LogRow,
    }
    let ords: Vec<i64> = ranges.iter().map(|range| i64::try_from(range.0).unwrap_or(i64::MAX)).collect();
    let chats: Vec<i64> = ranges.iter().map(|range| range.1.0).collect();
    let firsts: Vec<i64> = ranges.iter().map(|range| range.2.0).collect();
    let lasts: Vec<i64> = ranges.iter().map(|range| range.3.0).collect();
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "select r.ord, ",
        log_columns!(),
        " from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) as r (ord, chat_id, first, last)
         join chats c on c.id = r.chat_id
         join lateral (
             select * from log o where o.chat_id = c.id and o.seq between r.first and r.last order by o.seq limit 1000000
         ) e on true
         left join messages x on x.id = e.message_id and e.kind in ",
        kinds!(of_a_message),
        " left join users a on a.id = x.author_id
         left join users u on u.id = e.user_id
         order by r.ord, e.chat_id, e.seq"
    ))
    .bind(ords)
    .bind(chats)
    .bind(firsts)
    .bind(lasts)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((usize::try_from(row.ord).ok()?, row.log.into_event()?))).collect())
}

/// The users of those of these chats that are private.
async fn pairs_of(
    connection: &mut ServerConnection,
    ranges: &[Range],
) -> Result<HashMap<ChatId, [UserId; 2]>, sqlx::Error> {
    let chats: Vec<i64> = ranges.iter().map(|range| range.1.0).collect();
    let rows: Vec<(ChatId, UserId, UserId)> =
        sqlx::query_as("select id, pair_low, pair_high from chats where id = any ($1) and pair_low is not null")
            .bind(chats)
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|(chat, low, high)| (chat, [low, high])).collect())
}
