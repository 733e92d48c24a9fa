//! What REST, the WebSocket's upgrade and the admin port share of HTTP: problems, extractors, middleware, the accept loop.

pub mod extract;
pub mod problem;
