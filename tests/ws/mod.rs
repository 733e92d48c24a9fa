//! The WebSocket contract, by its wire form, on both forms of the messenger.

mod commands;
mod connect;
mod events;
mod frames;
mod limits;
mod marks;
mod mentions;
mod presence;
mod private;
mod revocation;
pub mod subscribe;
mod typing_read;
mod unknown;
