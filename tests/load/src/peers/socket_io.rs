//! Socket.IO with its Redis adapter, from npm: one process that holds the sockets, another in
//! which messages come in.

use super::Peer;
use crate::cpu::{Part, Watched};
use crate::fleet::{Fleet, source};
use crate::socket::{Spec, Step, handshake, text_frame};
use crate::world;
use messenger_testing::Redis;
use messenger_testing::process::{self, Log, Process};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// How long it may take to install and to start.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Running; it ends when dropped.
pub struct SocketIo {
    /// Holds the sockets.
    holder: Process,
    address: SocketAddr,
    /// Where messages are posted: another process, so that they go through Redis.
    _publisher: Process,
    publish_to: SocketAddr,
    redis: Arc<Redis>,
}

impl SocketIo {
    pub fn start() -> Result<Self, String> {
        let dir = process::new_dir("socket-io");
        let mut install = Command::new("npm");
        install
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
                "socket.io@4",
                "@socket.io/redis-adapter@8",
                "redis@4",
            ])
            .current_dir(&dir);
        std::fs::write(dir.join("package.json"), "{}").map_err(|error| error.to_string())?;
        std::fs::write(dir.join("server.js"), include_str!("socket_io.js")).map_err(|error| error.to_string())?;
        process::run(install)?;
        let redis = world::runtime()?.block_on(Redis::private());
        let (holder, address) = start(&dir, &redis)?;
        let (publisher, publish_to) = start(&dir, &redis)?;
        Ok(Self { holder, address, _publisher: publisher, publish_to, redis })
    }

    pub fn watched(&self) -> Watched {
        Watched::default()
            .with("socket.io", Part::Alone(self.holder.pid()))
            .with("redis", Part::Alone(self.redis.pid().unwrap_or(0)))
    }

    /// The nth socket, in that room.
    pub fn subscriber(&self, n: usize, room: usize) -> Spec {
        Spec {
            server: self.address,
            source: source(n),
            hello: handshake("/socket.io/?EIO=4&transport=websocket", ""),
            steps: Arc::new([
                Step { expect: "\"sid\"", then: text_frame("40") },
                Step { expect: "\"sid\"", then: text_frame(&format!(r#"420["join","{room}"]"#)) },
                Step { expect: "430", then: Vec::new() },
            ]),
        }
    }

    pub fn publisher(&self) -> SocketAddr {
        self.publish_to
    }
}

/// Where a message for a room is posted.
pub fn path(room: usize) -> String {
    format!("/{room}")
}

/// Socket.IO with `channels` of `each`, as rooms.
pub fn peer(channels: usize, each: usize) -> Result<Peer, String> {
    let socket_io = SocketIo::start()?;
    let fleet = Fleet::open((0..channels * each).map(|n| socket_io.subscriber(n, n / each)).collect(), false)?;
    Ok(Peer {
        name: "Socket.IO",
        watched: socket_io.watched(),
        fleet,
        publisher: socket_io.publish_to,
        path,
        channels,
        reach: each as u64,
        slower: 0.3,
        _servers: vec![Box::new(socket_io)],
    })
}

fn start(dir: &Path, redis: &Redis) -> Result<(Process, SocketAddr), String> {
    let log = Arc::new(Log::default());
    let mut command = process::bound_command("node", "KILL");
    command.arg("server.js").current_dir(dir).env("REDIS_URL", redis.url()).env("NODE_ENV", "production");
    let process = Process::start(command, &log)?;
    let port = log.find(0, START_LIMIT, |line| line.strip_prefix("listening ")?.parse::<u16>().ok());
    let port = port.ok_or_else(|| format!("Socket.IO did not start:\n{}", log.since(0).join("\n")))?;
    Ok((process, ([127, 0, 0, 1], port).into()))
}
