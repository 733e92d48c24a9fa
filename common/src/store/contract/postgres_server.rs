//! Cases between the store and its Postgres: settings of the server, poolers, locks that
//! strangers hold, connections.

use super::postgres_only::within;
use super::*;
use futures_util::future::join_all;
use messenger_testing::PgBouncer;
use std::time::Instant;

impl Fixture {
    /// A database of its own, and a store over it.
    pub(super) async fn postgres_of(size: u32) -> (Arc<PostgresStore>, Self) {
        let url = postgres::shared_without_fsync().await.new_database().await;
        let store = Arc::new(PostgresStore::connect(&url.clone().into(), size).unwrap());
        store.migrate().await.unwrap();
        (store.clone(), Self { store, raw: Raw::Postgres(url), users: AtomicU32::new(0) })
    }

    pub(super) fn url(&self) -> &str {
        match &self.raw {
            Raw::Postgres(url) => url,
            Raw::Sqlite(..) => unreachable!("it is over Postgres"),
        }
    }

    /// How many advisory locks are held or waited for in this database.
    async fn advisory_locks(&self) -> i64 {
        self.number(
            "select count(*) from pg_locks join pg_database on database = pg_database.oid
             where locktype = 'advisory' and datname = current_database()",
        )
        .await
    }

    /// How many connections of the messenger the server has for this database.
    async fn connections(&self) -> i64 {
        self.number(
            "select count(*) from pg_stat_activity
             where datname = current_database() and application_name = 'messenger'",
        )
        .await
    }
}

/// Guarantee G10: an index on a table that exists holds up no write, however long a stranger's
/// transaction holds up the index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_built_beside_the_writes() {
    let (store, at) = Fixture::postgres_of(4).await;
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[]).await.id;
    let others = at.group(&ben, &[]).await.id;
    // As the release before left it, and an index that a failed try left behind.
    at.sql("delete from _sqlx_migrations where version in (3, 4)").await;
    at.sql("drop index members_owner").await;
    at.sql("create index members_owner on members (chat_id) where role = 1").await;
    at.sql("update pg_index set indisvalid = false where indexrelid = 'members_owner'::regclass").await;
    at.sql("alter table events drop constraint events_kind_check").await;
    at.sql("alter table events add constraint events_kind_check check (kind between 2 and 8)").await;
    let mut stranger = sqlx::PgConnection::connect(at.url()).await.unwrap();
    let hold = format!("begin; update members set read_seq = read_seq where chat_id = {others}");
    sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut stranger).await.unwrap();
    let migrating = tokio::spawn(async move { store.migrate().await });
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        at.send(chat, &ann, "x").await;
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    assert!(!migrating.is_finished());
    sqlx::raw_sql("commit").execute(&mut stranger).await.unwrap();
    migrating.await.unwrap().unwrap();
    let valid = "select count(*) from pg_index where indexrelid = 'members_owner'::regclass and indisvalid";
    assert_eq!(at.number(valid).await, 1);
    assert_eq!(at.advisory_locks().await, 0);
}

/// The server goes on with the index of a node that was cut: the next node waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_of_a_node_that_was_cut_is_not_thrown_away() {
    let (store, at) = Fixture::postgres_of(4).await;
    let ann = at.user().await;
    at.group(&ann, &[]).await;
    at.sql("delete from _sqlx_migrations where version = 3").await;
    at.sql("drop index members_owner").await;
    let mut stranger = sqlx::PgConnection::connect(at.url()).await.unwrap();
    sqlx::raw_sql("begin; update members set read_seq = read_seq").execute(&mut stranger).await.unwrap();
    let mut cut = sqlx::PgConnection::connect(at.url()).await.unwrap();
    let building = tokio::spawn(async move {
        let build = "create index concurrently if not exists members_owner on members (chat_id) where role = 1";
        sqlx::raw_sql(build).execute(&mut cut).await
    });
    within(async || {
        at.number("select count(*) from pg_stat_progress_create_index where datname = current_database()").await == 1
    })
    .await;
    let index = "select coalesce(to_regclass('members_owner')::oid::bigint, 0)";
    within(async || at.number(index).await > 0).await;
    let begun = at.number(index).await;
    let mut migrating = tokio::spawn(async move { store.migrate().await });
    // Long enough to find it, and to ask for its end.
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut migrating).await.is_err(), "it waits");
    sqlx::raw_sql("commit").execute(&mut stranger).await.unwrap();
    building.await.unwrap().unwrap();
    migrating.await.unwrap().unwrap();
    assert_eq!(at.number(index).await, begun);
    let valid = "select count(*) from pg_index where indexrelid = 'members_owner'::regclass and indisvalid";
    assert_eq!(at.number(valid).await, 1);
}

