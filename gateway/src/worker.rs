//! A shard's thread: takes its inbox, makes connections into sessions, and starts the repairs that
//! a delivery turns out to need.

mod upkeep;

use crate::conn::{Conn, NewConn, State};
use crate::hub::Hub;
use crate::inbox::{Accepted, ToShard};
use crate::protocol::{CloseCode, Reply};
use crate::repair;
use crate::session::{Job, Session};
use crate::shard::Shard;
use messenger_common::lifecycle::ExitReason;
use messenger_common::metrics::Held;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// Messages taken from the inbox at once; what they bring for one socket leaves in one `writev`.
const MESSAGES_PER_TURN: usize = 64;
/// How often connections and feeds are looked after.
const TICK: Duration = Duration::from_millis(500);
/// `welcome` waits this long for the user's channel and presence; after that it comes without
/// them.
const OPEN_WITHIN: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Worker {
    shard: Rc<Shard>,
    next_id: Cell<u64>,
}

impl Worker {
    /// Starts the thread. Its end, by panic too, ends the lifecycle task that stands for it, and
    /// with it the process.
    pub(crate) fn start(id: usize, hub: Arc<Hub>, inbox: mpsc::Receiver<ToShard>) -> std::io::Result<()> {
        let (ended, end) = oneshot::channel::<()>();
        let lifecycle = hub.lifecycle.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(format!("shard-{id}")).spawn(move || {
            let worker = Self { shard: Rc::new(Shard::new(id, hub)), next_id: Cell::new(0) };
            let local = tokio::task::LocalSet::new();
            let batch = Rc::clone(&worker.shard.batch);
            local.block_on(&runtime, worker.run(inbox));
            batch.forget();
            // Connections that are left go with the local set. Nobody waits once the process stops.
            ended.send(()).unwrap_or(());
        })?;
        let own = lifecycle.clone();
        lifecycle.spawn_to_end("gateway shard", async move {
            // The sender is dropped when the thread panics.
            if end.await.is_err() {
                tracing::error!(shard = id, "a shard's thread has panicked: the process stops");
                own.stop(ExitReason::TaskDied("gateway shard"));
            }
        });
        Ok(())
    }

