//! Plans of searches on Postgres: the index of words is asked, and a page costs a bounded amount
//! of work, wherever the words stand.

use super::postgres_only::within;
use super::*;
use crate::words::{Language, Query};

/// How often the index of words was asked.
const WORDS: &str = "select idx_scan from pg_stat_user_indexes where indexrelname = 'messages_found'";
/// Messages that were read.
const HEAP: &str = "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relname = 'messages'";
/// How often the sessions were asked for, the last question of a search here.
const ASKED: &str = "select idx_scan from pg_stat_user_tables where relname = 'sessions'";

/// What a search cost on all its pages.
#[derive(Debug)]
struct Cost {
    pages: i64,
    heap: i64,
    asked: i64,
}

impl Fixture {
    /// What a search finds on pages of a hundred, to its end.
    async fn searched(&self, by: &User, author: Option<UserId>, q: &str) -> (Vec<MessageId>, Cost) {
        let wanted = SearchFor { query: Query::read(q, Language::SIMPLE).unwrap(), chat: None, author };
        let (mut found, mut page, mut pages) = (Vec::new(), first(100), 0);
        let (heap, words, asked) = (self.number(HEAP).await, self.number(WORDS).await, self.number(ASKED).await);
        loop {
            pages += 1;
            let answer = self.store.search(by.id, &wanted, &page).await.unwrap();
            found.extend(answer.items.iter().map(|message| message.id));
            if answer.next_cursor.is_none() {
                break;
            }
            page = next(answer.next_cursor, 100);
        }
        // A session's counters are seen a second after it took them, with its next statement.
        self.store.sessions_of(by.id, &first(1)).await.unwrap();
        within(async || self.store.ping().await.is_ok() && self.number(ASKED).await > asked).await;
        (found, Cost { pages, heap: self.number(HEAP).await - heap, asked: self.number(WORDS).await - words })
    }
}

/// A user of many messages asks the index of words. Nothing else would answer in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_over_much_asks_the_index_of_words() {
    for analysed in [false, true] {
        let at = Fixture::postgres().await;
        at.sql("alter table messages set (autovacuum_enabled = off)").await;
        let (ann, ben) = (at.user().await, at.user().await);
        let (chat, other) = (at.group(&ann, &[]).await.id, at.group(&ben, &[]).await.id);
        for (chat, author) in [(other, ben.id), (chat, ann.id), (other, ben.id)] {
            at.sql(&format!(
                "insert into messages (chat_id, seq, author_id, text, created_at, words)
                 select {chat}, s + (select seq from chats where id = {chat}), {author}, 'text', now(),
                     ('''text'':1 ''w' || s || ''':2')::tsvector
                 from generate_series(1, 20000) s"
            ))
            .await;
            at.sql(&format!("update chats set seq = seq + 20000 where id = {chat}")).await;
        }
        if analysed {
            at.sql("analyze").await;
        }
        let (words, heap) = (at.number(WORDS).await, at.number(HEAP).await);
        for q in ["text", "w777", "absent", "w77", "\"text w9\""] {
            let query = Query::read(q, Language::SIMPLE).unwrap();
            let wanted = SearchFor { query, chat: None, author: None };
            for _ in 0..6 {
                at.store.search(ann.id, &wanted, &first(10)).await.unwrap();
            }
        }
        // The frequent word is found among the newest.
        within(async || at.store.ping().await.is_ok() && at.number(WORDS).await >= words + 24).await;
        let heap = at.number(HEAP).await - heap;
        // A sample of 512, and as many as were found or, of the frequent word, came first.
        assert!(heap < 30 * 2_000, "{heap} messages were read for 30 searches");
    }
}

