//! nchan, a module of nginx, as Debian packs it: one worker, which is what serves it best per delivery.

use super::Peer;
use crate::cpu::{Part, Watched};
use crate::fleet::{Fleet, source};
use crate::socket::{Spec, handshake};
use crate::world;
use messenger_testing::process::{self, Log, Process};
use messenger_testing::{Redis, eventually_blocking};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// A running nchan; it ends with this value.
pub struct Nchan {
    process: Process,
    address: SocketAddr,
    redis: Option<Arc<Redis>>,
    _log: Arc<Log>,
}

impl Nchan {
    /// Starts it, with a Redis of its own between publishers and subscribers or without.
    pub fn start(with_redis: bool) -> Result<Self, String> {
        let nginx = process::find_program("nginx").map_or_else(
            || {
                process::install("nginx-light")?;
                process::find_program("nginx").ok_or_else(|| "no `nginx` after installing it".to_owned())
            },
            Ok,
        )?;
        let dir = process::new_dir("nchan");
        let module = module(&dir)?;
        let redis = if with_redis { Some(world::runtime()?.block_on(Redis::private())) } else { None };
        let port = messenger_testing::ports::free_port();
        let conf = dir.join("nginx.conf");
        std::fs::write(&conf, configuration(&dir, &module, port, redis.as_deref()))
            .map_err(|error| error.to_string())?;
        let mut command = process::bound_command(nginx, "QUIT");
        command.arg("-p").arg(&dir).arg("-c").arg(&conf);
        let log = Arc::new(Log::default());
        let process = Process::start(command, &log)?;
        let address = ([127, 0, 0, 1], port).into();
        eventually_blocking("nchan", Duration::from_secs(20), || takes_messages(address).then_some(()))
            .map_err(|error| format!("{error}\n{}", log.since(0).join("\n")))?;
        Ok(Self { process, address, redis, _log: log })
    }

    pub fn watched(&self) -> Watched {
        let watched = Watched::default().with("nchan", Part::Family(self.process.pid()));
        match self.redis.as_ref().and_then(|redis| redis.pid()) {
            Some(pid) => watched.with("redis", Part::Alone(pid)),
            None => watched,
        }
    }

    /// The nth socket, on that channel.
    pub fn subscriber(&self, n: usize, channel: usize) -> Spec {
        let hello = handshake(&format!("/sub/{channel}"), "");
        Spec { server: self.address, source: source(n), hello, steps: Arc::new([]) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Where a message for a channel is posted.
pub fn path(channel: usize) -> String {
    format!("/pub/{channel}")
}

/// nchan with `channels` of `each`.
pub fn peer(channels: usize, each: usize, with_redis: bool) -> Result<Peer, String> {
    let nchan = Nchan::start(with_redis)?;
    let fleet = Fleet::open((0..channels * each).map(|n| nchan.subscriber(n, n / each)).collect(), false)?;
    Ok(Peer {
        name: if with_redis { "nchan with Redis" } else { "nchan" },
        watched: nchan.watched(),
        fleet,
        publisher: nchan.address,
        path,
        channels,
        reach: each as u64,
        slower: 1.0,
        _servers: vec![Box::new(nchan)],
    })
}

/// Whether it answers a message with success; until it has its Redis, it refuses.
fn takes_messages(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "POST /pub/probe HTTP/1.1\r\nhost: load\r\ncontent-length: 1\r\nconnection: close\r\n\r\n.")?;
        let mut answer = [0; 10];
        stream.read_exact(&mut answer)?;
        Ok(answer.ends_with(b"2"))
    };
    ask().unwrap_or(false)
}

/// The module out of Debian's package, which need not be installed for it.
fn module(dir: &Path) -> Result<PathBuf, String> {
    let installed = PathBuf::from("/usr/lib/nginx/modules/ngx_nchan_module.so");
    if installed.is_file() {
        return Ok(installed);
    }
    let mut download = Command::new("apt-get");
    process::run({
        download.args(["download", "libnginx-mod-nchan"]).current_dir(dir);
        download
    })?;
    let mut unpack = Command::new("sh");
    process::run({
        unpack.args(["-c", "dpkg -x libnginx-mod-nchan*.deb package"]).current_dir(dir);
        unpack
    })?;
    Ok(dir.join("package/usr/lib/nginx/modules/ngx_nchan_module.so"))
}

fn configuration(dir: &Path, module: &Path, port: u16, redis: Option<&Redis>) -> String {
    let (dir, module) = (dir.display(), module.display());
    let user = if process::is_root() { "user root;" } else { "" };
    let (upstream, pass) = match redis {
        Some(redis) => (format!("upstream redis {{ nchan_redis_server {}; }}", redis.url()), "nchan_redis_pass redis;"),
        None => (String::new(), ""),
    };
    format!(
        "load_module {module};
{user}
daemon off; master_process off;
pid {dir}/nginx.pid;
error_log stderr error;
worker_processes 1;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    nchan_message_buffer_length 64;
    {upstream}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/pub/(\\w+)$ {{ nchan_publisher; nchan_channel_id $1; {pass} }}
        location ~ ^/sub/(\\w+)$ {{
            nchan_subscriber websocket; nchan_channel_id $1; nchan_subscriber_first_message newest; {pass}
        }}
    }}
}}
"
    )
}
