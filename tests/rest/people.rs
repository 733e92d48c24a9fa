//! Other users: their public part, and finding them by the beginning of a name.

use crate::support::user::fresh_name;
use crate::support::{Deployment, json};

both_forms!(
    a_user_shows_the_public_part_alone,
    people_are_found_by_the_beginning_of_their_name,
    a_wildcard_in_a_query_is_a_letter,
    one_who_does_not_exist_is_not_found,
);

async fn a_user_shows_the_public_part_alone(d: &Deployment) {
    let (user, other) = (d.user().await, d.user().await);
    let seen = other.rest.get(&format!("/users/{}", user.id)).await.ok(200);
    let mut fields: Vec<&String> = seen.as_object().unwrap().keys().collect();
    fields.sort();
    let public = ["bio", "created_at", "display_name", "id", "is_active", "last_seen_at", "online", "username"];
    assert_eq!(fields, public, "{seen}");
    assert_eq!(seen["username"], user.username.as_str());
    assert_eq!((&seen["is_active"], &seen["online"]), (&json!(true), &json!(false)));
    crate::rest::assert_time(&seen["created_at"]);

    let socket = user.connect().await;
    let seen = other.rest.get(&format!("/users/{}", user.id)).await.ok(200);
    assert_eq!(seen["online"], true);
    socket.close().await;
}

async fn people_are_found_by_the_beginning_of_their_name(d: &Deployment) {
    let prefix = fresh_name("Find");
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(d.user_named(&prefix).await.username);
    }
    names.sort();
    let user = d.user().await;
    let mut found = Vec::new();
    let mut path = format!("/users?limit=2&q={}", prefix.to_lowercase());
    loop {
        let page = user.rest.get(&path).await.ok(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{page}");
        found.extend(items.iter().map(|item| item["username"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/users?limit=2&q={prefix}&cursor={cursor}"),
            None => break,
        }
    }
    found.sort();
    assert_eq!(found, names, "each once, whatever the case of the query");
    let nobody = user.rest.get(&format!("/users?q=x{prefix}")).await.ok(200);
    assert_eq!(nobody, json!({"items": [], "next_cursor": null}));
}

async fn a_wildcard_in_a_query_is_a_letter(d: &Deployment) {
    let user = d.user().await;
    for query in ["%25", "_", "%5C", "%27%3B"] {
        let page = user.rest.get(&format!("/users?q={query}")).await;
        if page.status == 422 {
            assert_eq!(page.faulty_fields(), ["q"]);
        } else {
            let wanted = if query == "_" { "_" } else { "\u{1}" };
            for item in page.ok(200)["items"].as_array().unwrap() {
                assert!(item["username"].as_str().unwrap().starts_with(wanted), "{query}: {item}");
            }
        }
    }
}

async fn one_who_does_not_exist_is_not_found(d: &Deployment) {
    let user = d.user().await;
    for id in ["999999999", "9223372036854775807", "0", "-1"] {
        user.rest.get(&format!("/users/{id}")).await.problem(404, "user_not_found");
    }
    d.rest().get(&format!("/users/{}", user.id)).await.problem(401, "unauthenticated");
    d.rest().get("/users?q=a").await.problem(401, "unauthenticated");
}
