//! Passwords: guessing one slows the guesser, and what is guessed first is refused.

use futures_util::future::join_all;
use reqwest::Method;
use sqlx::{Connection, PgConnection};

use crate::support::deployment::Builder;
use crate::support::user::{PASSWORD, fresh_name};
use crate::support::{Answer, Deployment, Rest, Value, json, limited};

both_forms_alone!(
    a_stranger_who_guesses_does_not_slow_the_owner,
    guesses_at_nobody_are_limited_alike,
    spellings_of_one_address_are_guessed_as_one,
    right_passwords_do_not_count,
    an_owner_is_known_where_they_registered_and_refreshed,
    a_known_network_has_a_limit_of_its_own,
    a_new_password_forgets_other_networks,
    the_networks_of_one_site_count_together,
);
both_forms!(weak_passwords_are_refused);

/// Behind a proxy that names its clients.
async fn behind_a_proxy(builder: Builder) -> Deployment {
    let builder = builder.env("RATE_LIMITS", "on").env("TRUSTED_PROXIES", "127.0.0.0/8,::1");
    builder.env("RATE_WRONG_PASSWORDS_PER_HOUR", 20).start().await
}

async fn login(rest: &Rest, from: &str, name: &str, password: &str) -> Answer {
    let request = rest.request(Method::POST, "/auth/login").header("x-forwarded-for", from);
    Answer::of(request.json(&json!({"username": name, "password": password}))).await
}

/// How many counts of one rate there are: one, and one more in each process that lost Redis and
/// said so.
fn counts(d: &Deployment) -> usize {
    let alone = |line: &String| line.contains("counts the rate limits alone");
    1 + d.nodes().iter().filter(|node| node.log().since(0).iter().any(alone)).count()
}

/// Guesses from 150 addresses, of which the first twenty are checked.
async fn guess(d: &Deployment, name: &str) {
    let checked = guesses(&d.rest(), name).await;
    assert!((20..=20 * counts(d)).contains(&checked), "{checked} tries, {} counts", counts(d));
}

/// Guesses from 150 addresses, and how many were checked.
async fn guesses(rest: &Rest, name: &str) -> usize {
    let mut checked = 0;
    for n in 1..=150 {
        let answer = login(rest, &format!("203.0.113.{n}"), name, "not the password").await;
        if answer.status == 401 {
            checked += 1;
            answer.problem(401, "bad_credentials");
        } else {
            assert!(answer.header("retry-after").expect("Retry-After").parse::<u64>().unwrap() <= 180);
            answer.problem(429, "rate_limited");
        }
    }
    checked
}

async fn a_stranger_who_guesses_does_not_slow_the_owner(builder: Builder) {
    let d = behind_a_proxy(builder).await;
    let (ann, rest) = (d.user().await, d.rest());
    login(&rest, "198.51.100.1", &ann.username, PASSWORD).await.ok(200);
    login(&rest, "2001:db8:1:1::1", &ann.username, PASSWORD).await.ok(200);
    guess(&d, &ann.username).await;
    let again = guesses(&rest, &ann.username.to_uppercase()).await;
    assert!(again <= 20 * (counts(&d) - 1), "without case: {again}");
    for known in ["198.51.100.1", "2001:db8:1:2::2"] {
        login(&rest, known, &ann.username, "mistyped this time").await.problem(401, "bad_credentials");
        login(&rest, known, &ann.username, PASSWORD).await.ok(200);
    }
    login(&rest, "198.51.100.2", &ann.username, PASSWORD).await.problem(429, "rate_limited");
}

async fn guesses_at_nobody_are_limited_alike(builder: Builder) {
    let d = behind_a_proxy(builder).await;
    guess(&d, &fresh_name("nobody")).await;
}

async fn spellings_of_one_address_are_guessed_as_one(builder: Builder) {
    let d = behind_a_proxy(builder).await;
    let rest = d.rest();
    let mut checked = 0;
    for n in 0..100_u32 {
        // Each letter narrow or wide.
        let wide = |(at, c): (u32, char)| if n >> at & 1 == 1 { char::from_u32(c as u32 + 0xfee0).unwrap() } else { c };
        let name: String = (0..).zip("address".chars()).map(wide).collect();
        let from = format!("203.0.113.{}", n + 1);
        let answer = login(&rest, &from, &format!("{name}@example.org"), "not the password").await;
        checked += usize::from(answer.status == 401);
    }
    assert!((20..=20 * counts(&d)).contains(&checked), "{checked} tries, {} counts", counts(&d));
}

async fn right_passwords_do_not_count(builder: Builder) {
    let d = behind_a_proxy(builder).await;
    let (ann, rest) = (d.user().await, d.rest());
    for n in 1..=40 {
        login(&rest, &format!("203.0.113.{n}"), &ann.username, PASSWORD).await.ok(200);
    }
}

