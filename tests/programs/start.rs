//! Starting and starting again: data and tokens that last, servers that are waited for.

use std::sync::Arc;
use std::time::Duration;

use crate::support::deployment::{Builder, SECRET_KEY};
use crate::support::node::Env;
use crate::support::ports::free_port;
use crate::support::process::{self, Log};
use crate::support::proxy::Mode;
use crate::support::{Deployment, Postgres, Program, Proxy, Redis, SOON, blocking, json, limited, programs};

both_forms_alone!(data_and_tokens_survive_a_restart);

async fn data_and_tokens_survive_a_restart(builder: Builder) {
    let d = builder.start().await;
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let message = ann.say(chat_id, "lasting").await;
    for node in d.nodes() {
        node.restart().await;
    }
    assert_eq!(bob.history(chat_id).await["items"], json!([message]));
    ann.login().await.ok(200);
    d.rest().post("/auth/refresh", json!({"refresh_token": bob.refresh})).await.ok(200);
    let mut ws = bob.connect().await;
    let seq = message["seq"].as_i64().unwrap();
    assert_eq!(ws.subscribe_after(chat_id, seq - 1).await["recovered"], 1);
    assert_eq!(ws.expect("new_message").await["message"], message);
    let next = ann.say(chat_id, "and on").await;
    assert_eq!(next["seq"], seq + 1);
    assert_eq!(ws.expect("new_message").await["message"], next);
}

/// `messenger` needs no server, no set-up and no configuration: its secret is made at the first
/// start and kept.
#[tokio::test]
async fn messenger_starts_with_nothing_and_keeps_its_secret() {
    limited(async {
        let builder = Deployment::embedded()
            .without("SECRET_KEY")
            .without("DEBUG")
            .without("HOST")
            .without("RATE_LIMITS")
            .default_database();
        let d = builder.start().await;
        let node = Arc::clone(&d.apis()[0]);
        let log = Arc::clone(&node);
        blocking(move || log.log().find(0, SOON, |line| line.starts_with("Open ").then_some(()))).await;
        let said = node.log().since(0).join("\n");
        let home = node.dir().display().to_string();
        assert!(said.contains(&home), "the path of the database is printed:\n{said}");
        let page = said.lines().find_map(|line| line.strip_prefix("Open ")?.strip_suffix(" in a browser"));
        assert_eq!(page, Some(d.api(0).url().as_str()), "one line says where the page is:\n{said}");
        let user = d.user().await;
        node.restart().await;
        assert_eq!(user.rest.get("/auth/me").await.ok(200)["id"], user.id);
        user.login().await.ok(200);
    })
    .await;
}

/// Nodes with different keys refuse each other's tokens at random: the log names it. A change on
/// purpose is named once.
#[tokio::test]
async fn a_key_that_differs_from_the_deployments_is_named() {
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let said = |node: &Arc<crate::support::Node>| {
            node.log().since(0).iter().filter(|line| line.contains("last signed with a key")).count()
        };
        assert!(d.nodes().iter().all(|node| said(node) == 0), "the same key on all");
        let api = d.api(0);
        api.set_env("SECRET_KEY", "another-key-of-more-than-thirty-two-bytes-0123");
        api.restart().await;
        assert_eq!(said(api), 1);
        assert!(!api.log().since(0).iter().any(|line| line.contains("another-key-of")), "never the key itself");
        api.restart().await;
        assert_eq!(said(api), 1, "once");
        d.gateway(0).restart().await;
        assert_eq!(said(d.gateway(0)), 1, "the gateway kept the old one");
    })
    .await;
}

