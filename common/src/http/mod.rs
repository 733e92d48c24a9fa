//! The HTTP that REST, the WebSocket's upgrade and the admin port share: problems, extractors,
//! middleware, the accept loop.

pub mod admin;
mod body;
pub mod caller;
pub mod client_ip;
mod door;
pub mod extract;
pub mod head;
pub mod idempotency;
mod listen;
pub mod middleware;
mod opening;
pub mod origin;
mod payer;
pub mod places;
pub mod problem;
mod reading;
mod request_id;
pub mod serve;
mod shares;
mod socket;

pub use client_ip::ClientIp;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use head::fuzz as fuzz_head;
pub use listen::{Bound, open_listener};
pub use middleware::{Toll, layers, request_span, seal};
pub use opening::{Opening, Upgrades};
pub use places::{Place, Places, places_within};
pub use request_id::{RequestId, RequestIds};
pub use serve::{serve, serve_admin, unbound_sending};
pub use socket::Socket;