/// A schema that is up is only read: neither a lock nor a right to change it is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_up_needs_no_lock() {
    let (store, at) = Fixture::postgres_of(2).await;
    let mut holder = sqlx::PgConnection::connect(at.url()).await.unwrap();
    sqlx::raw_sql("select pg_advisory_lock(7882833662242088805)").execute(&mut holder).await.unwrap();
    let mut stranger = sqlx::PgConnection::connect(at.url()).await.unwrap();
    sqlx::raw_sql("begin; lock _sqlx_migrations in row exclusive mode").execute(&mut stranger).await.unwrap();
    let migrated = tokio::time::timeout(Duration::from_secs(5), store.migrate()).await;
    migrated.expect("it waits for nobody").unwrap();
}

/// Guarantee G1 and the rules' isolation stand on settings that a server may have otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_sets_what_the_guarantees_stand_on() {
    let (_, at) = Fixture::postgres_of(2).await;
    let name = at.url().rsplit('/').next().unwrap().to_owned();
    for setting in
        ["synchronous_commit = off", "default_transaction_isolation = 'serializable'", "statement_timeout = 1"]
    {
        at.sql(&format!("alter database {name} set {setting}")).await;
    }
    let ours = PostgresStore::connect(&at.url().to_owned().into(), 2).unwrap();
    let settings = ours.settings(&["synchronous_commit", "transaction_isolation", "statement_timeout"]).await.unwrap();
    assert_eq!(settings, ["on", "read committed", "1700ms"]);
    at.sql(&format!("alter database {name} set synchronous_commit = remote_apply")).await;
    let ours = PostgresStore::connect(&at.url().to_owned().into(), 2).unwrap();
    assert_eq!(ours.settings(&["synchronous_commit"]).await.unwrap(), ["remote_apply"], "more than is needed is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_takes_no_writes_is_away() {
    let (store, at) = Fixture::postgres_of(2).await;
    store.ping().await.unwrap();
    let name = at.url().rsplit('/').next().unwrap().to_owned();
    at.sql(&format!("alter database {name} set default_transaction_read_only = on")).await;
    let demoted = PostgresStore::connect(&at.url().to_owned().into(), 2).unwrap();
    let error = demoted.ping().await.unwrap_err();
    assert_eq!(error.code(), "unavailable");
    assert!(error.inside().unwrap().to_string().contains("takes no writes"));
    let mut admin = sqlx::PgConnection::connect(at.url()).await.unwrap();
    let writable =
        format!("set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only");
    for statement in writable.split("; ") {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
    }
    demoted.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoding_that_cannot_hold_every_text_is_refused() {
    let server = postgres::shared_without_fsync().await;
    let mut admin = sqlx::PgConnection::connect(&server.url("postgres")).await.unwrap();
    for encoding in ["SQL_ASCII", "EUC_JP", "LATIN1"] {
        let name = format!("encoded_{}_{}", encoding.to_lowercase(), std::process::id());
        let make = format!("create database {name} template template0 encoding '{encoding}' locale 'C'");
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut admin).await.unwrap();
        let store = PostgresStore::connect(&server.url(&name).into(), 2).unwrap();
        let refused = store.check().await.unwrap_err();
        let said = refused.inside().unwrap().to_string();
        assert!(said.contains(encoding) && said.contains("UTF8"), "{said}");
    }
    let (store, _) = Fixture::postgres_of(2).await;
    store.check().await.unwrap();
}

