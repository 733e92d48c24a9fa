//! A whole messenger: one process over SQLite, or a cluster over Postgres and Redis.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::documents;
use super::node::{Env, Node};
use super::postgres::{self, Postgres};
use super::process;
use super::programs::Program;
use super::redis::Redis;
use super::rest::Rest;
use super::user::User;

/// Signs the tokens of every deployment under test, unless a test sets another.
pub const SECRET_KEY: &str = "a secret of the tests alone, 0123456789abcdef";

/// Where a deployment runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Embedded,
    Cluster { apis: usize, gateways: usize },
}

/// The plan of a deployment; [`Builder::start`] makes it.
pub struct Builder {
    form: Form,
    env: Env,
    node_env: BTreeMap<String, Env>,
    postgres: Option<Arc<Postgres>>,
    redis: Option<Arc<Redis>>,
    default_database: bool,
    programs: Option<PathBuf>,
}

impl Builder {
    fn new(form: Form) -> Self {
        let env = [
            ("HOST", "127.0.0.1"),
            ("DEBUG", "false"),
            ("SECRET_KEY", SECRET_KEY),
            ("RATE_LIMITS", "off"),
            // the strength of the hash is not what these tests are about
            ("ARGON2_MEMORY_KIB", "64"),
        ];
        Self {
            form,
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            node_env: BTreeMap::new(),
            postgres: None,
            redis: None,
            default_database: false,
            programs: None,
        }
    }

    pub fn form(&self) -> Form {
        self.form
    }

    /// Sets a variable of all programs.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.insert(name.to_owned(), value.to_string());
        self
    }

    /// Leaves a variable unset that the harness sets by itself.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Leaves `DATABASE_URL` unset: `messenger` then keeps its file in the user's data directory.
    #[must_use]
    pub fn default_database(mut self) -> Self {
        self.default_database = true;
        self
    }

    /// Sets a variable of one program: `messenger`, `api-0`, `gateway-1`.
    #[must_use]
    pub fn node_env(mut self, node: &str, name: &str, value: impl ToString) -> Self {
        let env = self.node_env.entry(node.to_owned()).or_default();
        env.insert(name.to_owned(), value.to_string());
        self
    }

    /// Starts the executables of that folder: those of another release.
    #[must_use]
    pub fn programs(self, folder: PathBuf) -> Self {
        super::documents::stand_back();
        Self { programs: Some(folder), ..self }
    }

    /// Uses a server of the test's own in place of the shared one.
    #[must_use]
    pub fn postgres(mut self, server: &Arc<Postgres>) -> Self {
        self.postgres = Some(Arc::clone(server));
        self
    }

    /// Uses a server of the test's own. (Without it the cluster gets a Redis that nobody else uses,
    /// too.)
    #[must_use]
    pub fn redis(mut self, server: &Arc<Redis>) -> Self {
        self.redis = Some(Arc::clone(server));
        self
    }

    /// Starts all programs and waits until each is ready.
    pub async fn start(self) -> Deployment {
        match self.try_start().await {
            Ok(deployment) => deployment,
            Err(error) => panic!("{error}"),
        }
    }

    /// The same, with the first fault and the output of the program that had it.
    pub async fn try_start(self) -> Result<Deployment, String> {
        let mut base = self.env.clone();
        let (mut database, mut server, mut redis) = (None, None, None);
        let dir = process::new_dir("deployment");
        let names: Vec<(String, Program)> = match self.form {
            Form::Embedded => {
                if !self.default_database {
                    let file = dir.join("messenger.db");
                    base.entry("DATABASE_URL".to_owned()).or_insert_with(|| format!("sqlite:{}", file.display()));
                }
                vec![("messenger".to_owned(), Program::Messenger)]
            }
            Form::Cluster { apis, gateways } => {
                let postgres = match self.postgres {
                    Some(server) => server,
                    None => postgres::shared().await,
                };
                let url = match base.get("DATABASE_URL") {
                    Some(url) => url.clone(),
                    None => postgres.new_database().await,
                };
                base.insert("DATABASE_URL".to_owned(), url.clone());
                let bus = match self.redis {
                    Some(server) => server,
                    None => Redis::private().await,
                };
                base.entry("REDIS_URL".to_owned()).or_insert_with(|| bus.url());
                (database, server, redis) = (Some(url), Some(postgres), Some(bus));
                let api = (0..apis).map(|i| (format!("api-{i}"), Program::Api));
                let gateway = (0..gateways).map(|i| (format!("gateway-{i}"), Program::Gateway));
                api.chain(gateway).collect()
            }
        };
        let (node_env, programs) = (self.node_env, self.programs);
        let env = base.clone();
        let nodes = super::blocking(move || start_nodes(programs.as_ref(), &names, &env, &node_env)).await?;
        let of = |program| nodes.iter().filter(move |node| node.program() == program);
        let (apis, gateways) = match self.form {
            Form::Embedded => (nodes.clone(), nodes.clone()),
            Form::Cluster { .. } => (of(Program::Api).cloned().collect(), of(Program::Gateway).cloned().collect()),
        };
        documents::served().await; // before a test measures anything
        Ok(Deployment {
            form: self.form,
            env: base,
            apis,
            gateways,
            database,
            postgres: server,
            redis,
            dir,
            next: AtomicUsize::new(0),
            shared: false,
        })
    }
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
