//! The user of Redis with the least rights, as the handbook makes it: everything works under it,
//! and each of its rights is needed.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use super::handbook;
use super::walk::walk;
use super::{root, shipped};
use crate::support::deployment::Builder;
use crate::support::sentinel::Sentinels;
use crate::support::{Deployment, Program, Redis, RedisCluster, blocking, eventually, limited, process};

const PASSWORD: &str = "of-the-tests";

/// The rules that the handbook gives to the user `messenger`.
fn rules() -> Vec<String> {
    let page = shipped("docs/OPERATIONS.md");
    let block = handbook::blocks(&page).into_iter().find(|block| block.under == "The user of Redis");
    let commands = block.expect("the user of Redis").commands.replace("\\\n", " ").replace(['"', '\''], "");
    let (_, rules) = commands.split_once("acl setuser messenger ").expect("the rules");
    rules.replace("$MESSENGER_PASSWORD", PASSWORD).split_whitespace().map(str::to_owned).collect()
}

async fn give(server: &Redis, rules: &[String]) {
    let words: Vec<&str> =
        ["ACL", "SETUSER", "messenger"].into_iter().chain(rules.iter().map(String::as_str)).collect();
    server.command(&words).await;
    server.command(&["CONFIG", "RESETSTAT"]).await;
}

fn url(server: &Redis) -> String {
    format!("redis://messenger:{PASSWORD}@{}", server.address())
}

/// The commands of the rules.
fn given(rules: &[String]) -> BTreeSet<String> {
    rules.iter().filter_map(|rule| rule.strip_prefix('+')).map(str::to_owned).collect()
}

/// What the server refused to the user.
async fn refused(server: &Redis) -> String {
    format!("{:?}", server.command(&["ACL", "LOG"]).await)
}

/// The commands that were called, `hello` and `cluster|slots`.
async fn called(server: &Redis) -> BTreeSet<String> {
    let stats = server.text(&["INFO", "commandstats"]).await;
    stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next().map(str::to_owned)).collect()
}

async fn until_called(servers: &[&Redis], command: &str) {
    eventually(&format!("{command} is called"), Duration::from_secs(20), async || {
        for server in servers {
            if called(server).await.contains(command) {
                return Some(());
            }
        }
        None
    })
    .await;
}

/// Everything that programs do with Redis.
async fn drive(d: &Deployment, servers: &[&Redis]) {
    let walked = walk(&d.rest(), &d.gateway(0).ws_url()).await;
    // A gateway that dies is swept by the other one; its users are registered anew.
    d.gateway(0).kill_9();
    let (_, users) = walked.end().await;
    d.gateway(0).restart().await;
    let mut socket = users[0].connect_to(1).await;
    socket.round_trip().await;
    eventually("the dead gateway's users are offline", Duration::from_secs(40), async || {
        let online = users[1].rest.on(1).get("/ws/online-users").await.ok(200);
        (online["count"] == 1).then_some(())
    })
    .await;
    // Keys that are lost one by one are made again.
    for server in servers {
        let keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "{m:*:since"]).await).unwrap();
        for key in keys {
            server.command(&["DEL", &key]).await;
        }
    }
    // The last command that only the mending calls.
    until_called(servers, "hexists").await;
    socket.close().await;
    // The links are lost; what was published meanwhile is read.
    for server in servers {
        server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    }
    until_called(servers, "zrevrangebyscore").await;
    // The scripts are gone, as after a failover.
    for server in servers {
        server.command(&["SCRIPT", "FLUSH"]).await;
    }
    let again = d.user().await;
    again.connect_to(0).await.round_trip().await;
    d.api(0).restart().await;
    let program = Program::Api.path().unwrap();
    let mut doctor = Command::new(program);
    doctor.arg("doctor").env_clear().envs(d.env()).env("PORT", "0").env("ADMIN_PORT", "0");
    blocking(|| process::run(doctor)).await.unwrap();
    for server in servers {
        let said = refused(server).await;
        assert!(!said.contains("reason"), "refused: {said}");
    }
    for node in d.nodes() {
        let log = node.log().since(0).join("\n").to_lowercase();
        assert!(!log.contains("noperm"), "{}", node.tail(30));
    }
}

