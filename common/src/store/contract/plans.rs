//! Plans of Postgres: every question reaches its rows by an index, and reads few of them, also
//! while the tables were never analysed.

use super::postgres_only::within;
use super::*;
use crate::words::{Language, Query};

/// Rows of large tables that were read by sequential scans.
const SCANNED: &str = "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_user_tables
                       where relname in ('users', 'chats', 'members', 'messages', 'invites', 'blocks', 'pins',
                                         'reactions', 'mentions', 'sessions')";
/// Entries of indexes that were read.
const READ: &str = "select coalesce(sum(idx_tup_read), 0)::bigint from pg_stat_user_indexes";
/// How often the sessions were asked for, the last question of a round.
const ASKED: &str = "select idx_scan from pg_stat_user_tables where relname = 'sessions'";
const ROUNDS: i64 = 8;
const CHATS: i64 = 20_000;

async fn large(at: &Fixture, analysed: bool) -> (User, User, ChatId) {
    for table in ["users", "chats", "members", "messages", "invites", "blocks", "pins", "reactions", "mentions"] {
        at.sql(&format!("alter table {table} set (autovacuum_enabled = off)")).await;
    }
    let (ann, ben) = (at.user().await, at.user().await);
    let chat = at.group(&ann, &[&ben]).await.id;
    for sql in [
        "insert into users (username, username_lower, email, email_lower, password_hash)
         select 'u' || n, 'u' || n, 'u' || n || '@x', 'u' || n || '@x', '' from generate_series(1, 20000) n",
        &format!(
            "insert into chats (is_group, name, created_at, active_at, seq, member_count)
             select true, 'c', now(), now(), 2, 2 from generate_series(1, {CHATS}) n"
        ),
        "insert into members (chat_id, user_id, role, joined_at)
         select id, id, 1, now() from chats where seq = 2 and exists (select from users u where u.id = chats.id)",
        "insert into messages (chat_id, seq, author_id, text, created_at, words)
         select id, s, id, 'text', now(), '''text'':1 ''frequent'':2' from chats, generate_series(1, 2) s
         where chats.seq = 2 and exists (select from users u where u.id = chats.id)",
        "insert into invites (code, chat_id, created_at) select 'c' || id, id, now() from chats",
        "insert into blocks (user_id, blocked_id) select id, id + 1 from users where id < 15000",
        "insert into pins (chat_id, message_id, seq) select chat_id, id, seq from messages",
        "insert into reactions (message_id, user_id, emoji) select id, author_id, '👍' from messages",
        "insert into mentions (user_id, chat_id, seq, message_id) select author_id, chat_id, seq, id from messages",
    ] {
        at.sql(sql).await;
    }
    if analysed {
        at.sql("analyze").await;
    }
    (ann, ben, chat)
}

async fn every_question_reads_few_rows(analysed: bool) {
    let at = Fixture::postgres().await;
    let (ann, ben, chat) = large(&at, analysed).await;
    let message = at.send(chat, &ann, "a text for @all").await.id;
    at.store
        .create_invite(chat, ann.id, NewInvite { code: "x".into(), expires_in: None, max_uses: None })
        .await
        .unwrap();
    at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    let others = "select count(*) from pg_stat_activity
                  where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'messenger'";
    within(async || at.number(others).await == 0).await;
    let (scanned, read, asked) = (at.number(SCANNED).await, at.number(READ).await, at.number(ASKED).await);
    let page = first(10);
    let wanted = |q: &str, chat| SearchFor { query: Query::read(q, Language::SIMPLE).unwrap(), chat, author: None };
    for _ in 0..ROUNDS {
        for add in [true, false] {
            at.store.react(message, ben.id, "👍", add).await.unwrap();
            at.store.pin(chat, message, ann.id, add).await.unwrap();
            at.store.block(ben.id, UserId(700), add).await.unwrap();
        }
        at.store.pins(chat, ben.id, &page).await.unwrap();
        at.store.blocked(ann.id, &page).await.unwrap();
        at.store.mentioned(chat, ann.id, &["u700".into(), ben.username.clone()]).await.unwrap();
        at.store.set_settings(chat, ben.id, SettingsPatch { pinned: Some(true), ..Default::default() }).await.unwrap();
        at.store.invites(chat, ann.id, &page).await.unwrap();
        at.store.invite("c700").await.unwrap();
        for q in ["frequent", "text", "tex", "absent", "\"text frequent\""] {
            at.store.search(ann.id, &wanted(q, None), &page).await.unwrap();
            at.store.search(ann.id, &wanted(q, Some(chat)), &page).await.unwrap();
        }
        at.store.chats_of(ann.id, &page).await.unwrap();
        at.store.chat(chat, ben.id).await.unwrap();
        at.store.access(&[(chat, ann.id), (chat, ben.id)]).await.unwrap();
        at.store.members(chat, ann.id, &page).await.unwrap();
        at.store.search_users("u77", &page).await.unwrap();
        at.store.all_users("u77", &page).await.unwrap();
        at.store.users(&[ann.id, ben.id]).await.unwrap();
        at.store.for_status(&[ann.id, ben.id], 1_000, 100).await.unwrap();
        let logs: Vec<_> = (1..=8).map(|n| LogAfter { chat_id: ChatId(n), after: Seq(0), limit: 4 }).collect();
        at.store.logs_after(&logs).await.unwrap();
        at.history(chat, &ann).await;
        at.store.message(message, ben.id).await.unwrap();
        at.store.mark_read(chat, ben.id, Seq(1)).await.unwrap();
        at.store.fill_words(100).await.unwrap();
        at.store.spell_addresses(UserId(0), 100).await.unwrap();
        at.store.credentials("u700@x").await.unwrap();
        at.store.sessions_of(ann.id, &page).await.unwrap();
    }
    // A session's counters are seen a second after it took them, with its next statement.
    within(async || at.store.ping().await.is_ok() && at.number(ASKED).await >= asked + ROUNDS).await;
    assert_eq!(at.number(SCANNED).await - scanned, 0, "rows of large tables were read by sequential scans");
    let read = (at.number(READ).await - read) / ROUNDS;
    // One whole index of the chats, once a round, would be more.
    assert!(read < CHATS / 2, "{read} entries of indexes were read a round");
    println!("{read} entries of indexes were read for 40 questions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_reads_few_rows_of_tables_that_were_never_analysed() {
    every_question_reads_few_rows(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_reads_few_rows_of_analysed_tables() {
    every_question_reads_few_rows(true).await;
}

/// Whoever deletes all that was said leaves a run of deleted messages: no list, page of history or
/// count reads through it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_deleted_messages_is_skipped() {
    const DELETED: i64 = 20_000;
    for analysed in [false, true] {
        let at = Fixture::postgres().await;
        at.sql("alter table messages set (autovacuum_enabled = off)").await;
        let (ann, ben) = (at.user().await, at.user().await);
        let chat = at.group(&ann, &[&ben]).await.id;
        let oldest = at.send(chat, &ann, "the last one left").await;
        let from = oldest.seq.0 + 1;
        let to = from + DELETED - 1;
        at.sql(&format!(
            "insert into messages (chat_id, seq, author_id, text, created_at)
             select {chat}, n, {}, '', now() from generate_series({from}, {to}) n",
            ann.id
        ))
        .await;
        at.sql(&format!("update messages set deleted_at = now() where seq >= {from}")).await;
        at.sql(&format!("update chats set seq = {to} where id = {chat}")).await;
        if analysed {
            at.sql("vacuum analyze messages").await;
        }
        at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
        let read = async || {
            let asked = at.number(ASKED).await;
            at.store.sessions_of(ann.id, &first(10)).await.unwrap();
            within(async || at.store.ping().await.is_ok() && at.number(ASKED).await > asked).await;
            at.number(READ).await
        };
        let round = async || {
            let page = at.store.chats_of(ben.id, &first(10)).await.unwrap();
            assert_eq!(page.items[0].last_message.as_ref().map(|last| last.id), Some(oldest.id));
            assert_eq!(page.items[0].unread_count, Some(1));
            let seen = at.store.chat(chat, ben.id).await.unwrap().unwrap();
            assert_eq!(seen.last_message.map(|last| last.id), Some(oldest.id));
            assert_eq!(at.history(chat, &ben).await.len(), 1);
            let newer = at.store.history(chat, ben.id, HistoryFrom::After(oldest.id), 10).await.unwrap();
            assert!(newer.items.is_empty());
            read().await
        };
        // Until they are vacuumed, the first to come marks their entries as dead, once nobody's
        // snapshot is older: one of an automatic analyze may be.
        within(async || {
            let before = round().await;
            let most = round().await - before;
            println!("{most} entries of indexes were read");
            most < 1_000
        })
        .await;
        // Messages that are left behind the run are found when the chat is erased.
        at.sql(&format!("update messages set deleted_at = null where seq = {to}")).await;
        at.sql(&format!("update chats set deleted_at = now() where id = {chat}")).await;
        let before = read().await;
        at.store.prune(HOUR, 10).await.unwrap();
        let most = read().await - before;
        assert_eq!(at.number("select count(*) from messages where deleted_at is null").await, 0);
        assert!(most < 1_000, "{most} entries of indexes were read");
    }
}

/// A page of a list costs as many questions, however many chats one has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_thousand_chats_costs_the_questions_of_one_of_ten() {
    let server = messenger_testing::Postgres::private().await;
    let url = server.new_database().await;
    let at = Fixture::over(&url, |store| store).await;
    let (few, many) = (at.user().await, at.user().await);
    for (user, chats) in [(&few, 10), (&many, 1_000)] {
        let name = &user.username;
        at.sql(&format!(
            "insert into chats (is_group, name, created_at, active_at, seq, member_count)
             select true, '{name}', now(), now(), 1, 1 from generate_series(1, {chats})"
        ))
        .await;
        for sql in [
            "insert into members (chat_id, user_id, role, joined_at) select id, {user}, 1, now()",
            "insert into messages (chat_id, seq, author_id, text, created_at) select id, 1, {user}, 'text', now()",
            "insert into mentions (user_id, chat_id, seq, message_id)
             select {user}, id, 1, (select m.id from messages m where m.chat_id = chats.id)",
        ] {
            let sql = sql.replace("{user}", &user.id.to_string());
            at.sql(&format!("{sql} from chats where name = '{name}'")).await;
        }
        at.store.chats_of(user.id, &first(100)).await.unwrap();
    }
    at.sql("alter system set log_statement = 'all'").await;
    at.sql("select pg_reload_conf()").await;
    let mut questions = Vec::new();
    for (user, chats) in [(&few, 10), (&many, 100)] {
        // The setting reaches the store's connections with their next statement.
        let asked = async |mark: &str| {
            at.sql(&format!("select '{mark}'")).await;
            within(async || server.log().iter().any(|line| line.contains(mark))).await;
            server.log().len()
        };
        within(async || {
            let before = asked(&format!("warm {}", user.id)).await;
            at.store.chats_of(user.id, &first(100)).await.unwrap();
            asked(&format!("warmed {}", user.id)).await;
            server.log()[before..].iter().any(|line| line.contains("unread"))
        })
        .await;
        let before = asked(&format!("begin {}", user.id)).await;
        let page = at.store.chats_of(user.id, &first(100)).await.unwrap();
        asked(&format!("end {}", user.id)).await;
        assert_eq!(page.items.len(), chats);
        let shown =
            |chat: &Chat| chat.last_message.is_some() && chat.mention_count == Some(1) && chat.settings.is_some();
        assert!(page.items.iter().all(shown), "{:?}", page.items[0]);
        let log = server.log();
        let is_question = |line: &&String| line.contains("LOG:  execute ") || line.contains("LOG:  statement: ");
        questions.push(log[before..].iter().filter(is_question).filter(|line| !line.contains("'end")).count());
    }
    assert!(questions[0] == questions[1] && questions[0] > 0, "{questions:?}");
    println!("{questions:?} questions for pages of 10 and 100 of 1,000 chats");
}

/// Many pieces of long chats by one query: each row by its key, whatever the plan expects of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ends_of_long_logs_are_read_by_their_ends() {
    const LONG: i64 = 3_000;
    const CHATS: i64 = 8;
    for analysed in [false, true] {
        let at = Fixture::postgres().await;
        for table in ["users", "messages"] {
            at.sql(&format!("alter table {table} set (autovacuum_enabled = off)")).await;
        }
        let ann = at.user().await;
        let mut logs = Vec::new();
        for _ in 0..CHATS {
            let chat_id = at.group(&ann, &[]).await.id;
            logs.push(LogAfter { chat_id, after: Seq(LONG - 2), limit: 4 });
            at.sql(&format!(
                "insert into messages (chat_id, seq, author_id, text, created_at)
                 select {chat_id}, n, {}, '', now() from generate_series(1, {LONG}) n",
                ann.id
            ))
            .await;
            at.sql(&format!("update chats set seq = {LONG} where id = {chat_id}")).await;
        }
        at.sql(
            "insert into users (username, username_lower, email, email_lower, password_hash)
             select 'u' || n, 'u' || n, 'u' || n || '@x', 'u' || n || '@x', '' from generate_series(1, 3000) n",
        )
        .await;
        if analysed {
            at.sql("vacuum analyze").await;
        }
        at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
        let read = async || {
            let asked = at.number(ASKED).await;
            at.store.sessions_of(ann.id, &first(10)).await.unwrap();
            within(async || at.store.ping().await.is_ok() && at.number(ASKED).await > asked).await;
            (at.number(READ).await, at.number(SCANNED).await)
        };
        let before = read().await;
        let pages = at.store.logs_after(&logs).await.unwrap();
        assert!(pages.iter().all(|page| page.as_ref().unwrap().events.len() == 2));
        let after = read().await;
        let (entries, scanned) = (after.0 - before.0, after.1 - before.1);
        assert!(entries < 300 && scanned == 0, "{entries} entries of indexes, {scanned} rows by scans");
    }
}
