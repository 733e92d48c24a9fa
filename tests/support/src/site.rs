//! The one address at which a client finds a whole deployment. Before a cluster stands a balancer:
//! `/ws/…` goes to the gateways, all else to the apis, round and round.
//!
//! It takes one request a connection, so that each request has its own way; a node that is down is
//! passed over, and with none left the connection is closed, as by a balancer whose upstreams are
//! gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::deployment::Deployment;
use super::node::Node;

const MAX_HEAD: usize = 64 * 1024;

/// Ends with this value.
pub struct Site {
    pub url: String,
    _balancer: Option<Balancer>,
}

impl Site {
    pub async fn of(deployment: &Deployment) -> Self {
        if !deployment.is_cluster() {
            return Self { url: deployment.api(0).url(), _balancer: None };
        }
        Self::under(deployment, "").await
    }

    /// Under a path of the host, which the balancer takes away. It serves no other.
    pub async fn under(deployment: &Deployment, prefix: &'static str) -> Self {
        let balancer = Balancer::before(deployment, prefix).await;
        Self { url: format!("{}{prefix}", balancer.url()), _balancer: Some(balancer) }
    }
}

struct Balancer {
    port: u16,
    task: JoinHandle<()>,
}

struct Nodes {
    prefix: &'static str,
    apis: Vec<Arc<Node>>,
    gateways: Vec<Arc<Node>>,
    turn: AtomicUsize,
}

impl Balancer {
    async fn before(deployment: &Deployment, prefix: &'static str) -> Self {
        let nodes = Arc::new(Nodes {
            prefix,
            apis: deployment.apis().to_vec(),
            gateways: deployment.gateways().to_vec(),
            turn: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let nodes = Arc::clone(&nodes);
                tokio::spawn(async move { nodes.pass(client).await });
            }
        });
        Self { port, task }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Nodes {
    async fn pass(&self, mut client: TcpStream) -> Option<()> {
        let mut read = Vec::new();
        let end = loop {
            if client.read_buf(&mut read).await.ok()? == 0 || read.len() > MAX_HEAD {
                return None;
            }
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
        };
        let head = String::from_utf8(read[..end].to_vec()).ok()?;
        let path = head.split(' ').nth(1)?;
        let Some(path) = path.strip_prefix(self.prefix).filter(|path| path.starts_with('/')) else {
            let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            return client.write_all(answer.as_bytes()).await.ok();
        };
        let head = head.replacen(&format!(" {}{path} ", self.prefix), &format!(" {path} "), 1);
        let mut server = self.connect(path).await?;
        let upgrade = head.to_ascii_lowercase().contains("\r\nupgrade: websocket");
        let mut passed = String::new();
        for line in head.split("\r\n") {
            if upgrade || !line.to_ascii_lowercase().starts_with("connection:") {
                passed.push_str(line);
                passed.push_str("\r\n");
            }
        }
        passed.push_str(if upgrade { "\r\n" } else { "Connection: close\r\n\r\n" });
        server.write_all(passed.as_bytes()).await.ok()?;
        server.write_all(&read[end + 4..]).await.ok()?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()?;
        Some(())
    }

    async fn connect(&self, path: &str) -> Option<TcpStream> {
        let nodes = if path.starts_with("/ws/") { &self.gateways } else { &self.apis };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for n in 0..nodes.len() {
            let node = &nodes[(turn + n) % nodes.len()];
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", node.port())).await {
                stream.set_nodelay(true).ok();
                return Some(stream);
            }
        }
        None
    }
}
