//! A client's commands (contract, section 3): one file a command. A command is read whole, counted
//! against its user's rate, run, and answered under its `request_id`. A fault is answered too, and
//! the connection stays open.

mod authenticate;
mod call;
mod messages;
mod read;
mod subscribe;
mod typing;

use crate::conn::Conn;
use crate::frame;
use crate::protocol::{CloseCode, Reply, error_frame};
use crate::shard::Shard;
use call::Call;
use messenger_common::error::{Error, Result, chain};
use messenger_common::metrics::{CommandResult, CommandType, Label};
use messenger_common::rate_limit::Limit;
#[cfg(any(test, feature = "fuzz"))]
use messenger_common::service::Unchecked;
#[cfg(any(test, feature = "fuzz"))]
use messenger_common::service::messages::SendMessage;
use messenger_common::service::{Object, SecurityEvent, Twice};
use messenger_common::traces::{Part, Span};
use serde_json::Value;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The longest `request_id`, in Unicode scalar values.
const MAX_REQUEST_ID: usize = 64;

/// Runs one command and answers it.
pub(crate) async fn run(shard: Rc<Shard>, conn: Rc<Conn>, text: String) {
    if cfg!(feature = "echo") {
        return conn.answer(frame::text(text.as_bytes()));
    }
    let (mut request_id, mut kind) = (None, CommandType::Unknown);
    let mut span = shard.hub.ctx.traces.begin(Part::Served, "command", conn.trace());
    let running = run_named(&shard, &conn, &text, &mut request_id, &mut kind);
    let outcome = match &span {
        None => running.await,
        Some(span) => Box::pin(span.scope(running)).await,
    };
    if let Some(span) = &mut span {
        describe(span, kind, request_id.as_deref(), outcome.as_ref().err());
    }
    let result = match &outcome {
        Ok(()) => CommandResult::Ok,
        Err(Error::RateLimited { .. }) => CommandResult::RateLimited,
        Err(error) if error.status() < 500 => CommandResult::Error,
        Err(_) => CommandResult::Failed,
    };
    shard.hub.ctx.metrics.ws_commands(kind, result).inc();
    if let Err(error) = outcome {
        if let Some(source) = error.inside() {
            let request = request_id.as_deref();
            log_failed(&shard, &conn, kind, request, &error, &chain(&**source));
        }
        conn.answer(error_frame(&error, request_id.as_deref(), None));
        if let (403, Some(by)) = (error.status(), conn.auth()) {
            let (user, session) = (Some(by.user_id), Some(by.session_id));
            shard.hub.ctx.audit.note_code(SecurityEvent::Refused, user, session, Some(error.code()));
        }
        if matches!(error, Error::RateLimited { .. }) && conn.is_over_rate_too_long(Instant::now()) {
            shard.close(&conn, CloseCode::TooManyCommands);
        }
    }
}

/// Says in a span which command it was, and what came of it.
fn describe(span: &mut Span, kind: CommandType, request: Option<&str>, error: Option<&Error>) {
    span.rename(kind.value());
    if let Some(request) = request {
        span.set("messenger.request.id", request.to_owned());
    }
    if let Some(error) = error.filter(|error| error.status() >= 500) {
        span.failed(error.code());
    }
}

/// A back end that is away fails every command: the log says so once. A fault of ours is logged
/// each time.
fn log_failed(shard: &Shard, conn: &Conn, kind: CommandType, request: Option<&str>, error: &Error, cause: &str) {
    let connection = conn.id;
    if !matches!(error, Error::Unavailable(_)) {
        tracing::error!(command = ?kind, connection.id = connection, request.id = request, error = cause, "a command failed");
    } else if shard.hub.is_news(cause) {
        tracing::warn!(command = ?kind, connection.id = connection, request.id = request, error = cause, "commands fail");
    } else {
        tracing::debug!(command = ?kind, connection.id = connection, request.id = request, error = cause, "a command failed");
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
    let by = conn.auth().ok_or(Error::Unauthenticated)?;
    // A command that cannot be read counts like the rest.
    let price = match (&parsed, *kind) {
        (Ok(fields), CommandType::SubscribeChats) => subscribe::price(fields),
        _ => 1,
    };
    let (ctx, rate) = (&shard.hub.ctx, shard.hub.ctx.limits.rate_commands_per_second);
    let limit = Limit { name: "commands", rate, period: Duration::from_secs(1), burst: rate };
    ctx.limited(limit.of_several(price), &by.user_id.to_string()).await?;
    let call = Call { shard, conn, by, fields: parsed?, request_id: request_id.as_deref() };
    match kind {
        CommandType::SubscribeChat => subscribe::subscribe(call).await,
        CommandType::SubscribeChats => subscribe::subscribe_all(call).await,
        CommandType::UnsubscribeChat => subscribe::unsubscribe(call),
        CommandType::PrivateMessage => messages::private(call).await,
        CommandType::SendMessage => messages::send(call).await,
        CommandType::Typing => typing::typing(call).await,
        CommandType::Read => read::read(call).await,
        CommandType::Authenticate => authenticate::authenticate(call).await,
        CommandType::Ping => {
            call.answer(&Reply::Pong);
            Ok(())
        }
        CommandType::Unknown => Err(Error::UnknownType),
    }
}

/// A command's fields, less its name and its `request_id`.
fn parse(text: &str, request_id: &mut Option<String>, kind: &mut CommandType) -> Result<Object> {
    let mut fields: Object = serde_json::from_str(text).map_err(|error| {
        Error::BadJson(if error.is_data() { "a command is an object".into() } else { error.to_string() })
    })?;
    let twice = |name| move |Twice| Error::invalid(name, Twice::MESSAGE);
    *request_id = match fields.take("request_id").map_err(twice("request_id"))? {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if id.chars().count() <= MAX_REQUEST_ID => Some(id),
        Some(_) => return Err(Error::invalid("request_id", "must be a string of at most 64 characters")),
    };
    let name = match fields.take("type").map_err(twice("type"))? {
        Some(Value::String(name)) => name,
        None => return Err(Error::invalid("type", "is required")),
        Some(_) => return Err(Error::invalid("type", "must be a string")),
    };
    *kind = CommandType::ALL.iter().copied().find(|known| known.value() == name).unwrap_or(CommandType::Unknown);
    Ok(fields)
}

#[cfg(any(test, feature = "fuzz"))]
/// Reads a text as a command, and its fields as those of each command.
pub(crate) fn fuzz(text: &str) {
    let (mut request_id, mut kind) = (None, CommandType::Unknown);
    if let Ok(fields) = parse(text, &mut request_id, &mut kind) {
        assert!(request_id.is_none_or(|id| id.chars().count() <= MAX_REQUEST_ID));
        subscribe::fuzz(&fields);
        drop(Unchecked::<SendMessage>::from_object(fields));
    }
}
