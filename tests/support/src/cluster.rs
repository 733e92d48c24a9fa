//! A real Redis Cluster, whose slots move and whose primaries have replicas when a test wants them
//! to.

use std::sync::Arc;

use super::ports::free_port;
use super::{Redis, until};

/// A Redis Cluster of primaries without replicas.
pub struct RedisCluster {
    node_timeout: String,
    pub servers: Vec<Arc<Redis>>,
}

/// A slot on its way, between servers at these places.
pub struct Moving {
    slot: String,
    pub from: usize,
    pub to: usize,
}

async fn server(node_timeout: &str, bus_port: &str) -> Arc<Redis> {
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", node_timeout, "--cluster-port", bus_port];
    Redis::with_options(&options).await
}

impl RedisCluster {
    /// Starts one and waits until all its servers agree that it is whole.
    pub async fn start(primaries: u16) -> Self {
        Self::with_node_timeout(primaries, 2000).await
    }

    /// The same; a server that does not answer counts as failed after so many milliseconds.
    pub async fn with_node_timeout(primaries: u16, millis: u32) -> Self {
        let node_timeout = millis.to_string();
        let mut servers = Vec::new();
        let mut bus_ports = Vec::new();
        for _ in 0..primaries {
            let bus_port = free_port().to_string();
            servers.push(server(&node_timeout, &bus_port).await);
            bus_ports.push(bus_port);
        }
        let share = 16_384_u16.div_ceil(primaries);
        for (server, n) in servers.iter().zip(0..) {
            let (first, last) = (n * share, ((n + 1) * share).min(16_384) - 1);
            server.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
            for (other, bus_port) in servers.iter().zip(&bus_ports) {
                server.command(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), bus_port]).await;
            }
        }
        let cluster = Self { node_timeout, servers };
        until("the cluster is whole", || cluster.is_whole()).await;
        cluster
    }

    /// Adds a replica of the server at that place and waits until it is in step.
    pub async fn add_replica(&mut self, of: usize) {
        let primary = self.id(of).await;
        let bus_port = free_port().to_string();
        let replica = server(&self.node_timeout, &bus_port).await;
        for server in &self.servers {
            server.command(&["CLUSTER", "MEET", "127.0.0.1", &replica.port().to_string(), &bus_port]).await;
        }
        self.servers.push(replica);
        until("the replica is known", || self.is_whole()).await;
        let replica = &self.servers[self.servers.len() - 1];
        until("it replicates", || async { replica.try_command(&["CLUSTER", "REPLICATE", &primary]).await.is_ok() })
            .await;
        until("it is in step", || async {
            replica.text(&["INFO", "replication"]).await.contains("master_link_status:up")
        })
        .await;
    }

    async fn is_whole(&self) -> bool {
        for server in &self.servers {
            let info = server.text(&["CLUSTER", "INFO"]).await;
            let known = format!("cluster_known_nodes:{}", self.servers.len());
            if !info.contains("cluster_state:ok") || !info.contains(&known) {
                return false;
            }
        }
        true
    }

    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.url()).collect()
    }

    /// The place of the server that serves the slot, by what the first says.
    pub async fn server_of(&self, slot: u16) -> usize {
        let nodes = self.servers[0].text(&["CLUSTER", "NODES"]).await;
        for line in nodes.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let serves = words.iter().skip(8).filter(|word| !word.starts_with('[')).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                (first.parse().unwrap()..=last.parse().unwrap()).contains(&slot)
            });
            if serves {
                let port: u16 = words[1].split('@').next().unwrap().rsplit(':').next().unwrap().parse().unwrap();
                return self.servers.iter().position(|server| server.port() == port).unwrap();
            }
        }
        panic!("no server has slot {slot}");
    }

    /// Moves a slot without keys, and gives the place of the server that has it now.
    pub async fn move_slot(&self, slot: u16) -> usize {
        let moving = self.begin_to_move(slot).await;
        self.end_move(&moving).await;
        moving.to
    }

    /// From now on the slot's server sends those on who ask for a key that it does not have.
    pub async fn begin_to_move(&self, slot: u16) -> Moving {
        let from = self.server_of(slot).await;
        let to = (from + 1) % self.servers.len();
        let (from_id, to_id) = (self.id(from).await, self.id(to).await);
        let slot = slot.to_string();
        self.servers[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
        self.servers[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
        Moving { slot, from, to }
    }

    /// The slot is the other server's, and so must its keys be.
    pub async fn end_move(&self, moving: &Moving) {
        let to_id = self.id(moving.to).await;
        for server in [moving.to, moving.from] {
            self.servers[server].command(&["CLUSTER", "SETSLOT", &moving.slot, "NODE", &to_id]).await;
        }
    }

    async fn id(&self, server: usize) -> String {
        self.servers[server].text(&["CLUSTER", "MYID"]).await
    }
}
