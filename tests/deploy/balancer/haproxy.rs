//! HAProxy with `deploy/haproxy`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{Balancer, Kind, Ports, program, with_servers};
use crate::deploy::{copy_of, shipped};
use crate::support::tls::Authority;
use crate::support::{Rest, SOON, blocking, eventually, limited, ports, process, shared};

pub(super) fn command(dir: &Path, port: u16, apis: &[Ports], gateways: &[Ports]) -> Command {
    let haproxy = program("haproxy");
    let file = copy_of("deploy/haproxy", dir).join("haproxy.cfg");
    let text = shipped("deploy/haproxy/haproxy.cfg");
    assert!(text.contains("    bind :8080\n"), "where it listens");
    let text = text.replace("    bind :8080\n", &format!("    bind 127.0.0.1:{port}\n"));
    let text = with_servers(&text, apis, gateways, |line, ports| {
        // `server api1 api1:8000 check port 9000 …`
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        words[2] = format!("127.0.0.1:{}", ports.public);
        if let Some(at) = words.iter().position(|word| word == "port") {
            words[at + 1] = ports.admin.to_string();
        }
        format!("    {}", words.join(" "))
    });
    std::fs::write(&file, text).unwrap();
    let mut command = process::bound_command(haproxy, "TERM");
    command.arg("-db").arg("-f").arg(file);
    command
}

/// A silent connection from that address of the loopback.
async fn silent(from: &str, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(([127, 0, 0, 1], port).into()).await
}

/// How many of 2,100 silent connections of one address are refused.
async fn refused_of_2_100(port: u16) -> usize {
    // All at once: a silent one has ten seconds.
    let mut held = join_all((0..2100).map(|_| silent("127.0.0.3", port))).await;
    let ends = join_all(held.iter_mut().map(async |one| {
        // Refused before it knew that it was connected.
        let Ok(one) = one else { return true };
        let end = tokio::time::timeout(Duration::from_secs(3), one.read(&mut [0; 1])).await;
        end.is_ok_and(|read| !matches!(read, Ok(1..)))
    }));
    ends.await.into_iter().filter(|ended| *ended).count()
}

#[tokio::test]
async fn one_address_that_never_ends_its_handshakes_does_not_take_every_connection() {
    limited(async {
        let authority = Authority::new().await;
        let balancer = blocking(move || {
            let (dir, port) = (process::new_dir("balancer"), ports::free_port());
            let command = command(&dir, port, &[], &[]);
            let read = |path: &Path| std::fs::read_to_string(path).unwrap();
            let both = dir.join("both.pem");
            std::fs::write(&both, read(&authority.certificate()) + &read(&authority.key())).unwrap();
            let file = PathBuf::from(command.get_args().last().unwrap());
            let bind = format!("    bind 127.0.0.1:{port}");
            let over_tls = read(&file).replacen(&bind, &format!("{bind} ssl crt {}", both.display()), 1);
            std::fs::write(&file, over_tls).unwrap();
            Balancer::run(Kind::HaProxy, port, dir, command)
        })
        .await;
        assert_eq!(refused_of_2_100(balancer.port).await, 100);
    })
    .await;
}

#[tokio::test]
async fn one_silent_address_does_not_take_every_connection() {
    limited(async {
        let cluster = shared::cluster().await;
        let balancer = Balancer::before(Kind::HaProxy, &cluster).await;
        assert_eq!(refused_of_2_100(balancer.port).await, 100);
        Rest::new(vec![balancer.url()], vec![balancer.url()], 0).get("/").await.ok(200);
    })
    .await;
}

/// Whether a silent connection from that address, by the PROXY protocol, is refused.
async fn is_refused(held: &mut Vec<TcpStream>, from: &str, port: u16) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let family = if from.contains(':') { "TCP6" } else { "TCP4" };
    let to = if from.contains(':') { "::1" } else { "127.0.0.1" };
    stream.write_all(format!("PROXY {family} {from} {to} 1 2\r\n").as_bytes()).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 1])).await;
    held.push(stream);
    end.is_ok_and(|read| !matches!(read, Ok(1..)))
}

#[tokio::test]
async fn one_ipv6_site_does_not_take_every_connection() {
    limited(async {
        let balancer = blocking(move || {
            let (dir, port) = (process::new_dir("balancer"), ports::free_port());
            let command = command(&dir, port, &[], &[]);
            let file = PathBuf::from(command.get_args().last().unwrap());
            let text = std::fs::read_to_string(&file).unwrap();
            assert_eq!(text.matches("conn_cur gt 4096").count(), 1, "half of maxconn 8192");
            let bind = format!("    bind 127.0.0.1:{port}");
            // As the file says for a balancer behind another one.
            let text = text.replace(&bind, &format!("{bind} accept-proxy"));
            let text = text.replace("tcp-request connection", "tcp-request session");
            std::fs::write(&file, text.replace("conn_cur gt 4096", "conn_cur gt 4")).unwrap();
            Balancer::run(Kind::HaProxy, port, dir, command)
        })
        .await;
        let mut held = Vec::new();
        for subscriber in 0..4 {
            let from = format!("2001:db8:1:{subscriber}::1");
            assert!(!is_refused(&mut held, &from, balancer.port).await, "{from}");
        }
        assert!(is_refused(&mut held, "2001:db8:1:4::1", balancer.port).await, "the fifth of the site");
        for other in ["2001:db8:2:4::1", "192.0.2.1", "192.0.2.2"] {
            assert!(!is_refused(&mut held, other, balancer.port).await, "{other}");
        }
    })
    .await;
}

/// A node that says that it is ready and answers all else with that.
async fn stand_in(answer: &'static str) -> Ports {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let ready = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let answer = if head[..read].starts_with(b"GET /readyz") { ready } else { answer };
                stream.write_all(answer.as_bytes()).await.ok();
            });
        }
    });
    Ports { public: port, admin: port }
}

#[tokio::test]
async fn a_handshake_that_an_ending_gateway_refuses_goes_to_another_one() {
    limited(async {
        let ends = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let takes = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let gateways = [stand_in(ends).await, stand_in(takes).await];
        let balancer = blocking(move || Balancer::start(Kind::HaProxy, &[], &gateways)).await;
        let ask = async |more: &str| {
            let mut stream = TcpStream::connect(("127.0.0.1", balancer.port)).await.unwrap();
            let head = format!("GET /ws/chat HTTP/1.1\r\nhost: x\r\n{more}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer[9..]).into_owned()
        };
        // Once it knows that both are there.
        let handshake = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        eventually("a gateway", SOON, async || (ask(handshake).await == "101").then_some(())).await;
        for number in 0..10 {
            assert_eq!(ask(handshake).await, "101", "handshake {number}");
        }
    })
    .await;
}
