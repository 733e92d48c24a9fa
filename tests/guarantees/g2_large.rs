//! G2 in a chat that has more sockets on one thread than are written to at once.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::crowd;
use crate::support::{Deployment, limited};

const SOCKETS: usize = 1_600;
const MESSAGES: i64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_sockets_gets_each_event_in_its_order() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    limited(async {
        let d =
            Deployment::cluster(1, 1).env("GATEWAY_SHARDS", 1).env("MAX_CONNECTIONS_PER_USER", SOCKETS).start().await;
        let [ann, ben] = [d.user().await, d.user().await];
        let large = ann.group_id(&[&ben]).await;
        let small = ann.private_chat_id(&ben).await;
        let mut sockets = crowd::sockets(std::iter::repeat_n(&ben, SOCKETS), 0).await;
        let mut head = 0;
        for socket in &mut sockets {
            head = socket.subscribe(large).await["seq"].as_i64().unwrap();
        }
        // The last one to come is the last that the large chat's events are written to.
        let both = sockets.last_mut().unwrap();
        let small_head = both.subscribe(small).await["seq"].as_i64().unwrap();
        for n in 0..MESSAGES {
            let text = n.to_string();
            tokio::join!(ann.say(large, &text), ann.say(small, &text));
        }
        for socket in &mut sockets {
            for n in 1..=MESSAGES {
                assert_eq!(socket.expect_in("new_message", large).await["seq"], head + n);
            }
        }
        let both = sockets.last_mut().unwrap();
        for n in 1..=MESSAGES {
            assert_eq!(both.expect_in("new_message", small).await["seq"], small_head + n);
        }
        for mut socket in sockets {
            socket.round_trip().await;
            let more = socket.drain();
            assert!(more.iter().all(|frame| frame["chat_id"] != large || frame["type"] != "new_message"), "{more:?}");
        }
    })
    .await;
}
