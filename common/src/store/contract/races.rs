//! Races: many at once, and what must hold whoever comes first.

use super::*;
use std::collections::BTreeSet;
use tokio::task::JoinSet;

contract!(
    one_key_is_named_by_many_nodes_at_once,
    one_message_whoever_sends_it_at_once,
    numbers_have_no_gap_and_readers_see_none,
    batches_in_opposite_order_do_not_block_each_other,
    one_private_chat_whoever_makes_it_at_once,
    nothing_of_the_removed_comes_after_the_removal,
    the_last_owners_leave_at_once,
    joining_at_once_keeps_the_limit,
    a_block_and_a_joining_at_once_are_whole,
    two_relays_share_the_outbox,
    pruning_disturbs_no_writer,
    one_epoch_whoever_begins_it_at_once,
);

async fn one_epoch_whoever_begins_it_at_once(at: Fixture) {
    let mut known = at.store.deployment().await.unwrap().epoch;
    for _ in 0..10 {
        let mut nodes = JoinSet::new();
        for _ in 0..8 {
            let (store, known) = (Arc::clone(&at.store), known.clone());
            nodes.spawn(async move { store.begin_epoch(&known).await.unwrap() });
        }
        let begun: BTreeSet<String> = nodes.join_all().await.into_iter().collect();
        assert!(begun.len() == 1 && !begun.contains(&known), "{begun:?}");
        known = begun.into_iter().next().unwrap();
    }
}

async fn one_key_is_named_by_many_nodes_at_once(at: Fixture) {
    assert_eq!(at.store.signed_with().await.unwrap(), None);
    let mut nodes = JoinSet::new();
    for n in 0..8 {
        let store = Arc::clone(&at.store);
        nodes.spawn(async move { (n, store.sign_with(None, &format!("key {n}")).await.unwrap()) });
    }
    let named: Vec<i32> = nodes.join_all().await.into_iter().filter(|(_, named)| *named).map(|(n, _)| n).collect();
    assert_eq!(named.len(), 1, "{named:?}");
    let known = at.store.signed_with().await.unwrap().unwrap();
    assert_eq!(known, format!("key {}", named[0]));
    assert!(!at.store.sign_with(Some("another"), "new").await.unwrap());
    assert!(at.store.sign_with(Some(&known), "new").await.unwrap());
    assert_eq!(at.store.signed_with().await.unwrap().as_deref(), Some("new"));
}

async fn one_message_whoever_sends_it_at_once(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let mut tries = JoinSet::new();
    for n in 0..32 {
        let store = Arc::clone(&at.store);
        let mut batch = vec![with_id(chat, &ann, "text", "k")];
        batch.insert(n % 2, new(chat, &ann, &n.to_string()));
        tries.spawn(async move { store.send(batch).await.unwrap().results });
    }
    let mut made = 0;
    let mut messages = BTreeSet::new();
    while let Some(results) = tries.join_next().await {
        for sent in results.unwrap().into_iter().map(Result::unwrap).filter(|s| s.message.client_message_id.is_some()) {
            made += i32::from(sent.created);
            messages.insert(sent.message.id);
        }
    }
    assert_eq!((made, messages.len()), (1, 1));
    assert_eq!(at.head(chat).await, Seq(33));
    assert_eq!(at.number("select count(*) from messages where client_message_id = 'k'").await, 1);
}

async fn numbers_have_no_gap_and_readers_see_none(at: Fixture) {
    const WRITERS: usize = 12;
    const EACH: usize = 25;
    const WITHIN: std::time::Duration = std::time::Duration::from_secs(60);
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let store = Arc::clone(&at.store);
        let ann = ann.clone();
        writers.spawn(async move {
            let mut seqs = Vec::new();
            for m in 0..EACH {
                let batch = (0..=n % 3).map(|_| new(chat, &ann, &m.to_string())).collect();
                let sent = store.send(batch).await.unwrap();
                seqs.extend(sent.results.into_iter().map(|one| one.unwrap().message.seq.0));
            }
            assert!(seqs.is_sorted());
            seqs
        });
    }
    // A reader that polls meanwhile sees each number after the one before: order of numbers is
    // order of commits.
    let total = i64::try_from((0..WRITERS).map(|n| (1 + n % 3) * EACH).sum::<usize>()).unwrap();
    let (mut cursor, began) = (Seq(0), std::time::Instant::now());
    while cursor < Seq(total) {
        let page = at.log_after(chat, cursor, 7).await.unwrap().unwrap();
        assert!(page.head >= cursor);
        // A writer that failed leaves the log short for ever.
        assert!(
            !page.events.is_empty() || page.head == cursor && began.elapsed() < WITHIN,
            "the log ends at {cursor} of {total}"
        );
        for event in page.events {
            assert_eq!(event.seq, cursor.next());
            cursor = event.seq;
        }
    }
    let mut all = Vec::new();
    while let Some(seqs) = writers.join_next().await {
        all.extend(seqs.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (1..=total).collect::<Vec<_>>());
    assert_eq!(at.head(chat).await, Seq(total));
    let history = at.store.history(chat, ann.id, HistoryFrom::Newest, 1000).await.unwrap().items;
    assert!(history.windows(2).all(|pair| pair[0].id < pair[1].id && pair[0].seq < pair[1].seq));
}

