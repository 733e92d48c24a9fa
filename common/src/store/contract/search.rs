//! Search, over both back ends: what is found, and by whom.

use super::*;
use crate::words::{Language, Query};

contract!(
    words_phrases_and_beginnings_are_found_in_any_script,
    a_hostile_question_finds_what_its_words_say,
    texts_of_before_an_edit_and_deleted_ones_are_never_found,
    only_the_chats_that_one_is_in_now_are_searched,
    pages_go_back_in_time_without_a_gap,
    what_an_older_release_stored_and_edited_is_found_as_it_stands,
    a_user_of_much_finds_frequent_and_rare_words_alike,
    a_language_finds_other_endings,
);

fn asked(q: &str) -> SearchFor {
    SearchFor { query: Query::read(q, Language::SIMPLE).unwrap(), chat: None, author: None }
}

impl Fixture {
    /// The texts that a question finds, on pages of three, each compared as the service does.
    async fn found_by(&self, by: &User, wanted: &SearchFor) -> Vec<String> {
        let (mut texts, mut page) = (Vec::new(), first(3));
        loop {
            let found = self.store.search(by.id, wanted, &page).await.unwrap();
            let fit = found.items.into_iter().filter(|message| wanted.query.highlights(&message.text).is_some());
            texts.extend(fit.map(|message| message.text));
            match found.next_cursor {
                None => return texts,
                cursor => page = next(cursor, 3),
            }
        }
    }

    async fn found(&self, by: &User, q: &str) -> Vec<String> {
        self.found_by(by, &asked(q)).await
    }
}

async fn words_phrases_and_beginnings_are_found_in_any_script(fixture: Fixture) {
    let ann = fixture.user().await;
    let chat = fixture.group(&ann, &[]).await.id;
    let texts = [
        "The quick brown fox, don't panic",
        "Ещё одна Ёлка у школы",
        "Écoute la musique du Cafe\u{301}",
        "我住在北京市，东京很远",
        "ok 👩‍💻 100% a_b C:\\dir O'Brien",
        "brown and quick, FOXES",
        "Мой дом",
        "Мои дома",
    ];
    for text in texts {
        fixture.send(chat, &ann, text).await;
    }
    for (q, expected) in [
        ("QUICK brown", &[5, 0][..]),
        ("\"quick brown\"", &[0]),
        ("fox", &[5, 0]),
        ("\"brown fox\"", &[0]),
        ("\"brown fo\"", &[]),
        ("\"brown fo", &[0]),
        ("fo quick", &[]),
        ("quick fo", &[5, 0]),
        ("еще", &[1]),
        ("ЕЛКА школы", &[1]),
        ("ёлки", &[]),
        ("ecoute cafe", &[2]),
        ("café É", &[]),
        ("北京", &[3]),
        ("京", &[3]),
        ("京北", &[]),
        ("\"北京市 东京\"", &[3]),
        ("👩‍💻", &[4]),
        ("100", &[4]),
        ("o'brien", &[4]),
        ("мой", &[6]),
        ("мои", &[7]),
        ("дом", &[7, 6]),
        ("quick nothing", &[]),
    ] {
        let expected: Vec<_> = expected.iter().map(|place| texts[*place]).collect();
        assert_eq!(fixture.found(&ann, q).await, expected, "{q}");
    }
}

async fn a_hostile_question_finds_what_its_words_say(fixture: Fixture) {
    let ann = fixture.user().await;
    let chat = fixture.group(&ann, &[]).await.id;
    fixture.send(chat, &ann, "alpha beta OR NEAR gamma c1 words chat").await;
    for q in [
        "alp:*",
        "'alpha'",
        "alpha' & 'beta",
        "al\0pha beta\\",
        "%alpha%",
        "alpha\" OR \"x",
        "-alpha",
        "alpha AND beta",
        "alpha NEAR(beta, 2)",
        "{words} : alpha",
        "alpha*",
        "^alpha",
        "words:alpha",
        "chat : c1",
        "alpha <-> beta",
        "alpha | x",
        "(alpha",
        "alpha)",
        "--alpha; drop table messages",
        &"a ".repeat(32),
        &"x".repeat(256),
        &"北".repeat(256),
    ] {
        let query = Query::read(q, Language::SIMPLE).unwrap();
        let text = "alpha beta OR NEAR gamma c1 words chat";
        let fits = usize::from(query.highlights(text).is_some());
        assert_eq!(fixture.found(&ann, q).await.len(), fits, "{q:?}");
    }
    assert_eq!(fixture.found(&ann, "alpha' beta").await.len(), 1);
}