/// Runs `program` until it has written a line with `word`, when it takes no connection yet: a
/// balancer goes on to another node. Then lets `heal` act and waits until it is ready.
async fn waits_for(program: Program, database: String, redis: String, word: &str, heal: impl FnOnce()) {
    let port = free_port();
    let env: Env = [
        ("HOST", "127.0.0.1"),
        ("PORT", &port.to_string()),
        ("ADMIN_PORT", "0"),
        ("SECRET_KEY", SECRET_KEY),
        ("DATABASE_URL", &database),
        ("REDIS_URL", &redis),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let dir = process::new_dir("waits");
    let log: Arc<Log> = Arc::default();
    let (to, of) = (Arc::clone(&log), dir.clone());
    let started = blocking(move || programs::launch(program, &of, &env, &[], &to)).await;
    let mut process = started.unwrap();
    let find = async |text: String| {
        let log = Arc::clone(&log);
        blocking(move || {
            let found = log.find(0, Duration::from_secs(30), |line| line.to_lowercase().contains(&text).then_some(()));
            found.unwrap_or_else(|| panic!("no line with {text:?}:\n{}", log.since(0).join("\n")));
        })
        .await;
    };
    find(word.to_owned()).await;
    assert!(process.exited().is_none(), "{:?}", log.since(0));
    let connect = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop);
    assert_eq!(connect().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    heal();
    find(format!("{} listening on http://", program.name())).await;
    connect().await.unwrap();
    drop(process);
    process::remove_dir(&dir);
}

#[tokio::test]
async fn a_database_that_is_not_up_yet_is_waited_for() {
    limited(async {
        let (postgres, redis) = (Postgres::private().await, Redis::private().await);
        for program in [Program::Api, Program::Messenger] {
            let proxy = Proxy::to(&format!("127.0.0.1:{}", postgres.port()));
            proxy.set(Mode::Refuse);
            let database = postgres.new_database().await;
            let name = database.rsplit('/').next().unwrap();
            let through = format!("postgresql://postgres@{}/{name}", proxy.address());
            waits_for(program, through, redis.url(), "database", || {
                proxy.set(Mode::Forward);
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_is_not_up_yet_is_waited_for() {
    limited(async {
        let (postgres, redis) = (Postgres::private().await, Redis::private().await);
        let database = postgres.new_database().await;
        for program in Program::ALL {
            let proxy = Proxy::to(&redis.address());
            proxy.set(Mode::Refuse);
            let through = format!("redis://{}", proxy.address());
            waits_for(program, database.clone(), through, "redis", || {
                proxy.set(Mode::Forward);
            })
            .await;
        }
    })
    .await;
}

/// A gateway alone brings no schema up: it waits for an api that does.
#[tokio::test]
async fn a_gateway_waits_for_the_schema() {
    limited(async {
        let (postgres, redis) = (Postgres::private().await, Redis::private().await);
        let database = postgres.new_database().await;
        let builder = Deployment::cluster(1, 0).postgres(&postgres).redis(&redis).env("DATABASE_URL", &database);
        let api = std::cell::RefCell::new(None);
        let start = || *api.borrow_mut() = Some(builder);
        let gateway = waits_for(Program::Gateway, database, redis.url(), "schema", start);
        let healed = async {
            loop {
                let taken = api.borrow_mut().take();
                if let Some(builder) = taken {
                    return builder.start().await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ((), d) = tokio::time::timeout(4 * SOON, async { tokio::join!(gateway, healed) })
            .await
            .expect("a gateway that comes up after its schema");
        drop(d);
    })
    .await;
}

/// Each of the schema's migrations looks for the table of migrations; its notices are no news.
#[tokio::test]
async fn a_first_start_says_no_more_than_it_must() {
    limited(async {
        let (postgres, redis) = (Postgres::private().await, Redis::private().await);
        let d = Deployment::cluster(1, 0).postgres(&postgres).redis(&redis).start().await;
        let lines = d.api(0).log().since(0);
        let notices: Vec<_> = lines.iter().filter(|line| line.contains("_sqlx_migrations")).collect();
        assert!(notices.is_empty(), "{notices:#?}");
    })
    .await;
}

/// `messenger` with Postgres and Redis configured is an api and a gateway in one, and one more
/// node of the cluster.
#[tokio::test]
async fn messenger_is_one_more_node_of_a_cluster() {
    limited(async {
        let mut d = Deployment::cluster(1, 1).start().await;
        d.add_messenger().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let (mut one, mut other) = (ann.connect_to(0).await, bob.connect_to(1).await);
        let head = one.subscribe(chat_id).await["seq"].as_i64().unwrap();
        other.subscribe(chat_id).await;
        for (n, rest) in [(1, ann.rest.on(0)), (2, ann.rest.on(1))] {
            let body = json!({"chat_id": chat_id, "text": "from either"});
            rest.post("/messages/send", body).await.ok(201);
            for ws in [&mut one, &mut other] {
                assert_eq!(ws.expect("new_message").await["seq"], head + n);
            }
        }
        for gateway in 0..2 {
            let path = format!("/ws/chat/{chat_id}/online-users");
            assert_eq!(ann.rest.on(gateway).get(&path).await.ok(200)["count"], 2);
        }
    })
    .await;
}

/// The program opens the pipe while it reads its configuration, so this is before anything else.
async fn signalled_while_it_reads(
    program: Program,
    words: &'static [&'static str],
    value: Option<String>,
) -> (Option<i32>, Vec<String>) {
    let dir = process::new_dir("early");
    let pipe = dir.join("pipe");
    let log = Arc::<Log>::default();
    let (to, of) = (Arc::clone(&log), dir.clone());
    let code = blocking(move || {
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let given = [
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("ADMIN_PORT", "0"),
            ("SECRET_KEY", SECRET_KEY),
            ("REDIS_URL", "redis://127.0.0.1:1"),
            ("DATABASE_URL_FILE", pipe.to_str().unwrap()),
        ];
        let env: Env = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut started = programs::launch(program, &of, &env, words, &to).unwrap();
        // Opens once the program does.
        let mut writes = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        started.signal(nix::sys::signal::Signal::SIGTERM);
        if let Some(value) = value {
            std::io::Write::write_all(&mut writes, value.as_bytes()).unwrap();
            drop(writes);
            started.ended(SOON).unwrap().code()
        } else {
            let ended = started.ended(SOON).unwrap().code();
            drop(writes);
            ended
        }
    })
    .await;
    process::remove_dir(&dir);
    (code, log.since(0))
}

#[tokio::test]
async fn a_signal_that_comes_early_ends_a_program_in_order() {
    limited(async {
        // A database that never answers: nothing but the signal ends what waits for it.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let database = || Some(format!("postgres://nobody@{}/none", silent.local_addr().unwrap()));
        for program in [Program::Messenger, Program::Api, Program::Gateway] {
            let (code, log) = signalled_while_it_reads(program, &[], database()).await;
            assert_eq!(code, Some(0), "{program:?}: {log:?}");
        }
        for words in [&["invite"][..], &["migrate"], &["doctor"], &["admin", "users", "list"]] {
            let (code, log) = signalled_while_it_reads(Program::Messenger, words, database()).await;
            assert_eq!(code, Some(1), "{words:?}: {log:?}");
            assert!(log.iter().any(|line| line.contains("a signal ended it")), "{words:?}: {log:?}");
        }
        // One whose configuration does not come does not wait for it.
        let (code, log) = signalled_while_it_reads(Program::Messenger, &["invite"], None).await;
        assert_eq!(code, Some(1), "{log:?}");
    })
    .await;
}
