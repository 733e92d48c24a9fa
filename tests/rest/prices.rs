//! Other prices than the ordinary one: of pages and documents, of long lists, of an IPv6 site.

use reqwest::Method;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::limits::{MANY, assert_limited, at_once, limited};
use crate::support::deployment::Builder;
use crate::support::{Answer, Deployment, json};

both_forms_alone!(
    a_list_of_many_chats_costs_more,
    pages_and_documents_are_counted_by_address,
    an_ipv6_site_pays_as_eight_addresses,
);

/// A user's group, which is the last that was made.
async fn copy_5_000_times(d: &Deployment, chat: i64, user: i64) {
    let statements = format!(
        "begin;
         insert into chats (is_group, name, created_at, active_at, member_count)
             with recursive i(n) as (select 1 union all select n + 1 from i where n < 5000)
             select is_group, name, created_at, active_at, 1 from i, chats where id = {chat};
         insert into members (chat_id, user_id, role, joined_at)
             select id, {user}, 1, active_at from chats where id > {chat};
         commit"
    );
    if d.is_cluster() {
        let mut link = PgConnection::connect(d.database_url()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut link).await.unwrap();
    } else {
        let mut link = SqliteConnection::connect(&d.env()["DATABASE_URL"]).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut link).await.unwrap();
    }
}

/// All of them are sorted for one page.
async fn a_list_of_many_chats_costs_more(builder: Builder) {
    let d = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 8).start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    copy_5_000_times(&d, ann.group_id(&[]).await, ann.id).await;
    let (_, lists) = at_once(|| bob.rest.request(Method::GET, "/chats/?limit=1")).await;
    assert!(lists.len() >= 8, "{} of one who is in no chat", lists.len());
    // A request, and four more for its chats: half a burst at most.
    let mut listed = 0;
    for _ in 0..MANY {
        let answer = ann.rest.get("/chats/?limit=1").await;
        if answer.status == 200 {
            listed += 1;
        } else {
            assert_limited(answer);
        }
    }
    assert!((1..8).contains(&listed), "{listed} of one who is in 5,000 chats");
}

/// More of them than of other requests: a page has many files.
async fn pages_and_documents_are_counted_by_address(builder: Builder) {
    let d = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 1).start().await;
    let rest = d.rest().on(0);
    for path in ["/", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/asyncapi", "/asyncapi.json", "/invite/x"] {
        let (refused, others) = at_once(|| rest.request(Method::GET, path)).await;
        assert!((1..=MANY).contains(&refused), "{path}: {refused}");
        assert!(others.iter().all(|answer| answer.status < 400), "{path}");
    }
    d.user().await.rest.get("/auth/me").await.ok(200);
}

async fn an_ipv6_site_pays_as_eight_addresses(builder: Builder) {
    let builder = limited(builder).env("RATE_REQUESTS_PER_SECOND", 1).env("RATE_REQUESTS_BURST", 1);
    let d = builder.env("TRUSTED_PROXIES", "127.0.0.0/8,::1").start().await;
    let body = json!({"refresh_token": "rubbish"});
    let from = |address: String| {
        let request = d.rest().request(Method::POST, "/auth/refresh").json(&body);
        Answer::of(request.header("x-forwarded-for", address))
    };
    let answers = futures_util::future::join_all((0..60).map(|n| from(format!("2001:db8:1:{n:x}::1")))).await;
    let passed = answers.iter().filter(|answer| answer.status == 401).count();
    assert!((8..60).contains(&passed), "{passed} of 60 subscribers of one site");
    answers.into_iter().filter(|answer| answer.status != 401).for_each(assert_limited);
    from("2001:db8:2::1".to_owned()).await.problem(401, "token_invalid");
}
