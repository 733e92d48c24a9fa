//! The harness tried on itself: a fault test proves nothing when the fault does not happen.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::proxy::Mode;
use super::{Postgres, Proxy, Redis, SOON, eventually, postgres};
use sqlx::{Connection, PgConnection, Row};

async fn count(url: &str, sql: &'static str) -> i64 {
    let mut link = PgConnection::connect(url).await.unwrap();
    let row = sqlx::query(sql).fetch_one(&mut link).await.unwrap();
    row.get(0)
}

async fn run(url: &str, sql: &'static str) {
    let mut link = PgConnection::connect(url).await.unwrap();
    sqlx::query(sql).execute(&mut link).await.unwrap();
}

#[tokio::test]
async fn each_database_of_the_shared_postgres_is_empty_and_durable() {
    let server = postgres::shared().await;
    let (one, other) = (server.new_database().await, server.new_database().await);
    assert_ne!(one, other);
    run(&one, "create table t (n bigint)").await;
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!((count(&one, tables).await, count(&other, tables).await), (1, 0));
    let durable = "select count(*) from pg_settings
        where (name, setting) in (('fsync', 'on'), ('synchronous_commit', 'on'))";
    assert_eq!(count(&one, durable).await, 2);
}

#[tokio::test]
async fn a_private_postgres_keeps_its_data_over_a_stop_and_a_crash() {
    let server = Postgres::private().await;
    let url = server.new_database().await;
    run(&url, "create table t (n bigint)").await;
    run(&url, "insert into t values (1)").await;
    server.stop().await;
    assert!(PgConnection::connect(&url).await.is_err());
    server.start().await;
    run(&url, "insert into t values (2)").await;
    server.crash().await;
    server.start().await;
    assert_eq!(count(&url, "select count(*) from t").await, 2);
}

#[tokio::test]
async fn redis_comes_back_empty_and_a_frozen_one_is_mute() {
    let server = Redis::private().await;
    server.command(&["SET", "a", "1"]).await;
    server.kill().await;
    assert!(TcpStream::connect(server.address()).await.is_err());
    server.start().await;
    assert_eq!(server.command(&["GET", "a"]).await, redis::Value::Nil);
    server.freeze();
    let mut raw = TcpStream::connect(server.address()).await.unwrap();
    raw.write_all(b"PING\r\n").await.unwrap();
    let mut answer = [0; 7];
    let mute = tokio::time::timeout(Duration::from_millis(300), raw.read_exact(&mut answer));
    assert!(mute.await.is_err());
    server.thaw();
    let heard = tokio::time::timeout(SOON, raw.read_exact(&mut answer)).await;
    heard.unwrap().unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

/// A server that says everything back.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
        }
    });
    address
}

/// Sends a byte and waits for it; `None` when the link is dead or mute.
async fn says_back(link: &mut TcpStream, limit: Duration) -> Option<()> {
    link.write_all(b"x").await.ok()?;
    let read = tokio::time::timeout(limit, link.read_u8()).await;
    read.ok()?.ok().map(|_| ())
}

#[tokio::test]
async fn the_proxy_delays_stalls_cuts_and_refuses() {
    let proxy = Proxy::to(&echo().await);
    let mut link = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(says_back(&mut link, SOON).await.is_some());

    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let start = Instant::now();
    assert!(says_back(&mut link, SOON).await.is_some());
    assert!(start.elapsed() >= Duration::from_millis(200), "both ways");

    proxy.set(Mode::Stall);
    let short = Duration::from_millis(200);
    assert!(says_back(&mut link, short).await.is_none());
    let mut fresh = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(says_back(&mut fresh, short).await.is_none());
    proxy.set(Mode::Forward);
    for link in [&mut link, &mut fresh] {
        let late = tokio::time::timeout(SOON, link.read_u8()).await;
        assert_eq!(late.unwrap().unwrap(), b'x', "what was held back arrives");
    }

    proxy.set(Mode::Refuse);
    eventually("a closed port", SOON, || async { TcpStream::connect(proxy.address()).await.err().map(|_| ()) }).await;
    assert!(says_back(&mut link, SOON).await.is_some(), "an open link goes on");
    proxy.cut();
    let ended = tokio::time::timeout(SOON, link.read(&mut [0; 8])).await;
    assert!(matches!(ended.unwrap(), Ok(0) | Err(_)));

    proxy.set(Mode::Forward);
    let mut again = eventually("an open port", SOON, || async { TcpStream::connect(proxy.address()).await.ok() }).await;
    assert!(says_back(&mut again, SOON).await.is_some());
}