    async fn run(self, mut inbox: mpsc::Receiver<ToShard>) {
        let stopping = self.shard.hub.lifecycle.stopping();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut turn = Vec::with_capacity(MESSAGES_PER_TURN);
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                _ = ticks.tick() => {
                    self.shard.look_at_the_clock();
                    self.look_at_the_store();
                    self.tick();
                }
                count = inbox.recv_many(&mut turn, MESSAGES_PER_TURN) => {
                    if count == 0 {
                        return;
                    }
                    self.shard.look_at_the_clock();
                    self.look_at_the_store();
                    self.take(&mut turn);
                    if self.shard.batch.is_owing() {
                        // However many messages come, the connections' own tasks have their turn.
                        tokio::task::yield_now().await;
                    }
                }
                () = self.shard.batch.owes() => {
                    self.shard.look_at_the_clock();
                    self.shard.batch.write_slice();
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn take(&self, turn: &mut Vec<ToShard>) {
        let is_owing = self.shard.batch.is_owing();
        let several =
            turn.len() > 1 || turn.iter().any(|message| matches!(message, ToShard::Deliver(all) if all.len() > 1));
        let mut take_all = || turn.drain(..).for_each(|message| self.take_one(message));
        if several {
            self.shard.batch.run(take_all);
        } else {
            take_all();
        }
        if is_owing {
            self.shard.batch.write_slice();
        }
        self.shard.end_traces();
    }

    fn take_one(&self, message: ToShard) {
        match message {
            ToShard::Accept(accepted) => self.accept(*accepted),
            ToShard::Deliver(all) => {
                for delivery in all {
                    if let Some((chat, due)) = self.shard.deliver(delivery) {
                        repair::start(&self.shard, chat, due);
                    }
                }
            }
            ToShard::Displace(user, conn) => self.displace(user, conn),
            ToShard::CompareAll => self.compare_heads(|_| true),
            ToShard::Revoke(revocation) => self.revoke(revocation),
            ToShard::Recheck => self.recheck(),
            ToShard::Drain(over) => self.drain(over),
            ToShard::HandOver(count, over) => self.hand_over(count, over),
        }
    }

    fn accept(&self, accepted: Accepted) {
        let stream = match TcpStream::from_std(accepted.stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot register an accepted connection with the shard's event loop");
                return;
            }
        };
        let (auth, refused) = match accepted.auth {
            Ok(auth) => (Some(auth), None),
            Err(code) => (None, Some(code)),
        };
        let (shard, ctx) = (&self.shard, &self.shard.hub.ctx);
        self.next_id.set(self.next_id.get() + 1);
        let conn = Conn::new(NewConn {
            id: self.next_id.get() * shard.hub.shard_count() as u64 + shard.id as u64,
            shard: shard.id,
            auth,
            stream,
            clock: Rc::clone(&shard.clock),
            batch: Rc::clone(&shard.batch),
            backlog: Rc::clone(&shard.backlog),
            counted: Held::new(&ctx.metrics.ws_connections),
            place: Some(accepted.place),
        });
        conn.belongs_to(accepted.trace);
        if let Some(answer) = accepted.answer {
            conn.begin_with(answer);
        }
        // Connections that come at once, after a restart, are not pinged at once for ever.
        let first_ping = messenger_common::random::within(0..=upkeep::millis(ctx.limits.heartbeat));
        conn.next_ping.set(shard.clock.get() + first_ping);
        conn.key.set(shard.conns.borrow_mut().insert(Rc::clone(&conn)));
        drop(accepted.arrival);
        let mut opening = None;
        if let Some(code) = refused {
            shard.close(&conn, code);
        } else if shard.draining.get() {
            upkeep::release(shard, &conn);
        } else {
            opening = self.register(&conn);
        }
        tokio::task::spawn_local(Session::new(Rc::clone(shard), conn, opening, &accepted.read_ahead));
    }

    /// Counts a connection of its user and queues its `welcome`. Returns the work that opens the
    /// connection.
    fn register(&self, conn: &Rc<Conn>) -> Option<Job> {
        let (shard, auth) = (&self.shard, conn.auth()?);
        let connected = shard.hub.user_connected(auth.user_id, &conn.seat);
        if let Some(seat) = connected.displaced {
            let (hub, user) = (Arc::clone(&shard.hub), auth.user_id);
            shard.spawn("displacement", async move { hub.send(seat.shard, ToShard::Displace(user, seat.conn)).await });
        }
        shard.add(conn, auth.user_id);
        let welcome = Reply::Welcome {
            user_id: auth.user_id,
            connection_id: &format!("{}-{}", shard.hub.node, conn.id),
            expires_at: auth.expires_at,
            heartbeat_seconds: shard.hub.ctx.limits.heartbeat.as_secs(),
        };
        if !cfg!(feature = "echo") {
            conn.answer(welcome.to_frame(None));
        }
        let (shard, conn) = (Rc::clone(shard), Rc::clone(conn));
        let bus_up = *shard.hub.bus.up().borrow();
        Some(Box::pin(async move {
            if bus_up {
                let all = async {
                    for wait in [connected.channel, connected.presence].into_iter().flatten() {
                        drop(wait.await);
                    }
                };
                // Late is better than never: the channel's confirmation does not depend on this
                // wait.
                drop(tokio::time::timeout(OPEN_WITHIN, all).await);
            }
            if conn.state.get() == State::Opening {
                conn.state.set(State::Open);
                // The token may have been revoked while it opened, before this connection could
                // hear of it.
                if let Some(reason) = conn.auth().and_then(|auth| shard.hub.ctx.revocations.is_revoked(&auth)) {
                    shard.close(&conn, CloseCode::from(reason));
                }
                conn.flush_or_wake();
            }
        }))
    }
}
