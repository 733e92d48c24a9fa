//! The gateway: holds WebSocket connections, follows the chats that somebody here reads, and
//! answers who is online from any node.
//!
//! All SQL and Redis is behind the traits of `messenger_common`. Keeps G2 (the cursor), G5
//! (presence), G6 (the fence), G7 (bounded queues), G8 (drain). A room imports only rooms that
//! stand below it:
//!
//! Rooms, top to bottom: `bench, fuzz, start → routes → handshake → state → drain, rebalance,
//! revocation → worker → session → commands → subscription → repair → shard → hub → reads,
//! presence, inbox → conn → paced → newest, decisions, feed → protocol → frame`

#[cfg(feature = "bench")]
pub mod bench;
mod commands;
mod conn;
mod decisions;
mod drain;
pub mod feed;
mod frame;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod handshake;
mod hub;
mod inbox;
mod newest;
mod paced;
mod presence;
mod protocol;
mod reads;
mod rebalance;
mod repair;
mod revocation;
mod routes;
mod session;
mod shard;
mod start;
mod state;
mod subscription;
mod worker;

pub use start::run;
pub use state::Gateway;
