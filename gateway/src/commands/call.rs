//! One command under way: the connection that sent it, its fields, and how to answer it.

use crate::conn::Conn;
use crate::protocol::Reply;
use crate::shard::Shard;
use messenger_common::auth::AuthUser;
use messenger_common::error::{Error, Result};
use messenger_common::service::{Context, FromFields, Object, Unchecked};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A command's work ends by itself in less (each back end bounds its own); this is the last
/// resort.
const WORK_WITHIN: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Call<'a> {
    pub(super) shard: &'a Rc<Shard>,
    pub(super) conn: &'a Rc<Conn>,
    /// The user whose command it is.
    pub(super) by: Arc<AuthUser>,
    pub(super) fields: Object,
    pub(super) request_id: Option<&'a str>,
}

impl Call<'_> {
    /// The fields, for a rule that checks them itself.
    pub(super) fn unchecked<T: FromFields>(&mut self) -> Unchecked<T> {
        Unchecked::from_object(std::mem::take(&mut self.fields))
    }

    /// The fields, or all that is wrong with them.
    pub(super) fn read<T: FromFields>(&mut self) -> Result<T> {
        let (value, faults) = self.unchecked().split();
        faults.none()?;
        Ok(value)
    }

    /// Runs a rule on the servers' common runtime: a shard's own thread does no other I/O than its
    /// sockets'.
    pub(super) async fn run<T, Fut>(&self, rule: impl FnOnce(Context, Arc<AuthUser>) -> Fut) -> Result<T>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let hub = &self.shard.hub;
        let running = hub.spawn("command", hub.ctx.traces.carried(rule(hub.ctx.clone(), Arc::clone(&self.by))));
        match tokio::time::timeout(WORK_WITHIN, running).await {
            Ok(Ok(done)) => done,
            Ok(Err(panicked)) => Err(Error::internal(panicked)),
            Err(late) => Err(Error::unavailable(late)),
        }
    }

    /// Answers the command under its `request_id`.
    pub(super) fn answer(&self, reply: &Reply<'_>) {
        self.conn.answer(reply.to_frame(self.request_id));
    }
}