async fn an_owner_is_known_where_they_registered_and_refreshed(builder: Builder) {
    let d = behind_a_proxy(builder).await;
    let (rest, name) = (d.rest(), fresh_name("owner"));
    let post = async |path: &str, from: &str, body: Value| {
        Answer::of(rest.request(Method::POST, path).header("x-forwarded-for", from).json(&body)).await
    };
    let account = json!({"username": name, "email": format!("{name}@example.org"), "password": PASSWORD});
    post("/auth/register", "198.51.100.1", account).await.ok(201);
    guess(&d, &name).await;
    let tokens = login(&rest, "198.51.100.1", &name, PASSWORD).await.ok(200);
    login(&rest, "198.51.100.2", &name, PASSWORD).await.problem(429, "rate_limited");
    post("/auth/refresh", "198.51.100.2", json!({"refresh_token": tokens["refresh_token"]})).await.ok(200);
    login(&rest, "198.51.100.2", &name, PASSWORD).await.ok(200);
    login(&rest, "198.51.100.3", &name, PASSWORD).await.problem(429, "rate_limited");
}

async fn a_known_network_has_a_limit_of_its_own(builder: Builder) {
    let d = behind_a_proxy(builder.env("RATE_LOGINS_PER_MINUTE", 1000)).await;
    let (ann, rest) = (d.user().await, d.rest());
    for known in ["198.51.100.1", "198.51.100.2"] {
        login(&rest, known, &ann.username, PASSWORD).await.ok(200);
    }
    let mut checked = 0;
    // By name and by address: they are one account.
    for name in [&ann.username, &ann.email].into_iter().cycle().take(200) {
        let answer = login(&rest, "198.51.100.1", name, "not the password").await;
        if answer.status == 429 {
            break;
        }
        answer.problem(401, "bad_credentials");
        checked += 1;
    }
    // Twenty an hour for strangers, twice as many here; one more may have come back meanwhile.
    assert!((40..=40 * counts(&d) + 1).contains(&checked), "{checked} tries, {} counts", counts(&d));
    login(&rest, "198.51.100.2", &ann.username, PASSWORD).await.ok(200);
}

async fn a_new_password_forgets_other_networks(builder: Builder) {
    let d = behind_a_proxy(builder).await;
    let (ann, rest) = (d.user().await, d.rest());
    login(&rest, "198.51.100.1", &ann.username, PASSWORD).await.ok(200);
    let change = json!({"password": "another good one", "current_password": PASSWORD});
    let request = ann.rest.request(Method::PATCH, "/auth/me").header("x-forwarded-for", "198.51.100.2");
    Answer::of(request.json(&change)).await.ok(200);
    guess(&d, &ann.username).await;
    login(&rest, "198.51.100.1", &ann.username, "another good one").await.problem(429, "rate_limited");
    login(&rest, "198.51.100.2", &ann.username, "another good one").await.ok(200);
}

async fn the_networks_of_one_site_count_together(builder: Builder) {
    let d = behind_a_proxy(builder).await;
    let mut checked = 0;
    for n in 0..100 {
        let answer = login(&d.rest(), &format!("2001:db8:7:{n:x}::1"), &format!("nobody_{n}"), "x").await;
        checked += usize::from(answer.status == 401);
    }
    assert!((80..90).contains(&checked), "{checked} tries");
}

async fn weak_passwords_are_refused(d: &Deployment) {
    let ann = d.user().await;
    let name = fresh_name("weak");
    let email = format!("mail.{name}@example.org");
    let padded = format!("{name}!1");
    for weak in ["password", "12345678", "Password1", "        ", "xxxxxxxx", &name, &padded, &email] {
        let body = json!({"username": name, "email": email, "password": weak});
        assert_eq!(d.rest().post("/auth/register", body).await.faulty_fields(), ["password"], "{weak:?}");
    }
    let change =
        async |new: &str| ann.rest.patch("/auth/me", json!({"password": new, "current_password": PASSWORD})).await;
    for weak in ["iloveyou", &ann.username, &ann.email] {
        assert_eq!(change(weak).await.faulty_fields(), ["password"], "{weak:?}");
    }
    let me: Value = change("a better one").await.ok(200);
    assert_eq!(me["id"], ann.id);
}

#[tokio::test]
async fn a_login_renews_the_hash_of_its_password() {
    limited(async {
        let d = Deployment::cluster(1, 0).start().await;
        let ann = d.user().await;
        let mut link = PgConnection::connect(d.database_url()).await.unwrap();
        let mut memory = async || {
            let hash: String = sqlx::query_scalar("select password_hash from users where id = $1")
                .bind(ann.id)
                .fetch_one(&mut link)
                .await
                .unwrap();
            hash.split('$').nth(3).unwrap().to_owned()
        };
        assert_eq!(memory().await, "m=64,t=2,p=1");
        let restart = async |memory: &str| {
            for node in d.nodes() {
                node.set_env("ARGON2_MEMORY_KIB", memory);
                node.restart().await;
            }
        };
        restart("256").await;
        let login = async |password: &str| {
            d.rest().post("/auth/login", json!({"username": ann.username, "password": password})).await
        };
        login("not the password").await.problem(401, "bad_credentials");
        assert_eq!(memory().await, "m=64,t=2,p=1");
        // One of them renews it while others have just checked the hash of before.
        let change = json!({"email": format!("new.{}", ann.email), "current_password": PASSWORD});
        let change = ann.rest.patch("/auth/me", change);
        let (changed, logins) = tokio::join!(change, join_all((0..8).map(|_| login(PASSWORD))));
        changed.ok(200);
        for answer in logins {
            answer.ok(200);
        }
        assert_eq!(memory().await, "m=256,t=2,p=1");
        restart("128").await;
        login(PASSWORD).await.ok(200);
        assert_eq!(memory().await, "m=128,t=2,p=1", "less is configured, so less it costs");
    })
    .await;
}