async fn texts_of_before_an_edit_and_deleted_ones_are_never_found(fixture: Fixture) {
    let ann = fixture.user().await;
    let chat = fixture.group(&ann, &[]).await.id;
    let message = fixture.send(chat, &ann, "an early word").await;
    let kept = fixture.send(chat, &ann, "another early word").await;
    let (_, committed) = fixture.store.edit(message.id, ann.id, "a later word".into(), Vec::new()).await.unwrap();
    fixture.recorded(&committed).await;
    assert_eq!(fixture.found(&ann, "early").await, ["another early word"]);
    assert_eq!(fixture.found(&ann, "later").await, ["a later word"]);
    // The same words in another text.
    fixture.store.edit(message.id, ann.id, "a LATER word!".into(), Vec::new()).await.unwrap();
    assert_eq!(fixture.found(&ann, "later").await, ["a LATER word!"]);
    fixture.store.react(message.id, ann.id, "👍", true).await.unwrap();
    assert_eq!(fixture.found(&ann, "word").await.len(), 2, "a change of something else keeps them");
    fixture.store.delete(message.id, ann.id).await.unwrap();
    assert_eq!(fixture.found(&ann, "word").await, ["another early word"]);
    assert_eq!(fixture.store.fill_words(100).await.unwrap(), 0, "a deleted message wants no words");
    fixture.store.delete(kept.id, ann.id).await.unwrap();
    assert_eq!(fixture.found(&ann, "word").await, [""; 0]);
}

async fn only_the_chats_that_one_is_in_now_are_searched(fixture: Fixture) {
    let (ann, bob, eve) = (fixture.user().await, fixture.user().await, fixture.user().await);
    let (one, two) = (fixture.group(&ann, &[&bob]).await.id, fixture.group(&ann, &[]).await.id);
    let (private, ..) = fixture.store.private_chat(ann.id, bob.id).await.unwrap();
    fixture.send(one, &ann, "shared one").await;
    fixture.send(one, &bob, "shared by bob").await;
    fixture.send(two, &ann, "shared not").await;
    fixture.send(private.id, &bob, "shared between").await;
    assert_eq!(fixture.found(&bob, "shared").await, ["shared between", "shared by bob", "shared one"]);
    assert_eq!(fixture.found(&ann, "shared").await.len(), 4);
    assert_eq!(fixture.found(&eve, "shared").await, [""; 0]);
    let of = |chat, author| SearchFor { chat, author, ..asked("shared") };
    assert_eq!(fixture.found_by(&ann, &of(Some(one), None)).await, ["shared by bob", "shared one"]);
    assert_eq!(fixture.found_by(&ann, &of(None, Some(bob.id))).await, ["shared between", "shared by bob"]);
    assert_eq!(fixture.found_by(&ann, &of(Some(one), Some(ann.id))).await, ["shared one"]);
    assert_eq!(fixture.found_by(&bob, &of(Some(two), None)).await, [""; 0]);
    fixture.store.leave(one, bob.id).await.unwrap();
    assert_eq!(fixture.found(&bob, "shared").await, ["shared between"]);
    fixture.store.join(one, bob.id, MANY).await.unwrap();
    assert_eq!(fixture.found(&bob, "shared").await.len(), 3);
    fixture.store.delete_chat(one, ann.id).await.unwrap();
    assert_eq!(fixture.found(&bob, "shared").await, ["shared between"]);
}

async fn pages_go_back_in_time_without_a_gap(fixture: Fixture) {
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    let chats = [fixture.group(&ann, &[&bob]).await.id, fixture.group(&ann, &[&bob]).await.id];
    for n in 0..20 {
        fixture
            .send(chats[n % 2], &ann, &format!("number n{n:02} {}", if n % 3 == 0 { "third" } else { "other" }))
            .await;
    }
    let thirds: Vec<_> = (0..20).rev().filter(|n| n % 3 == 0).map(|n| format!("number n{n:02} third")).collect();
    assert_eq!(fixture.found(&bob, "number third").await, thirds);
    let page = fixture.store.search(bob.id, &asked("number"), &first(20)).await.unwrap();
    assert_eq!((page.items.len(), page.next_cursor), (20, None));
    let page = fixture.store.search(bob.id, &asked("number"), &first(19)).await.unwrap();
    fixture.send(chats[0], &ann, "number of the newest").await;
    let rest = fixture.store.search(bob.id, &asked("number"), &next(page.next_cursor, 19)).await.unwrap();
    assert_eq!(rest.items.len(), 1, "what comes meanwhile does not shift the pages");
    for cursor in ["", "f", "x1", "f1.5", "f\0"] {
        let page = PageRequest { cursor: Some(cursor.into()), limit: 3 };
        assert_eq!(field(fixture.store.search(bob.id, &asked("number"), &page).await), "cursor");
    }
}

