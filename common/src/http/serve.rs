//! The accept loop: HTTP/1.1 with upgrades, bounded, drained by the lifecycle.
//!
//! It is ours and not `axum::serve`'s. A gateway needs the bare socket behind an upgrade
//! ([`Socket`]), without delay. Heads need time limits. An accept error must neither end
//! nor spin the loop.

use super::client_ip::Peer;
use super::door::{Door, Entered};
use super::opening::{Opening, Upgrades, first_bytes};
use super::places::{Place, Places, RETRY_AFTER};
use super::socket::{self, Socket};
use crate::backoff::Backoff;
use crate::error::Error;
use crate::lifecycle::Lifecycle;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderName};
use http::{Extensions, HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// The longest time for the head of a first request.
const FIRST_HEAD: Duration = Duration::from_secs(10);
/// The same on the admin port, whose few connections are for those who ask.
const ADMIN_HEAD: Duration = Duration::from_secs(2);
/// The longest time of a connection there, with one request.
const ADMIN_CONNECTION: Duration = Duration::from_secs(10);
/// Connections that a drain takes from the kernel's queue at most.
const LAST_CONNECTIONS: usize = 16_384;
/// A client is asked to leave an idle connection this long before it is closed. Otherwise a
/// request may cross the closing: the client cannot know then whether it was served.
const LEAVE_EARLY: Duration = Duration::from_secs(2);
/// The wait for a first request once draining.
const LAST_HEAD: Duration = Duration::from_millis(300);
/// The longest head that is read.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// A client that takes nothing of an answer for this long is let go of.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// The pauses after accept errors that stay for a while (no file descriptors left).
const ACCEPT_RETRY: Backoff = Backoff { first: Duration::from_millis(10), longest: Duration::from_secs(1) };

/// Serves the public port until draining. Then it accepts no more, running requests finish, and
/// idle connections are closed. The drain waits for them. `keep_alive` is the longest pause
/// between requests, and the time for a later head. `upgrades` may take a connection over before
/// the router sees it.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    upgrades: Option<Arc<dyn Upgrades>>,
    places: Places,
    keep_alive: Duration,
    lifecycle: Lifecycle,
) {
    let until = lifecycle.draining();
    // Without it a drain that finds no connection is over before the last ones are taken.
    let _taking = lifecycle.hold_drain();
    let spawn = |connection| drop(lifecycle.spawn_task("connection", connection));
    let waits = Waits { first_head: FIRST_HEAD, keep_alive };
    accept(listener, router, Door::public(places), upgrades, waits, until, spawn).await;
}

/// Serves the admin port until stopping, so that `/readyz` answers to the last. No drain waits for
/// its connections: they end with this future. A connection is for one request.
pub async fn serve_admin(listener: TcpListener, router: Router, lifecycle: Lifecycle) {
    let until = lifecycle.stopping();
    let mut connections = JoinSet::new();
    let waits = Waits { first_head: ADMIN_HEAD, keep_alive: ADMIN_CONNECTION };
    accept(listener, router, Door::admin(), None, waits, until, |connection| {
        connections.spawn(tokio::time::timeout(ADMIN_CONNECTION, connection));
        // A connection's end concerns nobody else; a panic in it is in the log.
        while connections.try_join_next().is_some() {}
    })
    .await;
}

/// How long a connection may be silent.
#[derive(Clone, Copy)]
struct Waits {
    first_head: Duration,
    /// Between requests.
    keep_alive: Duration,
}

async fn accept(
    listener: TcpListener,
    router: Router,
    mut door: Door,
    upgrades: Option<Arc<dyn Upgrades>>,
    waits: Waits,
    until: CancellationToken,
    mut spawn: impl FnMut(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>),
) {
    let mut pauses = ACCEPT_RETRY.start();
    let mut take = |stream: TcpStream, peer: SocketAddr, entered: Result<Entered, Error>| {
        let entered = match entered {
            Ok(entered) => entered,
            Err(error) => return refuse(&stream, &error),
        };
        let (router, upgrades, until) = (router.clone(), upgrades.clone(), until.clone());
        spawn(Box::pin(async move {
            let first_head = Instant::now() + waits.first_head;
            let accepted = Accepted { peer, place: entered.place.clone(), first_head };
            if let Some(begun) = begin(stream, &accepted, upgrades, &until).await {
                connection(begun, accepted, router, waits.keep_alive, until).await;
            }
            drop(entered);
        }));
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = until.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                pauses.reset();
                let entered = door.enter(peer.ip()).await;
                take(stream, peer, entered);
            }
            // The client gave up while it waited: nothing is wrong here.
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; retrying");
                if until.run_until_cancelled(tokio::time::sleep(pauses.pause())).await.is_none() {
                    break;
                }
            }
        }
    }
    // The kernel has accepted these already. If the listener just closed, it would reset them, and
    // a load balancer could not repeat the POST that one of them has sent.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..LAST_CONNECTIONS {
        match listener.accept() {
            Ok((stream, peer)) => {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    let entered = door.enter(peer.ip()).await;
                    take(stream, peer, entered);
                }
            }
            Err(error) if is_the_clients(&error) => {}
            // The queue is empty.
            Err(_) => return,
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Answers a connection that finds no place, as far as its socket takes it at once. Nothing is
/// read: that would be a place.
fn refuse(stream: &TcpStream, error: &Error) {
    let answer = socket::answer(error, Some(RETRY_AFTER));
    if let Err(error) = stream.try_write(&answer) {
        tracing::debug!(%error, "a refused connection took no answer");
    }
}

