//! The accept loop: HTTP/1.1 with upgrades, bounded, drained by the lifecycle.
//!
//! Ours and not `axum::serve`'s: a gateway needs the bare socket behind an upgrade (`TokioIo<TcpStream>`), no delay on it, time
//! limits on heads, and an accept error must never end or spin the loop.

use super::client_ip::Peer;
use crate::lifecycle::Lifecycle;
use axum::Router;
use axum::body::Body;
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// How many connections speak HTTP at once (an upgraded one does no more); further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16_384;
/// How long the first request's head may take.
const FIRST_HEAD: Duration = Duration::from_secs(10);
/// How long a connection may idle between requests, or take for a later head: longer than a load balancer keeps one.
const NEXT_HEAD: Duration = Duration::from_secs(75);
/// How long a connection without a request yet is waited for once draining.
const LAST_HEAD: Duration = Duration::from_millis(300);
/// The longest head that is read.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The pause after an accept error that will not go away at once (no file descriptors left).
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Serves the public port until draining: then it accepts no more, running requests finish, idle connections are closed. The drain waits for them.
pub async fn serve(listener: TcpListener, router: Router, lifecycle: Lifecycle) {
    let until = lifecycle.draining();
    accept(listener, router, until, |connection| drop(lifecycle.spawn_task("connection", connection))).await;
}

/// Serves the admin port until stopping, so that `/readyz` says to the last what is going on. No drain waits for it.
pub async fn serve_admin(listener: TcpListener, router: Router, lifecycle: Lifecycle) {
    let until = lifecycle.stopping();
    accept(listener, router, until, |connection| lifecycle.spawn_aside("admin connection", connection)).await;
}

async fn accept(
    listener: TcpListener,
    router: Router,
    until: CancellationToken,
    spawn: impl Fn(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>),
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut pause = BACK_OFF.0;
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => return,
            },
            () = until.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = BACK_OFF.0;
                let connection = connection(stream, peer, router.clone(), until.clone());
                spawn(Box::pin(async move {
                    connection.await;
                    drop(place);
                }));
            }
            // The client gave up while it waited: nothing is wrong here.
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accepting failed; trying again");
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(BACK_OFF.1),
                    () = until.cancelled() => return,
                }
            }
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, until: CancellationToken) {
    // Without it an answer may wait for the client's acknowledgement of the last one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let begun = Arc::new(AtomicBool::new(false));
    let (seen, draining) = (begun.clone(), until.clone());
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(Peer(peer));
        let (answer, draining) = (router.clone().call(request.map(Body::new)), draining.clone());
        async move {
            let mut answer = answer.await.unwrap_or_else(|never| match never {});
            if draining.is_cancelled() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(NEXT_HEAD)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let mut first_head = pin!(tokio::time::sleep(FIRST_HEAD));
    let mut waiting = true;
    let ended = loop {
        tokio::select! {
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
