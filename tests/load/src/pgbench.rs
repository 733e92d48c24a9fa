//! The limit of durable sends: the least that a send can be, by Postgres' own load program, on the
//! same server.

use super::cpu;
use super::report::Row;
use super::world::World;
use messenger_testing::process;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How a message is stored.
#[derive(Clone, Copy)]
pub enum Way {
    /// `begin`, `update … returning`, `insert`, `commit`.
    FourStatements,
    /// All in one statement.
    OneStatement,
}

impl Way {
    pub const ALL: [Self; 2] = [Self::FourStatements, Self::OneStatement];

    fn name(self) -> &'static str {
        match self {
            Self::FourStatements => "begin, update, insert, commit",
            Self::OneStatement => "one statement",
        }
    }

    fn script(self, chats: usize) -> String {
        let chat = format!("\\set chat random(1, {chats})\n");
        let text = ".".repeat(40);
        let script = match self {
            Self::FourStatements => format!(
                "begin;\nupdate bench_chats set seq = seq + 1 where id = :chat returning seq \\gset\n\
                 insert into bench_messages (chat_id, seq, author_id, text) values (:chat, :seq, 1, '{text}');\ncommit;\n"
            ),
            Self::OneStatement => format!(
                "with c as (update bench_chats set seq = seq + 1 where id = :chat returning id, seq)\n\
                 insert into bench_messages (chat_id, seq, author_id, text) select id, seq, 1, '{text}' from c;\n"
            ),
        };
        chat + &script
    }
}

/// A database with the two tables that a send cannot do without.
pub struct Bench {
    dir: PathBuf,
    database: String,
    chats: usize,
}

impl Bench {
    pub fn new(world: &World, chats: usize) -> Result<Self, String> {
        let database = world.new_database();
        world.sql_on(
            &database,
            format!(
                "create table bench_chats (id bigint primary key, seq bigint not null) with (fillfactor = 50);
                 create table bench_messages (
                     id bigint generated always as identity primary key, chat_id bigint not null, seq bigint not null,
                     author_id bigint not null, text text not null, created_at timestamptz not null default clock_timestamp(),
                     unique (chat_id, seq)
                 );
                 insert into bench_chats select n, 0 from generate_series(1, {chats}) n; analyze;"
            ),
        )?;
        Ok(Self { dir: process::new_dir("pgbench"), database, chats })
    }

    /// As many as it takes.
    pub fn run(
        &self,
        world: &World,
        scenario: &str,
        way: Way,
        run: usize,
        clients: usize,
        lasts: Duration,
    ) -> Result<Row, String> {
        self.run_with(world, Row::new(scenario, "pgbench", way.name(), run), way, clients, lasts, &[])
    }

    /// So many a second.
    pub fn run_at(
        &self,
        world: &World,
        scenario: &str,
        (way, rate): (Way, f64),
        run: usize,
        clients: usize,
        lasts: Duration,
    ) -> Result<Row, String> {
        let row = Row::new(scenario, "pgbench", format!("{rate} a second, {}", way.name()), run);
        self.run_with(world, row, way, clients, lasts, &["--rate", &rate.to_string()])
    }

    fn run_with(
        &self,
        world: &World,
        row: Row,
        way: Way,
        clients: usize,
        lasts: Duration,
        options: &[&str],
    ) -> Result<Row, String> {
        let script = self.dir.join("script.sql");
        std::fs::write(&script, way.script(self.chats)).map_err(|error| error.to_string())?;
        let mut command = Command::new(world.postgres.bin().join("pgbench"));
        command
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=1", "--file"])
            .arg(&script)
            .args(["--client", &clients.to_string(), "--time", &lasts.as_secs().max(1).to_string()])
            .args(options)
            .arg(&self.database);
        let (watched, ended) = (world.watched(), cpu::ended(world.postgres.pid()));
        let before = watched.now();
        let said = process::run(command)?;
        let mut times = watched.since(&before);
        // Its own connections have ended with it.
        *times.entry("postgres").or_default() += cpu::ended(world.postgres.pid()).saturating_sub(ended);
        let number = |key: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let rate = number("tps = ").ok_or_else(|| format!("pgbench said:\n{said}"))?;
        let transactions = number("number of transactions actually processed: ").unwrap_or(0.0);
        times.retain(|name, _| *name == "postgres");
        Ok(row
            .with("sends/s", rate)
            .with("send mean ms", number("latency average = ").unwrap_or(0.0))
            .cpu(&times, transactions as u64))
    }
}
