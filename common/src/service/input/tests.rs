use super::*;
use crate::error::Error;
use crate::service::messages::{HistoryQuery, SendMessage};
use crate::service::{PageQuery, accounts::Register, members::SetRole};
use serde_json::json;

fn faults<T>(read: Unchecked<T>) -> Vec<(String, String)> {
    match read.split().1.none() {
        Ok(()) => Vec::new(),
        Err(Error::Invalid(faults)) => faults.into_iter().map(|f| (f.field, f.message)).collect(),
        Err(other) => panic!("{other}"),
    }
}

fn json<T: FromFields>(value: Value) -> Unchecked<T> {
    serde_json::from_value(value).unwrap()
}

fn query<T: FromFields>(pairs: Value) -> Unchecked<T> {
    serde_json::from_value::<Query<T>>(pairs).unwrap().into()
}

#[test]
fn every_missing_or_mistyped_field_is_found_at_once() {
    let read = json::<SendMessage>(json!({"chat_id": "7", "client_message_id": 5, "reply_to_id": 1.5}));
    let expected = [
        ("chat_id", "must be an integer"),
        ("text", "is required"),
        ("client_message_id", "must be a string"),
        ("reply_to_id", "must be an integer"),
    ];
    assert_eq!(faults(read), expected.map(|(field, message)| (field.to_owned(), message.to_owned())));
    assert_eq!(faults(json::<Register>(json!({}))).len(), 3);
}

#[test]
fn null_is_as_good_as_missing() {
    assert!(faults(json::<SendMessage>(json!({"chat_id": 7, "text": "x", "client_message_id": null}))).is_empty());
    assert_eq!(faults(json::<SendMessage>(json!({"chat_id": null, "text": "x"})))[0].1, "is required");
}

#[test]
fn unknown_fields_are_ignored() {
    assert!(faults(json::<SendMessage>(json!({"chat_id": 7, "text": "x", "later": {"a": []}}))).is_empty());
}

#[test]
fn what_is_out_of_range_is_no_integer() {
    for id in [json!(9_223_372_036_854_775_808_u64), json!(1e3), json!(true), json!([1]), json!({})] {
        assert_eq!(faults(json::<SendMessage>(json!({"chat_id": id, "text": "x"})))[0].0, "chat_id", "{id}");
    }
}

#[test]
fn a_query_is_read_from_text() {
    let (read, faults_of) = query::<HistoryQuery>(json!({"limit": "7", "before": "-3"})).split();
    faults_of.none().unwrap();
    assert_eq!((read.limit, read.before, read.after), (7, Some(MessageId(-3)), None));
    let found = faults(query::<HistoryQuery>(json!({"limit": "many", "after": "", "cursor": "x"})));
    assert_eq!(found.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), ["limit", "after"]);
    assert_eq!(query::<PageQuery>(json!({})).split().0.limit, 50);
}

#[test]
fn a_role_is_one_of_two() {
    assert_eq!(json::<SetRole>(json!({"role": "owner"})).split().0.role, Some(Role::Owner));
    for wrong in [json!("admin"), json!("Owner"), json!(1), json!(null)] {
        assert_eq!(faults(json::<SetRole>(json!({"role": wrong}))).len(), 1, "{wrong}");
    }
}

#[test]
fn a_list_of_ids_holds_integers_only() {
    use crate::service::members::AddMembers;
    assert_eq!(json::<AddMembers>(json!({"user_ids": [1, 2]})).split().0.user_ids, [UserId(1), UserId(2)]);
    for wrong in [json!([1, "2"]), json!("1"), json!([null]), json!({"0": 1})] {
        assert_eq!(faults(json::<AddMembers>(json!({"user_ids": wrong}))).len(), 1, "{wrong}");
    }
}

#[test]
fn null_takes_a_description_away_and_nothing_leaves_it() {
    use crate::service::chats::UpdateChat;
    assert_eq!(json::<UpdateChat>(json!({})).split().0.description, None);
    assert_eq!(json::<UpdateChat>(json!({"description": null})).split().0.description, Some(None));
    let kept = json::<UpdateChat>(json!({"description": "d"})).split().0.description;
    assert_eq!(kept, Some(Some("d".to_owned())));
}
