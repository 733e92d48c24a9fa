//! A TCP proxy that misbehaves on demand, for the links to Redis and Postgres.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The proxy's way with its links.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// passes everything on
    Forward,
    /// passes everything on, each piece this much later
    Delay(Duration),
    /// keeps all links open, takes new ones, and passes nothing on: a network that went silent
    Stall,
    /// takes no new link: the port is closed; links that are open go on
    Refuse,
}

#[derive(Clone, PartialEq, Eq)]
struct Orders {
    mode: Mode,
    /// where new links lead
    target: String,
    /// links opened in an earlier epoch are cut
    epoch: u64,
    /// links opened in an earlier epoch are passed nothing on
    remembered: u64,
}

/// A proxy on a loopback port of its own. It lives on a thread of its own, so that a test that
/// blocks does not slow it, and ends with this value, all links cut.
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
}

impl Proxy {
    /// A proxy in front of `target` (`127.0.0.1:6379`).
    pub fn to(target: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let start = Orders { mode: Mode::Forward, target: target.to_owned(), epoch: 0, remembered: 0 };
        let (orders, watch) = watch::channel(start);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(accept(listener, watch));
        });
        Self { address, orders }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn set(&self, mode: Mode) {
        self.orders.send_modify(|orders| orders.mode = mode);
    }

    /// Leads new links to another server; those that are open stay where they are.
    pub fn lead_to(&self, target: &str) {
        self.orders.send_modify(|orders| target.clone_into(&mut orders.target));
    }

    /// Cuts all links that are open now; new ones follow the mode.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.epoch += 1);
    }

    /// Passes nothing on any more over links that are open now, and says nothing of it, as a
    /// balancer that forgot them. New ones follow the mode.
    pub fn forget(&self) {
        self.orders.send_modify(|orders| orders.remembered += 1);
    }
}

async fn accept(listener: std::net::TcpListener, mut orders: watch::Receiver<Orders>) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(TcpListener::from_std(listener).unwrap());
    loop {
        if orders.borrow_and_update().mode == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let taken = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = orders.changed() => if changed.is_err() {
                return;
            },
            client = taken => if let Ok((client, _)) = client {
                tokio::spawn(link(client, orders.clone()));
            },
        }
    }
}

async fn link(client: TcpStream, mut orders: watch::Receiver<Orders>) {
    let Orders { target, epoch, remembered, .. } = orders.borrow().clone();
    let same_epoch = orders.clone();
    let forward = async {
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            pump(from_client, to_server, same_epoch.clone(), remembered),
            pump(from_server, to_client, same_epoch, remembered),
        );
    };
    tokio::select! {
        () = forward => {}
        _ = orders.wait_for(|orders| orders.epoch != epoch) => {}
    }
}

/// Passes on what is read until either end closes. One piece is held at a time, so a stalled link
/// fills the sender's own buffers, as a real one would.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut orders: watch::Receiver<Orders>, remembered: u64) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length) = from.read(&mut buffer).await else {
            return;
        };
        let passes = |orders: &Orders| orders.mode != Mode::Stall && orders.remembered == remembered;
        let Ok(now) = orders.wait_for(passes).await.map(|now| now.mode) else {
            return;
        };
        if let Mode::Delay(delay) = now {
            tokio::time::sleep(delay).await;
        }
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            to.shutdown().await.ok();
            return;
        }
    }
}
