//! Cases of Postgres alone: a server that goes away, plans, and many nodes that bring the schema
//! up.

use super::*;
use messenger_testing::Postgres;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_nodes_bring_the_schema_up_at_once() {
    let url = postgres::shared_without_fsync().await.new_database().await;
    let mut nodes = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let store = PostgresStore::connect(&url.clone().into(), 2).unwrap();
        nodes.spawn(async move {
            store.migrate().await.unwrap();
            assert!(store.schema_ready().await.unwrap());
        });
    }
    let late = PostgresStore::connect(&url.into(), 2).unwrap();
    within(async || late.schema_ready().await.unwrap()).await;
    nodes.join_all().await;
}

/// A server that takes connections and says nothing is when an operator looks at the pool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_being_opened_is_in_use() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://nobody@{}/none", silent.local_addr().unwrap());
    let store = Arc::new(PostgresStore::connect(&url.into(), 2).unwrap());
    assert_eq!((store.pool().in_use, store.pool().idle), (0, 0));
    let asked = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.ping().await }
    });
    within(async || store.pool().in_use == 1 || asked.is_finished()).await;
    assert!(!asked.is_finished() && store.pool().idle == 0);
    assert_eq!(code(asked.await.unwrap()), "unavailable");
    assert_eq!((store.pool().in_use, store.pool().idle), (0, 0));
}

/// A node of an earlier release erases the texts of a deleted group and leaves its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_an_earlier_release_left_are_forgotten() {
    let at = Fixture::postgres().await;
    let ann = at.user().await;
    let (gone, stays) = (at.group(&ann, &[]).await.id, at.group(&ann, &[]).await.id);
    at.store.delete_chat(gone, ann.id).await.unwrap();
    let left = format!("update chats set erased = true, name = 'left', description = 'this too' where id = {gone}");
    assert_eq!(at.sql(&left).await, 1);
    at.store.prune(HOUR, 10).await.unwrap();
    assert_eq!(
        at.number("select count(*) from chats where erased and (name <> '' or description is not null)").await,
        0
    );
    assert_eq!(at.number(&format!("select count(*) from chats where id = {stays} and name <> ''")).await, 1);
}

/// An index that is built beside the guard's transaction waits for the snapshot that it keeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_comes_up_whatever_isolation_the_server_has_by_default() {
    for isolation in ["repeatable read", "serializable"] {
        let url = postgres::shared_without_fsync().await.new_database().await;
        let name = url.rsplit('/').next().unwrap();
        let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
        let set = format!("alter database {name} set default_transaction_isolation = '{isolation}'");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut admin).await.unwrap();
        let store = PostgresStore::connect(&url.clone().into(), 2).unwrap();
        let migrated = tokio::time::timeout(Duration::from_secs(30), store.migrate()).await;
        migrated.expect("it waits for nobody").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_in_time_and_found_again() {
    let server = Postgres::private().await;
    let url = server.new_database().await;
    let store = Arc::new(PostgresStore::connect(&url.clone().into(), 8).unwrap());
    store.migrate().await.unwrap();
    let at = Fixture { store: store.clone(), raw: Raw::Postgres(url), users: AtomicU32::new(0) };
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    // Fill the pool, so that a restart leaves many stale connections behind.
    let fill = async || {
        let reads = (0..8).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.ping().await })
        });
        for read in reads.collect::<Vec<_>>() {
            read.await.unwrap().unwrap();
        }
    };
    let down = async |mode| match mode {
        "stopped" => server.stop().await,
        _ => server.crash().await,
    };
    for mode in ["stopped", "crashed"] {
        fill().await;
        down(mode).await;
        for _ in 0..3 {
            let asked = Instant::now();
            assert_eq!(code(store.heads(&[(chat, Seq(0))]).await), "unavailable");
            assert_eq!(code(store.send(vec![new(chat, &ann, "x")]).await), "unavailable");
            assert_eq!(code(store.leave(chat, ann.id).await), "unavailable");
            assert!(asked.elapsed() < Duration::from_secs(2), "a closed port is reported at once");
        }
        server.start().await;
        at.send(chat, &ann, "back").await;
        fill().await;
        // Gone and back between two uses: no read and no transaction notices.
        down(mode).await;
        server.start().await;
        let head = at.head(chat).await;
        assert!(head > Seq(0));
        fill().await;
        down(mode).await;
        server.start().await;
        let (_, committed) = at.store.update_chat(chat, ann.id, renamed(mode)).await.unwrap();
        assert_eq!(kinds(&committed), ["chat_updated"]);
        at.store.outbox_remove(&[committed.outbox.unwrap()]).await.unwrap();
        at.send(chat, &ann, "and a send after it").await;
    }
}

