//! HAProxy with `deploy/haproxy`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use super::{Balancer, Kind, Ports, program, with_servers};
use crate::deploy::{copy_of, shipped};
use crate::support::tls::Authority;
use crate::support::{Rest, blocking, limited, ports, process, shared};

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
