//! Names and words for people.

use crate::support::{Deployment, Value, json};

both_forms!(a_profile_is_shown_with_its_user, a_name_is_one_line_of_any_script);

async fn a_profile_is_shown_with_its_user(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    assert_eq!(ann.say(chat_id, "before").await["author_display_name"], Value::Null);
    let body = json!({"display_name": "Анна 🌷", "bio": "two\nlines"});
    let me = ann.rest.patch("/auth/me", body).await.ok(200);
    let profile = |user: &Value| (user["display_name"].clone(), user["bio"].clone());
    let set = (json!("Анна 🌷"), json!("two\nlines"));
    assert_eq!(profile(&me), set);
    assert_eq!(profile(&ann.rest.get("/auth/me").await.ok(200)), set);
    assert_eq!(profile(&bob.rest.get(&format!("/users/{}", ann.id)).await.ok(200)), set);
    let found = bob.rest.get(&format!("/users?q={}", ann.username)).await.ok(200);
    assert_eq!(profile(&found["items"][0]), set);
    assert_eq!(ann.say(chat_id, "after").await["author_display_name"], "Анна 🌷");
    for message in bob.history(chat_id).await["items"].as_array().unwrap() {
        assert_eq!(message["author_display_name"], "Анна 🌷");
    }
    let mut ws = bob.connect_to(1).await;
    ws.subscribe(chat_id).await;
    ann.say(chat_id, "live").await;
    assert_eq!(ws.expect("new_message").await["message"]["author_display_name"], "Анна 🌷");
    // Left out stays, null goes.
    let me = ann.rest.patch("/auth/me", json!({"display_name": null})).await.ok(200);
    assert_eq!(profile(&me), (Value::Null, json!("two\nlines")));
    assert_eq!(bob.history(chat_id).await["items"][0]["author_display_name"], Value::Null);
}

async fn a_name_is_one_line_of_any_script(d: &Deployment) {
    let ann = d.user().await;
    for name in ["田中さん", "a", &"x".repeat(64), "O'Neil-Łukasz"] {
        let me = ann.rest.patch("/auth/me", json!({"display_name": name})).await.ok(200);
        assert_eq!(me["display_name"], name);
    }
    for name in ["", " ", "\u{200b}", "a\nb", "a\u{0}", "a\u{7f}b", "a\u{202e}b", "a\u{2028}b", &"x".repeat(65)] {
        let answer = ann.rest.patch("/auth/me", json!({"display_name": name})).await;
        let fields = answer.faulty_fields();
        assert!(fields.iter().all(|field| field == "display_name"), "{name:?}: {fields:?}");
    }
    for bio in [json!("x".repeat(281)), json!("a\u{0}"), json!(1)] {
        assert_eq!(ann.rest.patch("/auth/me", json!({"bio": bio})).await.faulty_fields(), ["bio"]);
    }
    ann.rest.patch("/auth/me", json!({"bio": "x".repeat(280)})).await.ok(200);
    // One fault, and nothing of the request is done.
    let before = ann.rest.get("/auth/me").await.ok(200);
    let both = json!({"display_name": "New", "email": "other@example.org", "current_password": "wrong"});
    ann.rest.patch("/auth/me", both).await.problem(403, "wrong_password");
    assert_eq!(ann.rest.get("/auth/me").await.ok(200), before);
}
