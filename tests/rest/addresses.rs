//! E-mail addresses: one account each, however an address is spelled.

use futures_util::future::join_all;

use crate::support::user::{PASSWORD, fresh_name};
use crate::support::{Answer, Deployment, Rest, User, json};

both_forms!(
    an_address_is_one_account_however_it_is_spelled,
    an_address_changes_to_no_spelling_of_anothers,
    of_many_who_register_two_spellings_at_once_one_gets_it,
);

/// Two spellings of one address, of the letters before it.
fn spellings(name: &str) -> [[String; 2]; 7] {
    [
        ["{}.οδυσσέας@example.org", "{}.ΟΔΥΣΣΈΑΣ@example.org"],
        ["{}.σίσυφοσ@example.org", "{}.σίσυφος@example.org"],
        ["{}.straße@example.org", "{}.STRASSE@example.org"],
        ["{}.caf\u{e9}@example.org", "{}.cafe\u{301}@example.org"],
        ["{}.ann@example.org", "{}.ａｎｎ@ｅｘａｍｐｌｅ．ｏｒｇ"],
        ["{}@bücher.example", "{}@xn--bcher-kva.example"],
        ["{}@XN--BCHER-KVA.büro.example", "{}@Bu\u{308}cher.BÜRO.example"],
    ]
    .map(|pair| pair.map(|address| address.replace("{}", name)))
}

async fn register(rest: &Rest, email: &str) -> Answer {
    let body = json!({"username": fresh_name("spelled"), "email": email, "password": PASSWORD});
    rest.post("/auth/register", body).await
}

async fn an_address_is_one_account_however_it_is_spelled(d: &Deployment) {
    let rest = d.rest();
    // Whichever comes first.
    let turned = spellings(&fresh_name("b")).map(|[one, other]| [other, one]);
    for [one, other] in spellings(&fresh_name("a")).into_iter().chain(turned) {
        let account = register(&rest, &one).await.ok(201);
        assert_eq!(account["email"], one.as_str(), "it is kept as it was given");
        for taken in [&other, &one] {
            register(&rest, taken).await.problem(409, "email_taken");
        }
        for login in [&one, &other] {
            let tokens = rest.post("/auth/login", json!({"username": login, "password": PASSWORD})).await.ok(200);
            let me = rest.with_bearer(tokens["access_token"].as_str().unwrap()).get("/auth/me").await.ok(200);
            assert_eq!(me["id"], account["id"], "{login}");
        }
    }
    // Other addresses stay others.
    let name = fresh_name("o");
    let others = ["{}.ann@example.org", "{}ann@example.org", "{}.änn@example.org", "{}.ann@exämple.org"];
    // `ß` of a domain is a letter of its own: the two belong to whoever bought them.
    for different in others.into_iter().chain(["{}@faß.example", "{}@fass.example"]) {
        register(&rest, &different.replace("{}", &name)).await.ok(201);
    }
}

async fn an_address_changes_to_no_spelling_of_anothers(d: &Deployment) {
    let (ann, ben, rest) = (d.user().await, d.user().await, d.rest());
    let change = async |user: &User, email: &str| {
        user.rest.patch("/auth/me", json!({"email": email, "current_password": PASSWORD})).await
    };
    for [one, other] in spellings(&fresh_name("c")) {
        change(&ann, &one).await.ok(200);
        change(&ben, &other).await.problem(409, "email_taken");
        // One's own, spelled in another way, stays one's own.
        for email in [&one, &other, &other] {
            assert_eq!(change(&ann, email).await.ok(200)["email"], email.as_str());
            register(&rest, &one).await.problem(409, "email_taken");
            register(&rest, &other).await.problem(409, "email_taken");
        }
        // Given up, it is free in each spelling.
        change(&ann, &ann.email).await.ok(200);
        change(&ben, &one).await.ok(200);
        change(&ben, &ben.email).await.ok(200);
    }
}

async fn of_many_who_register_two_spellings_at_once_one_gets_it(d: &Deployment) {
    for pair in spellings(&fresh_name("r")) {
        let tries = pair.iter().cycle().take(8).map(|email| {
            let rest = d.rest();
            async move { register(&rest, email).await.status }
        });
        let mut statuses = join_all(tries).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409], "{pair:?}");
    }
}
