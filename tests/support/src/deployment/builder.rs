//! The plan of a deployment, and its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::{Deployment, Form, SECRET_KEY, start_nodes};
use crate::documents;
use crate::node::Env;
use crate::postgres::{self, Postgres};
use crate::process;
use crate::programs::Program;
use crate::redis::Redis;

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
    pub(super) fn new(form: Form) -> Self {
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
        documents::stand_back();
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
        let nodes = crate::blocking(move || start_nodes(programs.as_ref(), &names, &env, &node_env)).await?;
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
