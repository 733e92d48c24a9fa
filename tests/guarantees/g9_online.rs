//! G9: the online users of a large group cost what is online, whoever asks, however often.

use std::time::{Duration, Instant};

use crate::support::{Deployment, User, Value, limited_alone};

/// As many members as a group may have.
const MEMBERS: usize = 100_000;
const POLLERS: usize = 8;
const LASTS: Duration = Duration::from_secs(4);
/// An ordinary request beside the pollers, with what a machine of two cores adds to programs that
/// are built for debugging.
const SERVED_WITHIN: Duration = Duration::from_millis(500);

/// Fills a group up with users of its own.
async fn fill(d: &Deployment, chat_id: i64) {
    let more = MEMBERS - 4;
    let statements = format!(
        "insert into users (username, username_lower, email, email_lower, password_hash, created_at)
             select 'crowd_' || n, 'crowd_' || n, n || '@crowd.example', n || '@crowd.example', '', active_at
             from chats, (
                 with recursive i(n) as (select 1 union all select n + 1 from i where n < {more}) select n from i
             ) as numbers where chats.id = {chat_id};
         insert into members (chat_id, user_id, role, joined_at)
             select chats.id, users.id, 2, active_at
             from users, chats where chats.id = {chat_id} and username_lower like 'crowd_%';
         update chats set member_count = {MEMBERS} where id = {chat_id}"
    );
    d.execute(&statements).await;
}

async fn poll(user: &User, path: &str, until: Instant) -> u32 {
    let mut polls = 0;
    while Instant::now() < until {
        assert_eq!(user.rest.get(path).await.ok(200)["count"], 3);
        polls += 1;
    }
    polls
}

async fn a_large_group_costs_what_is_online(d: &Deployment) {
    let members = [d.user().await, d.user().await, d.user().await, d.user().await];
    let [ann, ben, cem, _away] = &members;
    let chat_id = ann.group_id(&members[1..].iter().collect::<Vec<_>>()).await;
    let stranger = d.user().await;
    fill(d, chat_id).await;
    let _sockets = [ann.connect().await, ben.connect().await, cem.connect().await, stranger.connect().await];
    let path = format!("/ws/chat/{chat_id}/online-users");

    let mut ids = Vec::new();
    let mut next = format!("{path}?limit=2");
    loop {
        let page = ann.rest.get(&next).await.ok(200);
        ids.extend(page["items"].as_array().unwrap().iter().map(|item| item["user_id"].as_i64().unwrap()));
        let Value::String(cursor) = &page["next_cursor"] else { break };
        next = format!("{path}?limit=2&cursor={cursor}");
    }
    assert_eq!(ids, [ann.id, ben.id, cem.id], "by id, without the stranger");

    let until = Instant::now() + LASTS;
    let path = format!("{path}?limit=1");
    let pollers = futures_util::future::join_all((0..POLLERS).map(|n| poll(&members[n % 3], &path, until)));
    let others = async {
        let mut took = Vec::new();
        while Instant::now() < until {
            let asked = Instant::now();
            stranger.rest.get("/ws/online-users").await.ok(200);
            took.push(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        took.sort();
        (took[took.len() / 2], took[took.len() * 99 / 100])
    };
    let (polls, (middle, slow)) = tokio::join!(pollers, others);
    let polls: u32 = polls.into_iter().sum();
    println!("G9 {POLLERS} pollers, {polls} polls of {MEMBERS} members: others' p50 {middle:.0?}, p99 {slow:.0?}");
    assert!(polls > 200, "{polls} polls");
    assert!(slow < SERVED_WITHIN, "another request took {slow:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_group_costs_what_is_online_in_one_process() {
    limited_alone(async { a_large_group_costs_what_is_online(&Deployment::embedded().start().await).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_group_costs_what_is_online_on_a_gateway() {
    limited_alone(async { a_large_group_costs_what_is_online(&Deployment::cluster(1, 1).start().await).await }).await;
}
