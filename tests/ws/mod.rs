//! The WebSocket contract, by its wire form, on both forms of the messenger.
