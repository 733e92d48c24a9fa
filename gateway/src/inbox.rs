//! The messages of a shard's inbox: connections, publications from the bus, revocations and
//! releases.

use crate::feed::Event;
use crate::protocol::CloseCode;
use bytes::Bytes;
use messenger_common::auth::AuthUser;
use messenger_common::event::{EventKind, Revocation, TraceContext, Traced};
use messenger_common::http::Place;
use messenger_common::id::{ChatId, Seq, UserId};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Messages that wait for a shard at most; the hub waits when there are more.
pub(crate) const INBOX: usize = 1024;

/// One message to a shard.
pub(crate) enum ToShard {
    /// A connection whose handshake is done.
    Accept(Box<Accepted>),
    /// Publications, in the bus's order.
    Deliver(Vec<Delivery>),
    /// Another connection of the user took the seat of this one.
    Displace(UserId, u64),
    /// Any event may have been lost: compare all heads with the log.
    CompareAll,
    /// Access ended.
    Revoke(Revocation),
    /// Some revocations were missed: check all connections.
    Recheck,
    /// Release all connections, evenly over this long.
    Drain(Duration),
    /// Release so many of the connections that are open longest, evenly over this long.
    HandOver(usize, Duration),
}

/// A connection on its way to its shard.
pub(crate) struct Accepted {
    /// No longer registered with the runtime that accepted it.
    pub(crate) stream: TcpStream,
    /// The bytes read behind the handshake.
    pub(crate) read_ahead: Bytes,
    /// The answer to the handshake, where it was not written yet.
    pub(crate) answer: Option<Bytes>,
    /// Its place among its address's connections.
    pub(crate) place: Arc<Place>,
    /// The user, or why the connection is refused.
    pub(crate) auth: Result<AuthUser, CloseCode>,
    /// The trace that the client named in its handshake.
    pub(crate) trace: Option<TraceContext>,
    /// Dropped when the connection counts.
    pub(crate) arrival: Arc<()>,
}

/// A publication for one shard.
#[derive(Clone)]
pub(crate) enum Delivery {
    /// A sequenced event.
    Log(ChatId, Event),
    /// From here on the bus delivers the chat's channel.
    ChannelUp(ChatId),
    /// The log has this number; it may have been published, and lost.
    Reached(ChatId, Seq),
    /// Typing or read state.
    Ephemeral { chat_id: ChatId, user_id: UserId, kind: EventKind, frame: Bytes },
    /// To every connection of a user.
    Notice(NoticeFrame),
    /// The same of a time when the node did not hear the bus. `happened`: milliseconds of the node.
    PastNotice { notice: NoticeFrame, happened: u64 },
    /// The trace of an event that follows.
    Traced(TracedArrival),
    /// Presence.
    Status(Arc<[StatusFrame]>),
}

/// An event's trace, as it came from the bus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TracedArrival {
    /// Of a notice: its user.
    pub(crate) user_id: Option<UserId>,
    pub(crate) traced: Traced,
    pub(crate) at: SystemTime,
}

/// A notice to a user, framed.
#[derive(Clone, Debug)]
pub(crate) struct NoticeFrame {
    pub(crate) user_id: UserId,
    pub(crate) chat_id: ChatId,
    pub(crate) seq: Seq,
    pub(crate) kind: EventKind,
    pub(crate) frame: Bytes,
}

/// A presence transition, framed.
pub(crate) struct StatusFrame {
    pub(crate) user_id: UserId,
    pub(crate) decided_at_micros: i64,
    pub(crate) chats: Vec<ChatId>,
    pub(crate) frame: Bytes,
}
