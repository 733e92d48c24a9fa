//! nginx with `deploy/nginx`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Balancer, Kind, Ports, program, with_servers};
use crate::deploy::{copy_of, shipped};
use crate::support::{blocking, limited, ports, process};

pub(super) fn command(dir: &Path, port: u16, apis: &[Ports], gateways: &[Ports]) -> Command {
    let nginx = program("nginx");
    let config = copy_of("deploy/nginx", dir);
    let listen = shipped("deploy/nginx/listen.conf").replace("listen 8080;", &format!("listen 127.0.0.1:{port};"));
    std::fs::write(config.join("listen.conf"), listen).unwrap();
    let upstreams = with_servers(&shipped("deploy/nginx/upstreams.conf"), apis, gateways, |line, ports| {
        // `server api1:8000 …;`
        let start = line.find("server ").unwrap() + "server ".len();
        let end = start + line[start..].find([' ', ';']).unwrap();
        format!("{}127.0.0.1:{}{}", &line[..start], ports.public, &line[end..])
    });
    std::fs::write(config.join("upstreams.conf"), upstreams).unwrap();

    // Its workers end when it is asked to end, not when it is killed.
    let mut command = process::bound_command(nginx, "TERM");
    command.arg("-p").arg(dir).arg("-c").arg(config.join("nginx.conf")).args(["-g", "daemon off;"]);
    command
}

/// Whether a request from that address, whose body never ends, is refused for its number.
async fn is_refused(held: &mut Vec<TcpStream>, from: &str, port: u16) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {from}\r\ncontent-length: 9\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let end = tokio::time::timeout(Duration::from_secs(1), stream.read_exact(&mut answer)).await;
    held.push(stream);
    let refused = end.is_ok();
    assert!(!refused || answer.ends_with(b"429"), "{from}: {}", String::from_utf8_lossy(&answer));
    refused
}

/// Beside its connections a worker has files open: listeners, logs, bodies too large for memory.
#[test]
fn a_worker_may_open_more_than_its_connections() {
    let config = shipped("deploy/nginx/nginx.conf");
    let number = |name: &str| -> u32 {
        let mut lines = config.lines().map(str::trim);
        lines.find_map(|line| line.strip_prefix(name)?.strip_suffix(';')).unwrap().parse().unwrap()
    };
    assert!(number("worker_rlimit_nofile ") > number("worker_connections "));
}

#[tokio::test]
async fn one_network_does_not_take_every_connection_however_its_addresses_are_written() {
    limited(async {
        let balancer = blocking(|| {
            let (dir, port) = (process::new_dir("balancer"), ports::free_port());
            let nobody = [Ports { public: ports::free_port(), admin: ports::free_port() }];
            let command = command(&dir, port, &nobody, &nobody);
            let file = dir.join("nginx/nginx.conf");
            let text = std::fs::read_to_string(&file).unwrap();
            for (limit, fewer) in [("limit_conn addresses 2000;", 2), ("limit_conn sites 4096;", 4)] {
                assert!(text.contains(limit), "{limit}");
                let zone = limit.rsplit_once(' ').unwrap().0;
                let text = std::fs::read_to_string(&file).unwrap();
                std::fs::write(&file, text.replace(limit, &format!("{zone} {fewer};"))).unwrap();
            }
            // As the file says for a balancer behind another one.
            let listen = dir.join("nginx/listen.conf");
            let real = "set_real_ip_from 127.0.0.1;\nreal_ip_header X-Forwarded-For;\n";
            std::fs::write(&listen, std::fs::read_to_string(&listen).unwrap() + real).unwrap();
            Balancer::run(Kind::Nginx, port, dir, command)
        })
        .await;
        let mut held = Vec::new();
        // Three of one /64, each written in another way, with a line feed in a byte of it.
        for (from, refused) in
            [("2001:db8:a:0:1:2:3:a", false), ("2001:db8:a::1", false), ("2001:0db8:000a:0:0:1::", true)]
        {
            assert_eq!(is_refused(&mut held, from, balancer.port).await, refused, "{from}");
        }
        // Two more have all that a /48 has.
        for (from, refused) in [("2001:db8:a:1::1", false), ("2001:db8:a:2::1", false), ("2001:db8:a:3::1", true)] {
            assert_eq!(is_refused(&mut held, from, balancer.port).await, refused, "{from}");
        }
        assert!(!is_refused(&mut held, "2001:db8:b::1", balancer.port).await, "another site");
        for from in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert!(!is_refused(&mut held, from, balancer.port).await, "{from}");
        }
        assert!(is_refused(&mut held, "192.0.2.1", balancer.port).await, "the third, mapped or not");
        for from in ["192.0.2.2", "192.0.3.3", "192.0.2.4"] {
            assert!(!is_refused(&mut held, from, balancer.port).await, "{from} of no site");
        }
    })
    .await;
}