/// However frequent a word is elsewhere, and wherever its messages are: a page reads a bounded
/// number of rows, and the next one goes on from there. Nothing is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_search_reads_few_rows_of_what_is_frequent_elsewhere() {
    const CHATS: usize = 300;
    const OTHERS: i64 = 60_000;
    /// Of the user's own messages, and of those of all chats.
    const PAGE: i64 = 16_000;
    let at = Fixture::postgres().await;
    let (few, many, ben) = (at.user().await, at.user().await, at.user().await);
    let (own, other) = (at.group(&few, &[]).await.id, at.group(&ben, &[]).await.id);
    let said = |chat: &str, seq: &str, author: &User, from: &str| {
        format!(
            "insert into messages (chat_id, seq, author_id, text, created_at, words)
             select {chat}, {seq}, {}, 'common word' || s, now(), ('''common'':1 ''word' || s || ''':2')::tsvector
             from {from}",
            author.id
        )
    };
    for sql in [
        // The user of few chats has much in them, and these words among the oldest alone.
        said(&own.to_string(), "s", &few, "generate_series(1, 100) s"),
        format!(
            "insert into messages (chat_id, seq, author_id, text, created_at, words)
             select {own}, s, {}, 'else', now(), '''else'':1' from generate_series(101, 30000) s",
            few.id
        ),
        format!("update chats set seq = 30000 where id = {own}"),
        format!(
            "insert into chats (is_group, name, created_at, active_at, seq, member_count)
             select true, 'many', now(), now(), 1, 1 from generate_series(1, {CHATS})"
        ),
        format!(
            "insert into members (chat_id, user_id, role, joined_at)
             select id, {}, 1, now() from chats where name = 'many'",
            many.id
        ),
        said("s", "1", &many, "(select id as s from chats where name = 'many') c"),
        said(&other.to_string(), "s", &ben, &format!("generate_series(1, {OTHERS}) s")),
        format!("update chats set seq = {OTHERS} where id = {other}"),
    ] {
        at.sql(&sql).await;
    }
    for (user, expected) in [(&few, 100), (&many, CHATS)] {
        for q in ["common", "wor", "common wor", "\"common wor"] {
            let (found, cost) = at.searched(user, None, q).await;
            assert!(found.is_sorted_by(|a, b| a > b), "{q}: the newest first, each once");
            assert_eq!(found.len(), expected, "{q}: {cost:?}");
            assert!(cost.heap < cost.pages * PAGE, "{q}: {cost:?}");
            println!("{q}: {cost:?}");
        }
    }
}

/// The questions to the index are bounded as well: whatever the ids leave out, however old the
/// messages are, and where many stand together that are not the user's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_search_asks_the_index_few_times_in_a_hundred_million_ids() {
    const STRETCHES: i64 = 100_000_000 / 8_192;
    /// Messages of one stretch that have the word and are not the user's.
    const BURST: i64 = 4_500;
    /// Questions to the index of one page.
    const PAGE: i64 = 40;
    const PAGES: i64 = 100;
    let at = Fixture::postgres().await;
    let (few, many, bot) = (at.user().await, at.user().await, at.user().await);
    let own = at.group(&few, &[&many]).await.id;
    let (busy, other) = (at.group(&bot, &[&few]).await.id, at.group(&bot, &[]).await.id);
    let said = |chat: ChatId, author: &User, id: &str, seq: &str, words: &str, n: i64| {
        format!(
            "insert into messages (id, chat_id, seq, author_id, text, created_at, words)
             overriding system value
             select {id}, {chat}, {seq}, {}, 'text', now(), ({words})::tsvector from generate_series(1, {n}) n",
            author.id
        )
    };
    // One message in every stretch of ids. Half of them say what nobody says lately.
    let words = format!("case when n < {STRETCHES} / 2 then '''old'':1' else '''else'':1' end");
    at.sql(&said(other, &bot, "n * 8192 + 8000", "n", &words, STRETCHES)).await;
    for (n, place) in [STRETCHES - 160, STRETCHES - 100, STRETCHES - 99].into_iter().enumerate() {
        let (id, seq) = (format!("{place} * 8192 + n"), format!("{n} * {BURST} + n"));
        at.sql(&said(busy, &bot, &id, &seq, "'''common'':1'", BURST)).await;
    }
    let near = MessageId((STRETCHES - 101) * 8_192);
    at.sql(&said(own, &few, "1", "1", "'''common'':1 ''old'':2'", 1)).await;
    at.sql(&said(own, &few, &near.to_string(), "2", "'''common'':1'", 1)).await;
    for sql in [
        &format!("update chats set seq = case id when {busy} then {BURST} * 3 else 2 end where id in ({own}, {busy})"),
        "insert into chats (is_group, name, created_at, active_at, seq, member_count)
         select true, 'many', now(), now(), 1, 1 from generate_series(1, 300)",
        &format!(
            "insert into members (chat_id, user_id, role, joined_at)
             select id, {}, 1, now() from chats where name = 'many'",
            many.id
        ),
    ] {
        at.sql(sql).await;
    }
    // A node of the release before knows no page that ends early. Two of the three come first here.
    let of_before = format!(
        "select count(*) from messenger_search_v1({}, 'common', null, null, {} * 8192::bigint, 100)",
        many.id,
        STRETCHES - 98
    );
    let found_before = at.number(&of_before).await;
    // Below the last id are all of them, and then nothing in half a billion stretches.
    for last in [(STRETCHES + 1) * 8_192, 1 << 42] {
        // At first all entries wait to join the index.
        if last > 1 << 40 {
            at.sql("vacuum messages").await;
        }
        at.sql(&said(other, &bot, &last.to_string(), &last.to_string(), "'''else'':1'", 1)).await;
        for (user, author) in [(&many, None), (&few, Some(few.id))] {
            // In a closed quote a word is no beginning, which the index would not be asked for.
            for (q, expected) in [("\"common\"", &[near, MessageId(1)][..]), ("\"old\"", &[MessageId(1)])] {
                let (found, cost) = at.searched(user, author, q).await;
                assert_eq!(found, expected, "{q}: {cost:?}");
                assert!((1..=cost.pages * PAGE).contains(&cost.asked) && cost.pages <= PAGES, "{q}: {cost:?}");
                println!("{q} below {last}: {cost:?}");
            }
        }
    }
    assert!(found_before >= 1, "a node of the release before finds nothing");
}

/// Two statements would see two states, and perhaps two servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_search_is_one_statement() {
    let server = messenger_testing::Postgres::private().await;
    let at = Fixture::over(&server.new_database().await, |store| store).await;
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    at.send(chat, &ann, "words").await;
    at.sql("alter system set log_statement = 'all'").await;
    at.sql("select pg_reload_conf()").await;
    let wanted = SearchFor { query: Query::read("words", Language::SIMPLE).unwrap(), chat: None, author: None };
    // The setting reaches the store's connections with their next statement.
    within(async || {
        assert_eq!(at.store.search(ann.id, &wanted, &first(10)).await.unwrap().items.len(), 1);
        server.log().iter().any(|line| line.contains("messenger_search_v2"))
    })
    .await;
    let logged = async |mark: &str| {
        at.sql(&format!("select '{mark}'")).await;
        within(async || server.log().iter().any(|line| line.contains(mark))).await;
        server.log().len()
    };
    let begun = logged("begun").await;
    at.store.search(ann.id, &wanted, &first(10)).await.unwrap();
    let ended = logged("ended").await;
    let log = server.log();
    let of_ours = |line: &&String| line.contains("LOG:  execute ") && !line.contains("'ended'");
    let questions: Vec<_> = log[begun..ended].iter().filter(of_ours).collect();
    assert_eq!(questions.len(), 1, "{questions:?}");
}