/// The server has no more connections of ours than the pool's size, however soon callers go away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_calls_do_not_enlarge_the_pool() {
    const SIZE: u32 = 6;
    let (store, at) = Fixture::postgres_of(SIZE).await;
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let mut holder = sqlx::PgConnection::connect(at.url()).await.unwrap();
    sqlx::raw_sql("begin; lock chats").execute(&mut holder).await.unwrap();
    let (most, deadline) = (AtomicU32::new(0), Instant::now() + Duration::from_secs(6));
    let callers = (0..40_u64).map(|n| {
        let store = &store;
        async move {
            while Instant::now() < deadline {
                let cut = Duration::from_millis(20 + n * 40);
                drop(tokio::time::timeout(cut, store.heads(&[(chat, Seq(0))])).await);
            }
        }
    });
    let count = async {
        while Instant::now() < deadline {
            let now = u32::try_from(at.connections().await).unwrap();
            most.fetch_max(now, Ordering::Relaxed);
        }
    };
    futures_util::join!(join_all(callers), count);
    sqlx::raw_sql("commit").execute(&mut holder).await.unwrap();
    let most = most.load(Ordering::Relaxed);
    assert!(most <= SIZE, "{most} connections of a pool of {SIZE}");
    let heads = join_all((0..40).map(|_| async { store.heads(&[(chat, Seq(0))]).await })).await;
    assert!(heads.iter().all(Result::is_ok), "and all of them serve again");
}

/// The server has enough connections, or their role may log in no more: those that are there serve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_there_serve_where_no_further_one_is_taken() {
    let (_, at) = Fixture::postgres_of(2).await;
    let role = format!("few_of_{}", at.url().rsplit('/').next().unwrap());
    at.sql(&format!("create role {role} login connection limit 2")).await;
    let url = at.url().replace("postgres@", &format!("{role}@"));
    let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
    let store = PostgresStore::connect(&url.clone().into(), 8).unwrap();
    store.ping().await.unwrap();
    let all_serve = async || join_all((0..32).map(|_| store.ping())).await.into_iter().collect::<Result<Vec<()>>>();
    all_serve().await.unwrap();
    assert_eq!(at.number(&format!("select count(*) from pg_stat_activity where usename = '{role}'")).await, 2);
    let alone = PostgresStore::connect(&url.into(), 8).unwrap();
    let began = Instant::now();
    assert_eq!(alone.ping().await.unwrap_err().code(), "unavailable");
    assert!(began.elapsed() < Duration::from_secs(1), "who has none learns it at once");
    at.sql(&format!("alter role {role} nologin")).await;
    all_serve().await.unwrap();
    sqlx::raw_sql("select 1").execute(&mut other).await.unwrap();
}

/// A burst leaves no connections behind for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed() {
    let (store, at) = Fixture::postgres_of(6).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    // The first connection may serve a whole burst while the others are still being opened.
    while store.pool().idle < 2 {
        assert!(join_all((0..60).map(|_| store.ping())).await.iter().all(Result::is_ok));
        assert!(Instant::now() < deadline, "one connection serves all");
    }
    // One that nobody waits for any more is still being opened.
    while store.pool().in_use > 0 {
        assert!(Instant::now() < deadline, "a lease has not ended");
        tokio::task::yield_now().await;
    }
    store.trim(Duration::from_mins(1));
    assert!(store.pool().idle > 1, "not yet");
    store.trim(Duration::ZERO);
    assert_eq!((store.pool().in_use, store.pool().idle), (0, 0));
    while at.connections().await > 0 {
        assert!(Instant::now() < deadline, "the server still has them");
    }
}

