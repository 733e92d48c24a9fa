//! What a client asks (contract, section 3): one file a command. A command is read whole, counted against its user's rate, run, and answered
//! under its `request_id`; a fault is answered and the connection stays open.

mod authenticate;
mod messages;
mod read;
mod subscribe;
mod typing;

use crate::conn::Conn;
use crate::protocol::{CloseCode, Reply, error_frame};
use crate::shard::Shard;
use messenger_common::error::{Error, Result};
use messenger_common::metrics::{CommandResult, CommandType, Label};
use messenger_common::rate_limit::{Decision, Limit};
use messenger_common::service::{FromFields, Unchecked};
use serde_json::{Map, Value};
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Commands over the rate with pauses shorter than this between them are one streak.
const STREAK_PAUSE: Duration = Duration::from_secs(2);
/// A streak this long ends the connection.
const STREAK_LIMIT: Duration = Duration::from_secs(10);
/// A command's work ends by itself in less (each back end bounds its own); this is the last resort.
const WORK_WITHIN: Duration = Duration::from_secs(10);
/// The longest `request_id`, in Unicode scalar values.
const MAX_REQUEST_ID: usize = 64;

/// Runs one command and answers it.
pub(crate) async fn run(shard: Rc<Shard>, conn: Rc<Conn>, text: String) {
    let (mut request_id, mut kind) = (None, CommandType::Unknown);
    let outcome = run_named(&shard, &conn, &text, &mut request_id, &mut kind).await;
    let result = match &outcome {
        Ok(()) => CommandResult::Ok,
        Err(Error::RateLimited { .. }) => CommandResult::RateLimited,
        Err(error) if error.status() < 500 => CommandResult::Error,
        Err(_) => CommandResult::Failed,
    };
    shard.hub.metrics.ws_commands(kind, result).inc();
    if let Err(error) = outcome {
        if let Some(source) = error.inside() {
            tracing::error!(command = ?kind, connection.id = conn.id, source = %source, "a command failed");
        }
        conn.answer(error_frame(&error, request_id.as_deref()));
        if matches!(error, Error::RateLimited { .. }) && keeps_on(&conn) {
            shard.close(&conn, CloseCode::TooManyCommands);
        }
    }
}

async fn run_named(
    shard: &Rc<Shard>,
    conn: &Rc<Conn>,
    text: &str,
    request_id: &mut Option<String>,
    kind: &mut CommandType,
) -> Result<()> {
    let parsed = parse(text, request_id, kind);
    // What cannot be read counts like the rest.
    within_rate(shard, conn).await?;
    let fields = parsed?;
    let request_id = request_id.as_deref();
    match kind {
        CommandType::SubscribeChat => subscribe::subscribe(shard, conn, fields, request_id).await,
        CommandType::UnsubscribeChat => subscribe::unsubscribe(shard, conn, fields, request_id),
        CommandType::PrivateMessage => messages::private(shard, conn, fields, request_id).await,
        CommandType::SendMessage => messages::send(shard, conn, fields, request_id).await,
        CommandType::Typing => typing::typing(shard, conn, fields),
        CommandType::Read => read::read(shard, conn, fields, request_id).await,
        CommandType::Authenticate => authenticate::authenticate(shard, conn, fields, request_id),
        CommandType::Ping => {
            conn.answer(Reply::Pong.to_frame(request_id));
            Ok(())
        }
        CommandType::Unknown => Err(Error::UnknownType),
    }
}

/// A command's fields, less its name and its `request_id`.
fn parse(text: &str, request_id: &mut Option<String>, kind: &mut CommandType) -> Result<Map<String, Value>> {
    let mut fields = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(Error::BadJson("a command is an object".into())),
        Err(error) => return Err(Error::BadJson(error.to_string())),
    };
    *request_id = match fields.remove("request_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if id.chars().count() <= MAX_REQUEST_ID => Some(id),
        Some(_) => return Err(Error::invalid("request_id", "must be a string of at most 64 characters")),
    };
    let name = match fields.remove("type") {
        Some(Value::String(name)) => name,
        None => return Err(Error::invalid("type", "is required")),
        Some(_) => return Err(Error::invalid("type", "must be a string")),
    };
    *kind = CommandType::ALL.iter().copied().find(|known| known.value() == name).unwrap_or(CommandType::Unknown);
    Ok(fields)
}

/// A command's fields, or all that is wrong with them.
fn fields<T: FromFields>(fields: Map<String, Value>) -> Result<T> {
    let (value, faults) = Unchecked::from_object(fields).split();
    faults.none()?;
    Ok(value)
}

/// Runs a rule on the servers' common runtime: a shard's own thread does no other I/O than its sockets'.
async fn on_the_servers_runtime<T: Send + 'static>(
    shard: &Shard,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let running = shard.hub.spawn("command", work);
    match tokio::time::timeout(WORK_WITHIN, running).await {
        Ok(Ok(done)) => done,
        Ok(Err(panicked)) => Err(Error::internal(panicked)),
        Err(late) => Err(Error::unavailable(late)),
    }
}

async fn within_rate(shard: &Shard, conn: &Conn) -> Result<()> {
    let ctx = &shard.hub.ctx;
    let rate = ctx.limits.rate_commands_per_second;
    let limit = Limit { name: "commands", rate, period: Duration::from_secs(1), burst: rate };
    match ctx.limiter.check(&limit, &conn.user_id.to_string()).await {
        Decision::Allowed => Ok(()),
        Decision::Denied { retry_after } => {
            ctx.metrics.rate_limited(limit.name).inc();
            Err(Error::RateLimited { limit: limit.name, retry_after })
        }
    }
}

/// Whether this connection has been over the rate for too long.
fn keeps_on(conn: &Conn) -> bool {
    let now = Instant::now();
    let mut rare = conn.rare.borrow_mut();
    let limited = &mut rare.get_or_insert_default().limited;
    let began = match *limited {
        Some((began, last)) if now.duration_since(last) < STREAK_PAUSE => began,
        _ => now,
    };
    *limited = Some((began, now));
    now.duration_since(began) >= STREAK_LIMIT
}
