//! One address of several servers, as behind a proxy. It refuses scripts with keys of more than one
//! slot, in words of its own.

use super::*;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The word of a server for a script with keys of several slots, and words of proxies.
const OF_SERVERS: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot";
const OF_PROXIES: [&str; 3] = ["-ERR unsupported command", "-invalid request", "-NOSHARD keys of several shards"];

/// A proxy before a server, which refuses in `words`.
async fn proxy(server: &Redis, words: &'static str) -> SocketAddr {
    let (listener, target) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), server.address());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&target).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 20];
                while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                    let mut answer = buffer[..length].to_vec();
                    while let Some(at) = answer.windows(OF_SERVERS.len()).position(|some| some == OF_SERVERS) {
                        answer.splice(at..at + OF_SERVERS.len(), words.bytes());
                    }
                    if to_client.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A node of a cluster that serves all slots: it takes a script only with keys of one.
async fn server() -> Arc<Redis> {
    let server = Redis::with_options(&["--cluster-enabled", "yes"]).await;
    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    until("it serves", || async { server.text(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok") }).await;
    server
}

fn node(name: &str, address: SocketAddr) -> Node {
    Node { id: NodeId(name.to_owned()), presence: redis(vec![format!("redis://{address}")], false, LEASE) }
}

#[tokio::test]
async fn an_address_that_has_no_key_beside_another_is_asked_bucket_by_bucket() {
    let server = server().await;
    for (n, words) in std::iter::once("-CROSSSLOT no").chain(OF_PROXIES).enumerate() {
        server.command(&["FLUSHALL"]).await;
        let address = proxy(&server, words).await;
        let a = node("a", address);
        let users: Vec<i64> = (0..200).collect();
        assert_eq!(a.arrive(&users).await.len(), 200, "{words}");
        let mut monitor = server.monitor().await;
        for _ in 0..2 {
            assert_eq!(a.renew(&users).await, [], "{words}");
        }
        let sent = monitor.commands().await.iter().filter(|command| command.name == "evalsha").count();
        assert_eq!(sent, 2 * 64, "{words}: it is remembered");
        assert_eq!(a.lead().await, (true, Some(200)), "{words}");
        a.depart(&users[..100]).await;
        assert_eq!(a.sweep_until(&users[100..], 100).await.len(), 100, "{words}");
        // A sweep may be what finds out.
        let b = node("b", address);
        assert!(b.presence.sweep(&b.id).await.is_ok(), "{words}");
        let c = node(&format!("c{n}"), address);
        until("its turn", || async { c.lead().await.0 }).await;
    }
}
