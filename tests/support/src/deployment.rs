//! A whole messenger: one process over SQLite, or a cluster over Postgres and Redis.

mod builder;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::node::{Env, Node};
use super::postgres::Postgres;
use super::process;
use super::programs::Program;
use super::redis::Redis;
use super::rest::Rest;
use super::user::User;

pub use builder::Builder;

/// Signs the tokens of every deployment under test, unless a test sets another.
pub const SECRET_KEY: &str = "a secret of the tests alone, 0123456789abcdef";

/// Where a deployment runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Embedded,
    Cluster { apis: usize, gateways: usize },
}

fn start_nodes(
    programs: Option<&PathBuf>,
    names: &[(String, Program)],
    base: &Env,
    node_env: &BTreeMap<String, Env>,
) -> Result<Vec<Arc<Node>>, String> {
    let start = |name: &str, program| {
        let mut env = base.clone();
        env.extend(node_env.get(name).cloned().unwrap_or_default());
        Node::start_from(programs.cloned(), name, program, env).map(Arc::new)
    };
    let nodes = std::thread::scope(|scope| {
        let starting: Vec<_> = names.iter().map(|(name, program)| scope.spawn(move || start(name, *program))).collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect::<Result<Vec<_>, _>>()
    })?;
    for node in &nodes {
        node.wait_ready()?;
    }
    Ok(nodes)
}

/// A running messenger.
pub struct Deployment {
    form: Form,
    env: Env,
    apis: Vec<Arc<Node>>,
    gateways: Vec<Arc<Node>>,
    database: Option<String>,
    postgres: Option<Arc<Postgres>>,
    redis: Option<Arc<Redis>>,
    dir: PathBuf,
    next: AtomicUsize,
    pub(super) shared: bool,
}

impl Deployment {
    /// `messenger` over a SQLite file of its own.
    pub fn embedded() -> Builder {
        Builder::new(Form::Embedded)
    }

    /// `messenger-api` and `messenger-gateway` processes over a database and a Redis of their own.
    /// No gateway hands connections over: a test chooses the gateway of each client.
    pub fn cluster(apis: usize, gateways: usize) -> Builder {
        Builder::new(Form::Cluster { apis, gateways }).env("REBALANCE", "off")
    }

    pub fn form(&self) -> Form {
        self.form
    }

    pub fn is_cluster(&self) -> bool {
        self.form != Form::Embedded
    }

    /// The nodes that answer REST; embedded: the one there is.
    pub fn apis(&self) -> &[Arc<Node>] {
        &self.apis
    }

    /// The nodes that hold sockets; embedded: the one there is.
    pub fn gateways(&self) -> &[Arc<Node>] {
        &self.gateways
    }

    /// The nth api, counted round and round.
    pub fn api(&self, n: usize) -> &Arc<Node> {
        &self.apis[n % self.apis.len()]
    }

    /// The nth gateway, counted round and round.
    pub fn gateway(&self, n: usize) -> &Arc<Node> {
        &self.gateways[n % self.gateways.len()]
    }

    /// Every process once.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        let mut nodes = self.apis.clone();
        for gateway in &self.gateways {
            if !nodes.iter().any(|node| Arc::ptr_eq(node, gateway)) {
                nodes.push(Arc::clone(gateway));
            }
        }
        nodes
    }

    /// One more gateway beside the others, ready.
    pub async fn add_gateway(&mut self) -> Arc<Node> {
        let name = format!("gateway-{}", self.gateways.len());
        let node = self.start_more(name, Program::Gateway).await;
        self.gateways.push(Arc::clone(&node));
        node
    }

    /// `messenger` as one more node of the cluster, an api and a gateway in one, ready.
    pub async fn add_messenger(&mut self) -> Arc<Node> {
        let node = self.start_more("messenger".to_owned(), Program::Messenger).await;
        self.apis.push(Arc::clone(&node));
        self.gateways.push(Arc::clone(&node));
        node
    }

    /// One more api beside the others, ready.
    pub async fn add_api(&mut self) -> Arc<Node> {
        let name = format!("api-{}", self.apis.len());
        let node = self.start_more(name, Program::Api).await;
        self.apis.push(Arc::clone(&node));
        node
    }

    async fn start_more(&self, name: String, program: Program) -> Arc<Node> {
        assert!(self.is_cluster(), "only a cluster grows");
        let env = self.env.clone();
        let started = super::blocking(move || start_nodes(None, &[(name, program)], &env, &BTreeMap::new()));
        let nodes = started.await.unwrap_or_else(|error| panic!("{error}"));
        Arc::clone(&nodes[0])
    }

    /// The variables that all its programs have.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The address of the cluster's database.
    pub fn database_url(&self) -> &str {
        self.database.as_deref().expect("a cluster's")
    }

    pub fn postgres(&self) -> &Arc<Postgres> {
        self.postgres.as_ref().expect("a cluster's")
    }

    pub fn redis(&self) -> &Arc<Redis> {
        self.redis.as_ref().expect("a cluster's")
    }

    /// A client that nobody is logged in with; its requests go round the nodes as behind a load
    /// balancer.
    pub fn rest(&self) -> Rest {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let urls = |nodes: &[Arc<Node>]| nodes.iter().map(|node| node.url()).collect();
        Rest::new(urls(&self.apis), urls(&self.gateways), turn)
    }

    /// A new user, logged in.
    pub async fn user(&self) -> User {
        self.user_named("user").await
    }

    /// A new user whose name begins with `prefix`, logged in.
    pub async fn user_named(&self, prefix: &str) -> User {
        let gateways = self.gateways.iter().map(|node| node.ws_url()).collect();
        User::register(self.rest(), gateways, prefix).await
    }

    /// The last lines that every node wrote.
    pub fn tail(&self, lines: usize) -> String {
        self.nodes().iter().map(|node| node.tail(lines)).collect()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.shared {
            eprintln!("{}", self.tail(60));
        }
        // the nodes first, so that none sees its database go
        self.apis.clear();
        self.gateways.clear();
        process::remove_dir(&self.dir);
    }
}