/// A slot is on its way to another server, as where a cluster grows: who asks for a key of it is
/// sent on, and says `asking` there.
async fn ask_while_a_slot_moves(d: &Deployment, cluster: &RedisCluster) {
    let user = d.user().await;
    // The limits of a user stand under the user's number.
    let key = format!("{{{}}}", user.id);
    let slot = cluster.servers[0].command(&["CLUSTER", "KEYSLOT", &key]).await;
    cluster.begin_to_move(redis::from_redis_value(slot).unwrap()).await;
    eventually("asking is called", Duration::from_secs(20), async || {
        user.rest.get("/auth/me").await;
        for server in &cluster.servers {
            if called(server).await.contains("asking") {
                return Some(());
            }
        }
        None
    })
    .await;
    for server in &cluster.servers {
        let said = refused(server).await;
        assert!(!said.contains("reason"), "refused: {said}");
    }
}

fn limits(builder: Builder) -> Builder {
    builder
        .env("PRESENCE_LEASE_SECONDS", 3)
        .env("RATE_LIMITS", "on")
        .env("RATE_REGISTRATIONS_PER_MINUTE", 1000)
        .env("RATE_LOGINS_PER_MINUTE", 1000)
}

#[tokio::test]
async fn the_user_of_the_handbook_has_the_rights_that_are_needed_and_no_other() {
    limited(async {
        let rules = rules();
        let redis = Redis::private().await;
        give(&redis, &rules).await;
        let d = limits(Deployment::cluster(1, 2).redis(&redis).env("REDIS_URL", url(&redis))).start().await;
        drive(&d, &[&redis]).await;
        drop(d);
        // Another database of the same server.
        let d = limits(Deployment::cluster(1, 1).redis(&redis).env("REDIS_URL", url(&redis) + "/1")).start().await;
        walk(&d.rest(), &d.gateway(0).ws_url()).await;
        let said = refused(&redis).await;
        assert!(!said.contains("reason"), "refused: {said}");
        let mut used = called(&redis).await;
        drop(d);

        let cluster = RedisCluster::start(3).await;
        for server in &cluster.servers {
            give(server, &rules).await;
        }
        let urls: Vec<String> = cluster.servers.iter().map(|server| url(server)).collect();
        let d = limits(Deployment::cluster(1, 2).env("REDIS_URL", urls.join(","))).start().await;
        let servers: Vec<&Redis> = cluster.servers.iter().map(|server| &**server).collect();
        drive(&d, &servers).await;
        ask_while_a_slot_moves(&d, &cluster).await;
        for server in servers {
            used.extend(called(server).await);
        }
        let given: BTreeSet<String> = given(&rules);
        let idle: Vec<&String> = given.iter().filter(|right| !used.contains(*right)).collect();
        assert!(idle.is_empty(), "rights that nothing needs: {idle:?}; called: {used:?}");
    })
    .await;
}

/// A branch that no test of the rights takes needs its command all the same.
#[test]
fn each_command_of_the_scripts_is_among_the_rights() {
    let given = given(&rules());
    let (mut scripts, mut folders) = (0, vec![root().join("common/src")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "lua") {
                scripts += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                for call in text.split("call('").skip(1) {
                    let command = call.split('\'').next().unwrap().to_lowercase();
                    assert!(given.contains(&command), "{}: no right to {command}", path.display());
                }
            }
        }
    }
    assert!(scripts > 5, "where are the scripts?");
}

#[tokio::test]
async fn a_user_of_the_sentinels_needs_one_right() {
    limited(async {
        let page = shipped("docs/OPERATIONS.md");
        let rights = ["+hello", "+sentinel|get-master-addr-by-name"];
        assert!(page.contains(&format!("The user of a Sentinel needs `{}` and `{}` alone", rights[0], rights[1])));
        let redis = Redis::private().await;
        give(&redis, &rules()).await;
        let sentinels = Sentinels::of(&redis, "main").await;
        let mut words = vec!["ACL", "SETUSER", "asker", "on", ">of-sentinels", "-@all"];
        words.extend(rights);
        sentinels.command(&words).await;
        let url = sentinels.url("main").replace("://", &format!("://messenger:{PASSWORD}@"));
        let url = url + "?sentinel_username=asker&sentinel_password=of-sentinels";
        let d = limits(Deployment::cluster(1, 1).redis(&redis).env("REDIS_URL", url)).start().await;
        walk(&d.rest(), &d.gateway(0).ws_url()).await;
        for said in sentinels.command(&["ACL", "LOG"]).await {
            assert!(!format!("{said:?}").contains("reason"), "refused: {said:?}");
        }
    })
    .await;
}