fn renamed(name: &str) -> ChatPatch {
    ChatPatch { name: Some(name.into()), description: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_leaves_no_connection_behind() {
    let url = postgres::shared_without_fsync().await.new_database().await;
    let store = Arc::new(PostgresStore::connect(&url.clone().into(), 2).unwrap());
    store.migrate().await.unwrap();
    let at = Fixture { store: store.clone(), raw: Raw::Postgres(url.clone()), users: AtomicU32::new(0) };
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    // Someone holds the chat's row; senders come and give up.
    let mut holder = sqlx::PgConnection::connect(&url).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("select id from chats for update").fetch_all(&mut *held).await.unwrap();
    for _ in 0..6 {
        let gone = tokio::time::timeout(Duration::from_millis(50), at.store.send(vec![new(chat, &ann, "x")])).await;
        assert!(gone.is_err());
    }
    let asked = Instant::now();
    assert_eq!(code(at.store.send(vec![new(chat, &ann, "x")]).await), "unavailable");
    assert!(asked.elapsed() < Duration::from_millis(2200));
    assert_eq!(at.head(chat).await, Seq(0));
    held.rollback().await.unwrap();
    at.store.ping().await.unwrap();
    assert!(store.pool().in_use == 0 && store.pool().idle <= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_unavailable() {
    let url = postgres::shared_without_fsync().await.new_database().await;
    let store = PostgresStore::connect(&url.clone().into(), 2).unwrap();
    store.migrate().await.unwrap();
    let at = Fixture { store: Arc::new(store.clone()), raw: Raw::Postgres(url.clone()), users: AtomicU32::new(0) };
    let ann = at.user().await;
    let name = url.rsplit('/').next().unwrap();
    at.sql(&format!("alter database {name} set default_transaction_read_only = on")).await;
    let demoted = PostgresStore::connect(&url.into(), 2).unwrap();
    assert_eq!(code(demoted.create_session(ann.id, HASH, KEY, HOUR, None).await), "unavailable");
    assert_eq!(demoted.users(&[ann.id]).await.unwrap().len(), 1);
}

/// The hot statements reach their rows by an index, on a database large enough that it matters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_statements_use_their_indexes() {
    let at = Fixture::postgres().await;
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    at.sql(
        "insert into users (username, username_lower, email, email_lower, password_hash)
         select 'u' || n, 'u' || n, 'u' || n || '@x', 'u' || n || '@x', '' from generate_series(1, 5000) n",
    )
    .await;
    at.sql(
        "insert into chats (is_group, name, created_at, active_at, seq, member_count)
         select true, 'c', now(), now(), 20, 2 from generate_series(1, 2000) n",
    )
    .await;
    at.sql(&format!(
        "insert into members (chat_id, user_id, role, joined_at)
         select id, u, 1, now() from chats, unnest(array[{}, {}]::bigint[]) u where seq = 20",
        ann.id, ben.id
    ))
    .await;
    at.sql(&format!(
        "insert into messages (chat_id, seq, author_id, text, created_at)
         select id, s, {}, 'text', now() from chats, generate_series(1, 20) s where seq = 20",
        ann.id
    ))
    .await;
    at.sql("analyze").await;
    let others = "select count(*) from pg_stat_activity
                  where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'messenger'";
    within(async || at.number(others).await == 0).await;
    let before = at.number(SCANNED).await;
    let probed = at.number(PROBED).await;
    for _ in 0..8 {
        at.store.send(vec![with_id(chat, &ann, "x", "k")]).await.unwrap();
        at.send(chat, &ben, "y").await;
        at.history(chat, &ann).await;
        at.store.chat(chat, ann.id).await.unwrap();
        at.store.access(&[(chat, ann.id)]).await.unwrap();
        at.log_after(chat, Seq(0), 10).await.unwrap();
        at.store.mark_read(chat, ann.id, Seq(1)).await.unwrap();
        at.store.credentials("u77").await.unwrap();
        at.store.search_users("u77", &first(10)).await.unwrap();
        at.store.members(chat, ann.id, &first(10)).await.unwrap();
        at.store.private_chat(ann.id, ben.id).await.unwrap();
        at.store.outbox_remove(&at.all_pending().await).await.unwrap();
    }
    // A session's counters are seen a second after it took them, with its next statement.
    within(async || at.store.ping().await.is_ok() && at.number(PROBED).await > probed + 8).await;
    assert_eq!(at.number(SCANNED).await - before, 0, "rows of large tables were read by sequential scans");
    let list = Instant::now();
    assert_eq!(at.store.chats_of(ann.id, &first(50)).await.unwrap().items.len(), 50);
    println!("a page of 50 of 2,000 chats: {:?}", list.elapsed());
}

/// Plans are made once a connection, also while the tables are small; what a send reads must not
/// grow with the chat for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_reads_no_more_of_a_long_chat() {
    const READ: &str =
        "select coalesce(sum(idx_tup_read), 0)::bigint from pg_stat_user_indexes where relname = 'messages'";
    let at = Fixture::postgres().await;
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let first = at.send(chat, &ann, "x").await;
    let reply = || NewMessage { reply_to_id: Some(first.id), ..new(chat, &ann, "z") };
    let several = || vec![new(chat, &ann, "x"), new(chat, &ann, "y"), reply()];
    for _ in 0..3 {
        at.store.send(several()).await.unwrap();
        at.store.send(vec![reply()]).await.unwrap();
    }
    at.sql(&format!(
        "insert into messages (chat_id, seq, author_id, text, created_at)
         select {chat}, s, {}, 'text', now() from generate_series(101, 5100) s",
        ann.id
    ))
    .await;
    at.sql(&format!("update chats set seq = 5100 where id = {chat}")).await;
    within(async || at.number(PROBED).await > 0).await;
    let (before, probed) = (at.number(READ).await, at.number(PROBED).await);
    for _ in 0..10 {
        at.store.send(several()).await.unwrap();
        at.store.send(vec![reply()]).await.unwrap();
    }
    within(async || at.store.ping().await.is_ok() && at.number(PROBED).await > probed + 20).await;
    let read = at.number(READ).await - before;
    assert!(read < 1000, "{read} rows of the messages were read for 40 sends");
}

/// How many rows of the large tables sequential scans have read.
const SCANNED: &str = "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_user_tables
                       where relname in ('users', 'chats', 'members', 'messages', 'events')";
/// How often an index of the messages was used.
const PROBED: &str = "select idx_scan from pg_stat_user_tables where relname = 'messages'";

/// Waits until it holds.
pub(super) async fn within(holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "it does not come to hold");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Guarantee G10: a long transaction may hold up a migration, but nobody's write waits behind that
/// migration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_kinds_are_let_in_without_holding_up_a_write() {
    let url = postgres::shared_without_fsync().await.new_database().await;
    let store = PostgresStore::connect(&url.clone().into(), 4).unwrap();
    store.migrate().await.unwrap();
    let store = Arc::new(store);
    let at = Fixture { store: store.clone(), raw: Raw::Postgres(url.clone()), users: AtomicU32::new(0) };
    // As the release before left it.
    for undo in [
        "alter table events drop constraint events_kind_check, add constraint events_kind_check check (kind between 2 and 8)",
        "delete from _sqlx_migrations where version = 4",
    ] {
        at.sql(undo).await;
    }
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let mut long = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin; select count(*) from events").execute(&mut long).await.unwrap();
    let migrating = tokio::spawn(async move { store.migrate().await });
    let waits = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'";
    within(async || at.number(waits).await > 0).await;
    for name in ["one", "two", "three"] {
        let asked = Instant::now();
        at.store.update_chat(chat, ann.id, renamed(name)).await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    assert!(!migrating.is_finished());
    sqlx::raw_sql("commit").execute(&mut long).await.unwrap();
    migrating.await.unwrap().unwrap();
    let insert = "insert into events (chat_id, seq, kind, created_at) select id, seq + 1,";
    assert_eq!(at.sql(&format!("{insert} 255, active_at from chats where id = {chat}")).await, 1);
}

/// One text whose words the database refuses stops nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_whose_words_are_refused_stops_no_other() {
    let at = Fixture::postgres().await;
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    for text in ["word one", "refused word", "word two"] {
        at.send(chat, &ann, text).await;
    }
    at.sql("update messages set words = null").await;
    for sql in [
        "create function refuse() returns trigger language plpgsql as $$
         begin raise exception 'string is too long for tsvector' using errcode = '54000'; end $$",
        "create trigger refuse before update on messages for each row
         when (new.words <> '' and new.text like 'refused%') execute function refuse()",
    ] {
        at.sql(sql).await;
    }
    assert_eq!(at.store.fill_words(100).await.unwrap(), 3);
    assert_eq!(at.store.fill_words(100).await.unwrap(), 0, "it is not tried for ever");
    let query = crate::words::Query::read("word", crate::words::Language::SIMPLE).unwrap();
    let wanted = SearchFor { query, chat: None, author: None };
    let found = at.store.search(ann.id, &wanted, &first(9)).await.unwrap().items;
    assert_eq!(found.into_iter().map(|message| message.text).collect::<Vec<_>>(), ["word two", "word one"]);
}
