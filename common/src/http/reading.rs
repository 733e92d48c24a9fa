//! How much is read of a body, and of all bodies together: they wait in memory for their ends.

use super::client_ip::ClientIp;
use super::shares::{Bounds, Full, Share, Shares};
use crate::error::Error;
use crate::metrics::Metrics;
use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::Extensions;
use http_body_util::BodyExt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The limit where no middleware set one.
const DEFAULT_BODY_LIMIT: usize = 262_144;
/// The longest body of a public request: names, passwords and tokens are short.
pub(super) const PUBLIC_BODY_BYTES: usize = 16 * 1024;
/// So much of each body needs no room: most have no more.
const FREE_BYTES: usize = 16 * 1024;
/// The room for what is longer, of all bodies that are being read.
const ALL_BYTES: usize = 64 * 1024 * 1024;
/// The room that one address may take.
pub(super) const BYTES_PER_ADDRESS: usize = ALL_BYTES / 4;
/// The same of one IPv6 /48.
const BYTES_PER_SITE: usize = ALL_BYTES / 2;
/// The advice to a client whose body finds no room.
const ROOM_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The room for bodies.
#[derive(Clone)]
pub(super) struct Room {
    shares: Arc<Shares>,
    metrics: Metrics,
}

impl Room {
    pub(super) fn new(metrics: Metrics) -> Self {
        let bounds = Bounds { all: ALL_BYTES, address: BYTES_PER_ADDRESS, site: BYTES_PER_SITE };
        Self { shares: Shares::new(bounds), metrics }
    }

    fn refusal(&self, full: Full) -> Error {
        if full == Full::All {
            return Error::unavailable("as many bytes of bodies as may are being read");
        }
        self.metrics.rate_limited("requests").inc();
        Error::RateLimited { limit: "requests", retry_after: ROOM_RETRY_AFTER }
    }
}

/// The most bytes of a body, and where they find room. The middleware puts it on the request.
#[derive(Clone)]
pub(super) struct BodyLimit {
    bytes: usize,
    /// None for a body that has been read and has it.
    room: Option<Room>,
    from: IpAddr,
}

impl BodyLimit {
    pub(super) fn new(bytes: usize, room: &Room, from: ClientIp) -> Self {
        Self { bytes, room: Some(room.clone()), from: from.network() }
    }

    /// The body was read, and takes its room until that is given back.
    pub(super) fn has_room(extensions: &mut Extensions) {
        if let Some(limit) = extensions.get_mut::<Self>() {
            limit.room = None;
        }
    }

    /// Takes it down to that of a public request.
    pub(super) fn of_public(extensions: &mut Extensions) {
        if let Some(limit) = extensions.get_mut::<Self>() {
            limit.bytes = limit.bytes.min(PUBLIC_BODY_BYTES);
        }
    }
}

/// The room that a body takes, until it is dropped.
#[derive(Default)]
pub(super) struct Taken(Option<Share>);

impl Taken {
    fn grow_to(&mut self, bytes: usize, limit: &BodyLimit) -> Result<(), Error> {
        let Some(room) = &limit.room else { return Ok(()) };
        let taken = self.0.as_ref().map_or(0, Share::size);
        let further = bytes.saturating_sub(FREE_BYTES + taken);
        if further == 0 {
            return Ok(());
        }
        let grown = match &mut self.0 {
            Some(share) => share.grow(further),
            none => room.shares.take(further, Some(limit.from)).map(|share| *none = Some(share)),
        };
        grown.map_err(|full| room.refusal(full))
    }
}

/// Reads the whole body of a request.
pub(super) async fn read(request: Request) -> Result<(Bytes, Taken), Error> {
    let limit = request.extensions().get::<BodyLimit>().cloned();
    read_all(limit, request.into_body()).await
}

/// Reads a whole body. `TooLarge` beyond the limit, `RateLimited` or `Unavailable` where it finds
/// no room; the edge reads the rest.
pub(super) async fn read_all(limit: Option<BodyLimit>, mut body: Body) -> Result<(Bytes, Taken), Error> {
    let most = limit.as_ref().map_or(DEFAULT_BODY_LIMIT, |limit| limit.bytes);
    let (mut bytes, mut taken) = (BytesMut::new(), Taken::default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Error::BadJson("the body ended early".to_owned()))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = bytes.len() + data.len();
        if length > most {
            return Err(Error::TooLarge(most));
        }
        if let Some(limit) = &limit {
            taken.grow_to(length, limit)?;
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), taken))
}