async fn batches_in_opposite_order_do_not_block_each_other(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let mut chats = Vec::new();
    for _ in 0..8 {
        chats.push(at.group(&ann, &[&ben]).await.id);
    }
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let (store, mut chats) = (Arc::clone(&at.store), chats.clone());
        let author = if n % 2 == 0 { ann.clone() } else { ben.clone() };
        if n % 2 == 0 {
            chats.reverse();
        }
        tasks.spawn(async move {
            for _ in 0..20 {
                let batch = chats.iter().map(|chat| new(*chat, &author, "x")).collect();
                assert!(store.send(batch).await.unwrap().results.iter().all(Result::is_ok));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    for chat in chats {
        assert_eq!(at.head(chat).await, Seq(160));
    }
}

async fn one_private_chat_whoever_makes_it_at_once(at: Fixture) {
    for _ in 0..5 {
        let (ann, ben) = (at.user().await, at.user().await);
        let mut tries = JoinSet::new();
        for n in 0..12 {
            let store = Arc::clone(&at.store);
            let (one, other) = if n % 2 == 0 { (ann.id, ben.id) } else { (ben.id, ann.id) };
            tries.spawn(async move {
                let (chat, made, committed) = store.private_chat(one, other).await.unwrap();
                assert_eq!((chat.peer.unwrap().id, committed.outbox.is_some()), (other, made));
                (chat.id, made)
            });
        }
        let all = tries.join_all().await;
        assert_eq!(all.iter().filter(|(_, made)| *made).count(), 1);
        assert_eq!(all.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 1);
    }
}

async fn nothing_of_the_removed_comes_after_the_removal(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    for _ in 0..5 {
        let chat = at.group(&ann, &[&ben]).await.id;
        let mut senders = JoinSet::new();
        for _ in 0..4 {
            let (store, ben) = (Arc::clone(&at.store), ben.clone());
            senders.spawn(async move {
                loop {
                    let sent = store.send(vec![new(chat, &ben, "x")]).await.unwrap();
                    match sent.results.into_iter().next().unwrap() {
                        Ok(_) => {}
                        Err(error) => return error.code(),
                    }
                }
            });
        }
        while at.head(chat).await < Seq(8) {}
        let removed = at.store.remove_member(chat, ann.id, ben.id).await.unwrap().events[0].seq;
        for code in senders.join_all().await {
            assert_eq!(code, "not_a_member");
        }
        assert_eq!(at.head(chat).await, removed);
        at.store.outbox_remove(&at.all_pending().await).await.unwrap();
    }
}

async fn the_last_owners_leave_at_once(at: Fixture) {
    for _ in 0..4 {
        let mut users = Vec::new();
        for _ in 0..4 {
            users.push(at.user().await);
        }
        let chat = at.group(&users[0], &[&users[1], &users[2], &users[3]]).await.id;
        at.store.set_role(chat, users[0].id, users[1].id, Role::Owner).await.unwrap();
        let leave = |user: &User| {
            let (store, id) = (Arc::clone(&at.store), user.id);
            tokio::spawn(async move { store.leave(chat, id).await.unwrap() })
        };
        let both = [leave(&users[0]), leave(&users[1])];
        let mut events = Vec::new();
        for one in both {
            events.extend(kinds(&one.await.unwrap()));
        }
        events.sort_unstable();
        assert_eq!(events, ["member_left", "member_left", "member_updated"]);
        let members = at.store.members(chat, users[2].id, &first(9)).await.unwrap().items;
        assert_eq!(members.iter().filter(|member| member.role == Role::Owner).count(), 1);
        // And the last two at once: exactly one takes the group along.
        let both = [leave(&users[2]), leave(&users[3])];
        let mut deleted = 0;
        for one in both {
            deleted += kinds(&one.await.unwrap()).iter().filter(|kind| **kind == "chat_deleted").count();
        }
        assert_eq!(deleted, 1);
        assert_eq!(at.store.chat(chat, users[0].id).await.unwrap(), None);
        at.store.outbox_remove(&at.all_pending().await).await.unwrap();
    }
}

async fn joining_at_once_keeps_the_limit(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let mut joins = JoinSet::new();
    for _ in 0..12 {
        let (store, user) = (Arc::clone(&at.store), at.user().await);
        joins.spawn(async move { store.join(chat, user.id, 5).await.map(drop).map_err(|error| error.code()) });
    }
    let all = joins.join_all().await;
    assert_eq!(all.iter().filter(|result| result.is_ok()).count(), 4);
    assert!(all.iter().all(|result| matches!(result, Ok(()) | Err("group_full"))));
    assert_eq!(at.store.members(chat, ann.id, &first(9)).await.unwrap().items.len(), 5);
}

/// A user who is blocked meanwhile joins by the blocker's own invitation, and calls the blocker in
/// before the block or not at all.
async fn a_block_and_a_joining_at_once_are_whole(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    for n in 0..10 {
        let (theirs, own) = (at.group(&ann, &[]).await.id, at.group(&ben, &[]).await.id);
        let called = [ann.id];
        let invite = NewInvite { code: format!("code-{n}"), expires_in: Some(HOUR), max_uses: Some(1) };
        let code_of = at.store.create_invite(theirs, ann.id, invite).await.unwrap().code;
        let (blocked, accepted, added) = futures_util::join!(
            at.store.block(ann.id, ben.id, true),
            at.store.accept_invite(&code_of, ben.id, MANY),
            at.store.add_members(own, ben.id, &called, MANY),
        );
        blocked.unwrap();
        assert_eq!(accepted.unwrap().0.member_count, 2);
        assert_eq!(at.head(theirs).await, Seq(1), "one event, of the one who came");
        let is_in =
            at.store.access(&[(own, ann.id)]).await.unwrap()[0].as_ref().is_some_and(|access| access.role.is_some());
        assert_eq!(is_in, added.is_ok(), "{added:?}");
        assert_eq!(at.head(own).await, Seq(i64::from(is_in)));
        assert!(is_in || code(added) == "blocked");
        assert_eq!(code(at.store.add_members(at.group(&ben, &[]).await.id, ben.id, &called, MANY).await), "blocked");
        at.store.block(ann.id, ben.id, false).await.unwrap();
    }
}

async fn two_relays_share_the_outbox(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    for _ in 0..40 {
        at.store.send(vec![new(chat, &ann, "x")]).await.unwrap();
    }
    let mut relays = JoinSet::new();
    for _ in 0..4 {
        let store = Arc::clone(&at.store);
        relays.spawn(async move {
            let mut taken = Vec::new();
            loop {
                let claimed = store.outbox_claim(Duration::ZERO, 3).await.unwrap();
                if claimed.is_empty() {
                    return taken;
                }
                taken.extend(claimed.into_iter().map(|one| one.outbox.unwrap()));
            }
        });
    }
    let mut taken: Vec<_> = relays.join_all().await.concat();
    taken.sort();
    let count = taken.len();
    taken.dedup();
    assert_eq!((taken.len(), count), (40, 40), "each is one relay's");
}

async fn pruning_disturbs_no_writer(at: Fixture) {
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        let (store, ann) = (Arc::clone(&at.store), ann.clone());
        writers.spawn(async move {
            for _ in 0..50 {
                store.send(vec![new(chat, &ann, "x")]).await.unwrap().results.remove(0).unwrap();
            }
        });
    }
    let mut cursor = Seq(0);
    while cursor < Seq(200) {
        at.store.prune(Duration::ZERO, 10).await.unwrap();
        let page = at.log_after(chat, cursor, 7).await.unwrap().unwrap();
        // A reader goes on from the floor where the log no longer reaches back; from there on it
        // sees no gap.
        cursor = cursor.max(page.floor);
        for event in page.events {
            assert_eq!(event.seq, cursor.next());
            cursor = event.seq;
        }
    }
    writers.join_all().await;
    assert_eq!(at.head(chat).await, Seq(200));
}
