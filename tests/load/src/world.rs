//! A messenger to measure: Postgres, Redis, an api and a gateway, and what is in the database
//! before.

use super::cpu::{Part, Watched};
use super::fleet::source;
use super::socket::{Spec, Step, handshake, text_frame};
use messenger_common::auth::{Keys, Tokens};
use messenger_common::clock::Clock;
use messenger_common::id::{SessionId, UserId};
use messenger_common::model::User;
use messenger_common::redis::Namespace;
use messenger_common::store::{Session, SessionKey};
use messenger_testing::{Node, Postgres, Program, Redis};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::runtime::Runtime;

const SECRET_KEY: &str = "a secret of the measurements, 0123456789abcdef";

/// See the module. The first to end stands first: no program sees its database go.
pub struct World {
    api: Node,
    gateway: Node,
    /// The settings of its programs.
    env: BTreeMap<String, String>,
    pub postgres: Arc<Postgres>,
    pub redis: Arc<Redis>,
    runtime: Runtime,
    tokens: Tokens,
    /// How topics are named in Redis.
    pub namespace: Namespace,
    database: String,
}

/// Longer than any measurement.
const TOKENS_LIVE: Duration = Duration::from_hours(24);
/// The random part of every token here.
const KEY: SessionKey = SessionKey::new([1; 16]);
/// Its hash in hexadecimal digits, as sessions bear it.
pub static KEY_HASH: LazyLock<String> =
    LazyLock::new(|| KEY.hash().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")));

impl World {
    pub fn start() -> Result<Self, String> {
        Self::start_with(&[])
    }

    /// The same with other settings of the programs.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self, String> {
        let runtime = runtime()?;
        let (postgres, redis, database) = runtime.block_on(async {
            let (postgres, redis) = tokio::join!(Postgres::private(), Redis::private());
            let database = postgres.new_database().await;
            (postgres, redis, database)
        });
        let redis_url = redis.url();
        let own = [("DATABASE_URL", database.as_str()), ("REDIS_URL", redis_url.as_str())];
        let env = self::settings(&[&own, settings].concat());
        let api = Node::start("api", Program::Api, env.clone())?;
        api.wait_ready()?;
        let gateway = Node::start("gateway", Program::Gateway, env.clone())?;
        gateway.wait_ready()?;
        let issuer = runtime.block_on(deployment(&database)).map_err(|error| error.to_string())?;
        let tokens = tokens(&issuer);
        let namespace = Namespace::new(&issuer);
        Ok(Self { api, gateway, env, postgres, redis, runtime, tokens, namespace, database })
    }

    /// Where messages are sent.
    pub fn api(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.api.port()).into()
    }

    /// Where sockets are opened.
    pub fn gateway(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.gateway.port()).into()
    }

    /// Puts another gateway in the place of the one that sockets are opened at. That one, which is
    /// returned, goes on.
    pub fn replace_gateway(&mut self) -> Result<Node, String> {
        let next = Node::start("next-gateway", Program::Gateway, self.env.clone())?;
        next.wait_ready()?;
        Ok(std::mem::replace(&mut self.gateway, next))
    }

    /// The servers' processes.
    pub fn watched(&self) -> Watched {
        let pid = |pid: Option<u32>| pid.unwrap_or(0);
        Watched::default()
            .with("api", Part::Alone(pid(self.api.pid())))
            .with("gateway", Part::Alone(pid(self.gateway.pid())))
            .with("redis", Part::Alone(pid(self.redis.pid())))
            .with("postgres", Part::Family(pid(self.postgres.pid())))
    }

    /// Stops the gateway where it is: what is published meanwhile waits for it in Redis.
    pub fn freeze_gateway(&self) {
        self.gateway.sigstop();
    }

    /// Lets it go on.
    pub fn thaw_gateway(&self) {
        self.gateway.sigcont();
    }

    /// The complaints of the programs.
    pub fn complaints(&self) -> String {
        let shown = |node: &Node| if node.log().since(0).len() > 2 { node.tail(10) } else { String::new() };
        shown(&self.api) + &shown(&self.gateway)
    }

    /// Runs SQL on the messenger's database.
    pub fn sql(&self, sql: String) -> Result<(), String> {
        self.sql_on(&self.database, sql)
    }

    /// The single number that a query of the messenger's database answers.
    pub fn number(&self, sql: &'static str) -> Result<f64, String> {
        let run = async {
            let mut link = PgConnection::connect(&self.database).await?;
            let number: i64 = sqlx::query_scalar(sql).fetch_one(&mut link).await?;
            link.close().await.map(|()| number as f64)
        };
        self.runtime.block_on(run).map_err(|error| error.to_string())
    }

    /// Runs SQL on a database of the server.
    pub fn sql_on(&self, database: &str, sql: String) -> Result<(), String> {
        let run = async {
            let mut link = PgConnection::connect(database).await?;
            link.execute(AssertSqlSafe(sql)).await?;
            link.close().await
        };
        self.runtime.block_on(run).map_err(|error| error.to_string())
    }

    /// A database of its own, for another subject.
    pub fn new_database(&self) -> String {
        self.runtime.block_on(self.postgres.new_database())
    }

    /// Asks Redis.
    pub fn redis_info(&self, section: &str) -> String {
        match self.runtime.block_on(self.redis.command(&["INFO", section])) {
            redis::Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            redis::Value::VerbatimString { text, .. } => text,
            other => format!("{other:?}"),
        }
    }

    /// Users 1 to `users`, groups 1 to `chats`, and the memberships that the query `members` gives
    /// as `(chat_id, user_id)`. Nothing was said in them.
    pub fn seed(&self, users: usize, chats: usize, members: &str) -> Result<(), String> {
        let key_hash = &*KEY_HASH;
        self.sql(format!(
            "insert into users (username, username_lower, email, email_lower, email_spelling, password_hash)
             select 'user' || n, 'user' || n, 'user' || n || '@example.org', 'user' || n || '@example.org',
                 'user' || n || '@example.org', '!'
             from generate_series(1, {users}) n order by n;
             insert into sessions (user_id, key_hash, expires_at)
             select n, '\\x{key_hash}', now() + interval '1 day' from generate_series(1, {users}) n order by n;
             insert into chats (is_group, name, created_at, active_at, member_count)
             select true, 'chat ' || n, now(), now(), 1 from generate_series(1, {chats}) n order by n;
             insert into members (chat_id, user_id, role, joined_at)
             select chat_id, user_id, 2, now() from ({members}) m (chat_id, user_id);
             update chats set member_count = (select count(*) from members m where m.chat_id = chats.id);
             analyze;"
        ))
    }

    /// An access token of the nth user, counted from 1.
    pub fn token(&self, user: usize) -> String {
        access_token(&self.tokens, user)
    }

    /// A socket of that user that subscribes to that chat.
    pub fn subscriber(&self, user: usize, chat: usize) -> Spec {
        let subscribe = text_frame(&format!(r#"{{"type":"subscribe_chat","chat_id":{chat}}}"#));
        Spec {
            server: self.gateway(),
            source: source(user),
            hello: handshake("/ws/chat", &format!("authorization: Bearer {}\r\n", self.token(user))),
            steps: Arc::new([
                Step { expect: "", then: subscribe },
                Step { expect: "\"subscribed\"", then: Vec::new() },
            ]),
        }
    }
}

/// A messenger that answers requests.
pub trait Served {
    /// Where it answers.
    fn server(&self) -> SocketAddr;
    /// Its processes.
    fn watched(&self) -> Watched;
    /// An access token of the nth user, counted from 1.
    fn token(&self, user: usize) -> String;
    /// The complaints of its programs.
    fn complaints(&self) -> String;
}

impl Served for World {
    fn server(&self) -> SocketAddr {
        self.api()
    }

    fn watched(&self) -> Watched {
        self.watched()
    }

    fn token(&self, user: usize) -> String {
        self.token(user)
    }

    fn complaints(&self) -> String {
        self.complaints()
    }
}

/// What the command line sets over all else.
static SET: OnceLock<Vec<(String, String)>> = OnceLock::new();

/// Sets variables of all programs that start from now on; once.
pub fn set(variables: Vec<(String, String)>) {
    SET.get_or_init(|| variables);
}

/// The settings of a measured program, and these beside them.
pub fn settings(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let lives = TOKENS_LIVE.as_secs().to_string();
    let all = [
        ("HOST", "127.0.0.1"),
        ("SECRET_KEY", SECRET_KEY),
        ("RATE_LIMITS", "off"),
        ("ACCESS_TOKEN_TTL_SECONDS", &lives),
        ("MAX_CONNECTIONS_PER_ADDRESS", "1000000"),
        ("RUST_LOG", "warn"),
    ];
    let own = all.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    own.chain(SET.get().cloned().unwrap_or_default()).collect()
}

/// Issues the tokens of a deployment.
pub fn tokens(issuer: &str) -> Tokens {
    Tokens::new(Keys::of_secret(SECRET_KEY.as_bytes()), issuer, TOKENS_LIVE, TOKENS_LIVE, Clock::system())
}

/// An access token of the nth user, whose only session has that number too.
pub fn access_token(tokens: &Tokens, user: usize) -> String {
    let user = User {
        id: UserId(i64::try_from(user).unwrap_or(0)),
        username: format!("user{user}"),
        email: String::new(),
        display_name: None,
        bio: None,
        is_active: true,
        created_at: OffsetDateTime::UNIX_EPOCH,
    };
    let session = Session { id: SessionId(user.id.0), user_id: user.id, key: KEY, generation: 0 };
    tokens.issue_access(&user, &session).map_or_else(|error| error.to_string(), |(token, _)| token)
}

/// The id of the deployment, which all tokens name.
async fn deployment(database: &str) -> Result<String, sqlx::Error> {
    let mut link = PgConnection::connect(database).await?;
    let id = sqlx::query_scalar("select id from deployment").fetch_one(&mut link).await?;
    link.close().await?;
    Ok(id)
}

/// A runtime for what the harness waits for; measurements have threads of their own.
pub fn runtime() -> Result<Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().map_err(|error| error.to_string())
}
