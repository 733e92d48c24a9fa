//! Stand-in until the real one lands.
#![allow(missing_docs)]
use tokio_util::sync::CancellationToken;
#[derive(Clone)]
pub struct Lifecycle(CancellationToken);
impl Lifecycle {
    pub fn spawn(&self, _: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(future));
    }
    pub fn stopping(&self) -> CancellationToken {
        self.0.clone()
    }
}
