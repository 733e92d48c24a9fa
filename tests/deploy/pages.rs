//! The commands of the other pages: the README's walk through the API and its invitation, and the
//! reference's keys.

use std::collections::BTreeMap;

use super::handbook::{Block, blocks, path_with, run};
use super::shipped;
use crate::support::{Deployment, json, limited, process};

/// The one block of commands under that heading.
fn block(page: &str, heading: &str) -> Block {
    let found = blocks(&shipped(page)).into_iter().filter(|block| block.under == heading);
    let [block] = <[Block; 1]>::try_from(found.collect::<Vec<_>>()).unwrap();
    block
}

#[tokio::test]
async fn the_readmes_walk_leads_to_a_message() {
    limited(async {
        let messenger = Deployment::embedded().env("RATE_LIMITS", "on").start().await;
        let dir = process::new_dir("walk");
        let env = BTreeMap::from([("PATH".to_owned(), path_with(&dir).await)]);
        let walk = block("README.md", "A walk through the API");
        let said = run(&walk, &dir, &env, &[("http://127.0.0.1:8000", messenger.api(0).url())]).await;
        let answers: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&said)
            .into_iter::<serde_json::Value>()
            .collect::<Result<_, _>>()
            .unwrap();
        let [ann, ben, chat, sent, history] = &answers[..] else { panic!("{said}") };
        assert_eq!((&ann["username"], &ben["id"]), (&json!("ann"), &json!(2)));
        assert_eq!(chat["member_count"], 2);
        assert_eq!(history["items"], json!([sent]));
        process::remove_dir(&dir);
    })
    .await;
}

/// Both READMEs: strangers stay out, and the link lets a friend in.
#[tokio::test]
async fn a_friend_is_invited_as_the_readme_says() {
    limited(async {
        for (page, heading) in [("README.md", "Invite a friend"), ("README.ru.md", "Пригласить друга")] {
            let found = blocks(&shipped(page)).into_iter().filter(|block| block.under == heading);
            let [start, invite] = <[Block; 2]>::try_from(found.collect::<Vec<_>>()).unwrap();
            let mut builder = Deployment::embedded();
            for setting in start.commands.strip_suffix(" messenger").unwrap().split(' ') {
                let (name, value) = setting.split_once('=').unwrap();
                builder = builder.env(name, value);
            }
            let messenger = builder.start().await;
            let register = async |name: &str, invite: Option<&str>| {
                let email = format!("{name}@example.org");
                let body = json!({"username": name, "email": email, "password": "correct horse", "invite": invite});
                messenger.rest().post("/auth/register", body).await
            };
            register("stranger", None).await.problem(403, "registration_closed");
            let dir = process::new_dir("invite");
            let mut env = messenger.env().clone();
            env.insert("PATH".to_owned(), path_with(&dir).await);
            let link = run(&invite, &dir, &env, &[("https://chat.example.org", messenger.api(0).url())]).await;
            let code = link.trim().rsplit('/').next().unwrap();
            let led = messenger.rest().get(&format!("/invite/{code}")).await;
            assert_eq!((led.status, led.header("location")), (303, Some(&*format!("../#/invite/{code}"))), "{link}");
            register("friend", Some(code)).await.ok(201);
            register("friend-of-a-friend", Some(code)).await.problem(404, "invite_not_found");
            process::remove_dir(&dir);
        }
    })
    .await;
}

#[tokio::test]
async fn keys_made_as_the_reference_says_take_over() {
    limited(async {
        let dir = process::new_dir("keys");
        let env = BTreeMap::from([("PATH".to_owned(), path_with(&dir).await)]);
        run(&block("docs/REFERENCE.md", "Keys"), &dir, &env, &[]).await;
        let file = |name: &str| dir.join(name).display().to_string();

        let cluster = Deployment::cluster(1, 1).start().await;
        let ann = cluster.user().await;
        for node in cluster.nodes() {
            node.set_env("JWT_PUBLIC_KEYS_FILE", &file("jwt-public.json"));
            node.restart().await;
        }
        cluster.api(0).set_env("JWT_PRIVATE_KEY_FILE", &file("jwt-private.pem"));
        cluster.api(0).restart().await;
        assert_eq!(ann.rest.get("/auth/me").await.status, 200, "nobody is signed out");
        let later = ann.second_session().await;
        later.connect().await.close().await;
        for node in cluster.nodes() {
            node.set_env("SECRET_KEY", "");
            node.restart().await;
        }
        assert_eq!(later.rest.get("/auth/me").await.status, 200, "an Ed25519 key signed it");
        later.connect().await.close().await;
        assert_eq!(ann.rest.get("/auth/me").await.status, 401, "nobody knows its key any more");
        process::remove_dir(&dir);
    })
    .await;
}