/// Postgres' clock that steps back delays no event: an entry from the future is claimed at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_steps_back_delays_no_outbox() {
    let (store, at) = Fixture::postgres_of(2).await;
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    at.store.send(vec![new(chat, &ann, "x")]).await.unwrap();
    at.sql("update outbox set created_at = now() + interval '2 minutes'").await;
    assert_eq!(store.outbox_claim(Duration::from_secs(1), 10).await.unwrap().len(), 1, "it was made before the step");
    assert!(store.outbox_claim(Duration::from_secs(1), 10).await.unwrap().is_empty(), "it is claimed");
    at.sql("update outbox set claimed_until = now() + interval '2 minutes'").await;
    assert_eq!(store.outbox_claim(Duration::from_secs(1), 10).await.unwrap().len(), 1, "no claim lasts so long");
}

/// `PgBouncer` in transaction mode: everything works, and nothing of ours stays on its
/// connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_transaction_mode_serves_and_keeps_nothing() {
    let server = postgres::shared_without_fsync().await;
    for settings in [&[][..], &["ignore_startup_parameters=options,extra_float_digits"]] {
        let direct = server.new_database().await;
        let pooler = PgBouncer::before(server.port(), 4, settings).await;
        let url = pooler.url(&direct);
        let stores: Vec<_> =
            (0..3).map(|_| Arc::new(PostgresStore::connect(&url.clone().into(), 8).unwrap())).collect();
        for migrated in join_all(stores.iter().map(|store| store.migrate())).await {
            migrated.unwrap();
        }
        let at = Fixture { store: stores[0].clone(), raw: Raw::Postgres(direct), users: AtomicU32::new(0) };
        let users = join_all((0..6).map(|n| {
            let (store, name) = (stores[n % 3].clone(), format!("pooled{n}"));
            async move {
                let email = format!("{name}@example.org");
                let user = NewUser { username: name, email, password_hash: HASH.into() };
                store.create_user(user).await.unwrap()
            }
        }))
        .await;
        let chat = at.group(&users[0], &users[1..].iter().collect::<Vec<_>>()).await.id;
        let rounds = users.iter().zip(stores.iter().cycle()).map(|(user, store)| async move {
            for round in 0..20 {
                let name = format!("{} {round}", user.username);
                store.send(vec![new(chat, user, &name)]).await.unwrap();
                store.history(chat, user.id, HistoryFrom::Newest, 10).await.unwrap();
                store.chats_of(user.id, &first(10)).await.unwrap();
                store.search_users("pooled", &first(10)).await.unwrap();
                store.logs_after(&[LogAfter { chat_id: chat, after: Seq(0), limit: 10 }]).await.unwrap();
                store.outbox_claim(Duration::ZERO, 10).await.unwrap();
                store.ping().await.unwrap();
            }
        });
        join_all(rounds).await;
        assert_eq!(at.head(chat).await, Seq(6 * 20 + at.number("select count(*) from events").await));
        let gone = users.iter().map(|user| at.store.send(vec![new(chat, user, "cut")]));
        for send in gone {
            drop(tokio::time::timeout(Duration::from_millis(1), send).await);
        }
        at.send(chat, &users[0], "and goes on").await;
        // A stranger gets each of the pooler's connections, several at once.
        let strangers = join_all((0..4).map(|_| async {
            let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
            let mut stranger = sqlx::ConnectOptions::connect(&options.extra_float_digits(None)).await.unwrap();
            let shown = sqlx::raw_sql(
                "begin; select current_setting('statement_timeout') || current_setting('enable_seqscan')
                     || current_setting('plan_cache_mode') || (select count(*) from pg_prepared_statements)",
            );
            let rows = shown.fetch_all(&mut stranger).await.unwrap();
            (sqlx::Row::get::<String, _>(&rows[0], 0), stranger)
        }))
        .await;
        for (shown, _) in &strangers {
            assert_eq!(shown, "0onauto0");
        }
        assert_eq!(at.advisory_locks().await, 0);
    }
}