/// Lets the kernel end a connection whose client takes nothing: the answer that waits would hold
/// the connection for ever (RFC 5482).
fn bound_sending(stream: &TcpStream) {
    set_user_timeout(stream, Some(TAKEN_WITHIN));
}

/// Ends that bound: a WebSocket has its own, and its client learns of it by a close.
pub fn unbound_sending(stream: &TcpStream) {
    set_user_timeout(stream, None);
}

fn set_user_timeout(stream: &TcpStream, timeout: Option<Duration>) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(timeout) {
        tracing::debug!(%error, "no TCP_USER_TIMEOUT");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, timeout);
}

/// `Keep-Alive` of the answers on a connection that is closed after so long a pause (RFC 2068,
/// section 19.7.1.1).
fn leave_after(keep_alive: Duration) -> Option<HeaderValue> {
    let seconds = keep_alive.saturating_sub(LEAVE_EARLY).as_secs();
    (seconds > 0).then(|| HeaderValue::try_from(format!("timeout={seconds}")).ok()).flatten()
}

/// A connection that was accepted.
struct Accepted {
    peer: SocketAddr,
    /// None on the admin port.
    place: Option<Arc<Place>>,
    /// When its first head must be there.
    first_head: Instant,
}

/// Reads the first bytes and lets `upgrades` take the connection over. `None` where it is over, or
/// another's.
async fn begin(
    stream: TcpStream,
    accepted: &Accepted,
    upgrades: Option<Arc<dyn Upgrades>>,
    until: &CancellationToken,
) -> Option<(Socket, Extensions)> {
    // Without it an answer may wait for the client's acknowledgement of the last one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let unread = |stream| Some((Socket::new(stream, Bytes::new()), Extensions::new()));
    let Some((upgrades, place)) = upgrades.zip(accepted.place.as_ref()) else { return unread(stream) };
    let read = tokio::select! {
        read = first_bytes(&stream) => read.ok().filter(|read| !read.is_empty())?,
        () = tokio::time::sleep_until(accepted.first_head) => return None,
        // A first request may be on its way.
        () = until.cancelled() => return unread(stream),
    };
    let opening = Opening { stream, read, peer: accepted.peer, place: Arc::clone(place), known: Extensions::new() };
    let back = upgrades.take(opening).await?;
    Some((Socket::new(back.stream, back.read), back.known))
}

async fn connection(
    (mut socket, known): (Socket, Extensions),
    Accepted { peer, place, first_head }: Accepted,
    router: Router,
    keep_alive: Duration,
    until: CancellationToken,
) {
    bound_sending(socket.stream());
    let leave_after = leave_after(keep_alive);
    let begun = Arc::new(AtomicBool::new(false));
    socket.carry_for(place.as_ref().filter(|place| place.is_proxys()).cloned());
    let (seen, draining) = (begun.clone(), until.clone());
    let known = Mutex::new(Some(known));
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        if let Some(known) = known.lock().take() {
            request.extensions_mut().extend(known);
        }
        request.extensions_mut().insert(Peer(peer));
        if let Some(place) = &place {
            // A WebSocket keeps it when the connection is no longer HTTP's.
            request.extensions_mut().insert(Arc::clone(place));
        }
        let (answer, draining) = (router.clone().call(request.map(Body::new)), draining.clone());
        let leave_after = leave_after.clone();
        async move {
            let mut answer = answer.await.unwrap_or_else(|never| match never {});
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                if draining.is_cancelled() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                } else if let Some(leave_after) = leave_after
                    && !answer.headers().contains_key(CONNECTION)
                {
                    answer.headers_mut().insert(KEEP_ALIVE, leave_after);
                }
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(keep_alive)
            .max_buf_size(MAX_HEAD_BYTES)
            // A client that sends no more waits for its answer.
            .half_close(true)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
    );
    let mut first_head = pin!(tokio::time::sleep_until(first_head));
    let mut waiting = true;
    let ended = loop {
        tokio::select! {
            // A request that was read already is served, however late it came.
            biased;
            ended = connection.as_mut() => break ended,
            () = first_head.as_mut(), if waiting => {
                waiting = false;
                if !begun.load(Ordering::Relaxed) {
                    return;
                }
            }
            () = until.cancelled() => {
                // A first request may be on its way; if it is not here in a moment, there was none.
                if !begun.load(Ordering::Relaxed) {
                    tokio::select! {
                        ended = connection.as_mut() => break ended,
                        () = tokio::time::sleep(LAST_HEAD) => {}
                    }
                    if !begun.load(Ordering::Relaxed) {
                        return;
                    }
                }
                connection.as_mut().graceful_shutdown();
                break connection.await;
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
