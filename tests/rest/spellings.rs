//! What has several spellings is one: an address, and a password.

use crate::support::user::{PASSWORD, fresh_name};
use crate::support::{Answer, Deployment, json};

both_forms!(a_mailbox_has_one_account, a_password_is_the_same_on_every_keyboard);

async fn register(d: &Deployment, username: &str, email: &str, password: &str) -> Answer {
    d.rest().post("/auth/register", json!({"username": username, "email": email, "password": password})).await
}

async fn login(d: &Deployment, username: &str, password: &str) -> Answer {
    d.rest().post("/auth/login", json!({"username": username, "password": password})).await
}

async fn a_mailbox_has_one_account(d: &Deployment) {
    let name = fresh_name("οδος");
    let spellings = [
        format!("ΟΔΟΣ{name}@bücher.example"),
        format!("οδοσ{name}@bücher.example"),
        format!("οδος{name}@XN--BCHER-KVA.example"),
        format!("ΟΔΟΣ{name}@bu\u{308}cher.example"),
    ];
    let user = fresh_name("first");
    register(d, &user, &spellings[0], PASSWORD).await.ok(201);
    for same in &spellings {
        register(d, &fresh_name("second"), same, PASSWORD).await.problem(409, "email_taken");
        login(d, same, PASSWORD).await.ok(200);
    }
    // One's own address in another spelling is one's own.
    let other = d.user().await;
    let change = |email: &str| json!({"email": email, "current_password": other.password});
    other.rest.patch("/auth/me", change(&spellings[2])).await.problem(409, "email_taken");
    let own = format!("stra\u{df}e{name}@x.example");
    for email in [own.clone(), own.to_uppercase()] {
        assert_eq!(other.rest.patch("/auth/me", change(&email)).await.ok(200)["email"], email);
    }
}

async fn a_password_is_the_same_on_every_keyboard(d: &Deployment) {
    let (composed, decomposed) = ("caf\u{e9} au lait de Ren\u{e9}", "cafe\u{301} au\u{a0}lait de Rene\u{301}");
    for (chosen, typed) in [(composed, decomposed), (decomposed, composed)] {
        let name = fresh_name("keys");
        register(d, &name, &format!("{name}@example.org"), chosen).await.ok(201);
        for password in [chosen, typed] {
            login(d, &name, password).await.ok(200);
        }
        login(d, &name, &typed.to_uppercase()).await.problem(401, "bad_credentials");
    }
}
