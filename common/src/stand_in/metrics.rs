//! Stand-in until the real one lands.
#![allow(missing_docs)]
#[derive(Clone)]
pub struct Metrics {
    pub messages_stored: prometheus::IntCounter,
    any: prometheus::IntCounter,
}
pub enum AuthResult {
    Ok,
    BadCredentials,
    AccountDisabled,
}
impl Metrics {
    pub fn auth_attempts(&self, _: AuthResult) -> &prometheus::IntCounter {
        &self.any
    }
    pub fn rate_limited(&self, _: &str) -> &prometheus::IntCounter {
        &self.any
    }
}
