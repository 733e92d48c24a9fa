//! A connection over the loopback, for the unit tests of this room.

use super::{Backlog, Batch, Conn, NewConn, State};
use bytes::Bytes;
use messenger_common::config::Program;
use messenger_common::metrics::{Held, Metrics};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

const SOON: Duration = Duration::from_secs(5);

pub(super) struct Pair {
    pub(super) conn: Rc<Conn>,
    pub(super) batch: Rc<Batch>,
    client: Mutex<TcpStream>,
}

pub(super) fn frame(text: &str) -> Bytes {
    crate::frame::text(text.as_bytes())
}

impl Pair {
    /// An open connection whose queue takes so many bytes.
    pub(super) async fn new(most_queued: usize) -> Self {
        Self::of(Rc::default(), most_queued).await
    }

    /// The same, of a shard with that batch.
    pub(super) async fn of(batch: Rc<Batch>, most_queued: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        let metrics = Metrics::new(Program::Gateway);
        let conn = Conn::new(NewConn {
            id: 1,
            shard: 0,
            auth: None,
            stream,
            clock: Rc::default(),
            batch: Rc::clone(&batch),
            backlog: Rc::new(Backlog::new(usize::MAX, most_queued, most_queued)),
            counted: Held::new(&metrics.ws_connections),
            place: None,
        });
        conn.state.set(State::Open);
        Self { conn, batch, client: Mutex::new(client) }
    }

    /// The next bytes that the client reads.
    pub(super) async fn read(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut client = self.client.lock().await;
        tokio::time::timeout(SOON, client.read_exact(&mut bytes)).await.expect("that many in time").unwrap();
        bytes
    }
}
