//! `messenger`, which keeps everything in one SQLite file.

use super::cpu::{Part, Watched};
use super::world::{KEY_HASH, Served, access_token, runtime, settings, tokens};
use messenger_common::auth::Tokens;
use messenger_testing::{Node, Program, process};
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// See the module.
pub struct Embedded {
    node: Node,
    runtime: Runtime,
    tokens: Tokens,
    file: PathBuf,
}

impl Embedded {
    pub fn start() -> Result<Self, String> {
        let file = process::new_dir("sqlite").join("messenger.sqlite");
        let url = format!("sqlite:{}", file.display());
        let node = Node::start("messenger", Program::Messenger, settings(&[("DATABASE_URL", &url)]))?;
        node.wait_ready()?;
        let runtime = runtime()?;
        let issuer = runtime.block_on(async {
            let mut link = SqliteConnection::connect(&url).await?;
            let id: String = sqlx::query_scalar("select id from deployment").fetch_one(&mut link).await?;
            link.close().await.map(|()| id)
        });
        let tokens = tokens(&issuer.map_err(|error| error.to_string())?);
        Ok(Self { node, runtime, tokens, file })
    }

    /// Runs SQL on the file, beside the program.
    pub fn sql(&self, sql: String) -> Result<(), String> {
        let run = async {
            let mut link = SqliteConnection::connect(&format!("sqlite:{}", self.file.display())).await?;
            link.execute(AssertSqlSafe(sql)).await?;
            link.close().await
        };
        self.runtime.block_on(run).map_err(|error| error.to_string())
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |file| file.len())
    }

    /// Users 1 to `users`, groups 1 to `chats`, and memberships of `(chat, user)`. Nothing was said
    /// in them.
    pub fn seed(&self, users: usize, chats: usize, members: &[(usize, usize)]) -> Result<(), String> {
        let members = serde_json::to_string(members).map_err(|error| error.to_string())?;
        let numbers = "with recursive number (n) as (select 1 union all select n + 1 from number where n < ";
        let now = "unixepoch() * 1000000";
        let key_hash = &*KEY_HASH;
        self.sql(format!(
            "begin immediate;
             {numbers} {users})
             insert into users (username, username_lower, email, email_lower, email_spelling, password_hash, created_at)
             select 'user' || n, 'user' || n, 'user' || n || '@example.org', 'user' || n || '@example.org',
                 'user' || n || '@example.org', '!', {now}
             from number;
             {numbers} {users})
             insert into sessions (user_id, key_hash, created_at, expires_at)
             select n, x'{key_hash}', {now}, {now} + 86400000000 from number;
             {numbers} {chats})
             insert into chats (is_group, name, created_at, active_at, member_count)
             select 1, 'chat ' || n, {now}, {now}, 1 from number;
             insert into members (chat_id, user_id, role, joined_at)
             select value ->> 0, value ->> 1, 2, {now} from json_each('{members}');
             update chats set member_count = (select count(*) from members m where m.chat_id = chats.id);
             commit;"
        ))
    }
}

impl Served for Embedded {
    fn server(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.node.port()).into()
    }

    fn watched(&self) -> Watched {
        Watched::default().with("messenger", Part::Alone(self.node.pid().unwrap_or(0)))
    }

    fn token(&self, user: usize) -> String {
        access_token(&self.tokens, user)
    }

    fn complaints(&self) -> String {
        self.node.tail(10)
    }
}