/// An older release writes the text alone. The trigger forgets the words of a text that changed.
async fn what_an_older_release_stored_and_edited_is_found_as_it_stands(fixture: Fixture) {
    let ann = fixture.user().await;
    let chat = fixture.group(&ann, &[]).await.id;
    let message = fixture.send(chat, &ann, "stored by this release").await;
    fixture.send(chat, &ann, "never touched").await;
    fixture.sql(&format!("update messages set text = 'edited by the other' where id = {}", message.id)).await;
    assert_eq!(fixture.found(&ann, "stored").await, [""; 0], "an earlier text is never found");
    let columns = "chat_id, seq, author_id, text, created_at";
    for (n, text) in ["sent by the other", "sent, then deleted"].iter().enumerate() {
        let long_ago = fixture.long_ago();
        let row = format!("{chat}, {}, {}, '{text}', {long_ago}", 10 + n, ann.id);
        fixture.sql(&format!("insert into messages ({columns}) values ({row})")).await;
    }
    let gone = format!("update messages set text = '', deleted_at = {} where seq = 11", fixture.long_ago());
    fixture.sql(&gone).await;
    fixture.sql(&format!("update chats set seq = 11 where id = {chat}")).await;
    assert_eq!(fixture.store.fill_words(1).await.unwrap(), 1);
    assert_eq!(fixture.found(&ann, "other").await, ["sent by the other"], "the newest first");
    assert_eq!(fixture.store.fill_words(100).await.unwrap(), 1);
    assert_eq!(fixture.store.fill_words(100).await.unwrap(), 0);
    assert_eq!(fixture.found(&ann, "other").await, ["sent by the other", "edited by the other"]);
    assert_eq!(fixture.found(&ann, "never").await, ["never touched"]);
}

/// More than a user's messages are read one by one, so the index answers.
async fn a_user_of_much_finds_frequent_and_rare_words_alike(fixture: Fixture) {
    let (ann, bob) = (fixture.user().await, fixture.user().await);
    let (one, two) = (fixture.group(&ann, &[]).await.id, fixture.group(&bob, &[&ann]).await.id);
    let text = |n: i32| {
        let rare = if n % 5_000 == 7 { " rare" } else { "" };
        format!("frequent word w{n}{rare}")
    };
    // A batch in one chat: of several, it would not be said which is the newest.
    for n in 0..24 {
        let (chat, author) = if n % 12 == 3 { (two, &bob) } else { (one, &ann) };
        let batch = (0..500).map(|i| new(chat, author, &text(n * 500 + i)));
        fixture.store.send(batch.collect()).await.unwrap();
    }
    assert_eq!(fixture.found(&ann, "rare").await, [10_007, 5_007, 7].map(text));
    assert_eq!(fixture.found(&ann, "frequent rare").await.len(), 3);
    assert_eq!(fixture.found(&ann, "\"word w123\"").await, [text(123)]);
    assert_eq!(fixture.found(&ann, "w1199").await.len(), 11, "by its beginning");
    assert_eq!(fixture.found(&ann, "absent").await, [""; 0]);
    let newest = fixture.store.search(ann.id, &asked("frequent"), &first(100)).await.unwrap();
    let newest: Vec<_> = newest.items.into_iter().map(|message| message.text).collect();
    assert_eq!(newest, (11_900..12_000).rev().map(text).collect::<Vec<_>>());
    let of_bob = SearchFor { author: Some(bob.id), ..asked("frequent") };
    assert_eq!(fixture.found_by(&ann, &of_bob).await.len(), 1_000);
    assert_eq!(fixture.found(&bob, "frequent").await.len(), 1_000);
    assert_eq!(fixture.found(&bob, "rare").await, [""; 0]);
}

async fn a_language_finds_other_endings(fixture: Fixture) {
    let ann = fixture.user().await;
    let chat = fixture.group(&ann, &[]).await.id;
    for text in ["Вижу собаку", "О собаках и кошках", "собор"] {
        fixture.send(chat, &ann, text).await;
    }
    let query = Query::read("собаки", Language::named("russian").unwrap()).unwrap();
    let wanted = SearchFor { query, chat: None, author: None };
    assert_eq!(fixture.found_by(&ann, &wanted).await, ["О собаках и кошках", "Вижу собаку"]);
    assert_eq!(fixture.found(&ann, "собаки").await, [""; 0]);
}
