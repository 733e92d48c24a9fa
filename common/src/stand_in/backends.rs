//! Stand-in.
#![allow(missing_docs)]
use std::sync::Arc;
pub struct Backends {
    pub store: Arc<dyn crate::store::Store>,
    pub bus: Arc<dyn crate::bus::Bus>,
    pub presence: Arc<dyn crate::presence::Presence>,
    pub limiter: Arc<dyn crate::rate_limit::RateLimiter>,
    pub metrics: crate::metrics::Metrics,
    pub clock: crate::clock::Clock,
    pub node: crate::id::NodeId,
}
