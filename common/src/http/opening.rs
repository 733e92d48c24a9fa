//! The beginning of a connection, before HTTP's layers see it. Most connections of a gateway become
//! WebSockets, and the layers cost more than the rest of such a handshake.

use super::places::Place;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::Extensions;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// The most that is read of a connection before HTTP gets it: a handshake with a long token.
const FIRST_READ_BYTES: usize = 4 * 1024;

/// A connection of which nothing was answered.
pub struct Opening {
    /// Its socket.
    pub stream: TcpStream,
    /// The bytes that it began with.
    pub read: Bytes,
    /// The other end.
    pub peer: SocketAddr,
    /// Its place.
    pub place: Arc<Place>,
    /// Stands on its first request, where HTTP serves that.
    pub known: Extensions,
}

/// Answers the first requests that it understands whole, and takes their connections over.
pub trait Upgrades: Send + Sync {
    /// Answers, or gives the connection back for HTTP to serve, with what is known of it by then.
    fn take(&self, opening: Opening) -> BoxFuture<'_, Option<Opening>>;
}

/// The first bytes of a connection; none where it ended without.
pub(super) async fn first_bytes(stream: &TcpStream) -> io::Result<Bytes> {
    loop {
        stream.readable().await?;
        let mut read = BytesMut::with_capacity(FIRST_READ_BYTES);
        match stream.try_read_buf(&mut read) {
            Ok(_) => return Ok(read.freeze()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
