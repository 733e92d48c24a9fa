//! The commands that clients send a Redis server, as `MONITOR` shows them.
//!
//! `INFO commandstats` and `total_commands_processed` count what scripts run, too. `MONITOR` marks
//! those commands, and only it names the client.

use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

use super::Redis;

pub struct Monitor {
    lines: Lines<BufReader<TcpStream>>,
    marker: MultiplexedConnection,
    marks: u64,
}

/// A command without its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub client: String,
    pub name: String,
}

impl Redis {
    /// Watches the commands from now on.
    pub async fn monitor(&self) -> Monitor {
        let marker = self.connect().await.unwrap();
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(b"MONITOR\r\n").await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("+OK"));
        Monitor { lines, marker, marks: 0 }
    }
}

impl Monitor {
    /// The clients' commands since the last call.
    pub async fn commands(&mut self) -> Vec<Command> {
        self.marks += 1;
        let mark = format!("\"end {}\"", self.marks);
        redis::cmd("ECHO").arg(mark.trim_matches('"')).exec_async(&mut self.marker).await.unwrap();
        let mut commands = Vec::new();
        loop {
            let line = self.lines.next_line().await.unwrap().expect("MONITOR goes on");
            if line.ends_with(&mark) {
                return commands;
            }
            // `+1700000000.000000 [0 127.0.0.1:50000] "NAME" "argument"`; a script's is `[0 lua]`.
            let (client, command) = line.split_once('[').unwrap().1.split_once("] \"").unwrap();
            let client = client.split_once(' ').unwrap().1;
            if client != "lua" {
                let name = command.split('"').next().unwrap().to_lowercase();
                commands.push(Command { client: client.to_owned(), name });
            }
        }
    }
}
