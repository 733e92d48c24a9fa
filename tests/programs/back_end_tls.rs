//! TLS to Postgres and Redis whose certificates a private authority signed.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::ports::free_port;
use crate::support::tls::Authority;
use crate::support::{Deployment, Postgres, Redis, limited};

async fn postgres_with(authority: &Authority) -> std::sync::Arc<Postgres> {
    let server = Postgres::private().await;
    let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
    for (setting, value) in [
        ("ssl_cert_file", authority.certificate().display().to_string()),
        ("ssl_key_file", authority.key().display().to_string()),
        ("ssl", "on".to_owned()),
    ] {
        admin.execute(AssertSqlSafe(format!("alter system set {setting} = '{value}'"))).await.unwrap();
    }
    admin.execute("select pg_reload_conf()").await.unwrap();
    server
}

fn over_tls(direct: &str) -> String {
    format!("{}?sslmode=verify-full", direct.replace("127.0.0.1", "localhost"))
}

fn options(authority: &Authority, port: u16) -> Vec<String> {
    let path = |path: std::path::PathBuf| path.display().to_string();
    [
        ("--tls-port", port.to_string()),
        ("--tls-cert-file", path(authority.certificate())),
        ("--tls-key-file", path(authority.key())),
        ("--tls-ca-cert-file", path(authority.ca())),
        ("--tls-auth-clients", "no".to_owned()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect()
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named() {
    limited(async {
        let authority = Authority::new().await;
        let postgres = postgres_with(&authority).await;
        let port = free_port();
        let options = options(&authority, port);
        let redis = Redis::with_options(&options.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let (database, bus) = (over_tls(&postgres.new_database().await), format!("rediss://localhost:{port}"));
        for variable in ["TLS_CA_FILE", "SSL_CERT_FILE"] {
            let d = Deployment::cluster(1, 1)
                .postgres(&postgres)
                .redis(&redis)
                .env("DATABASE_URL", &database)
                .env("REDIS_URL", &bus)
                .env(variable, authority.ca().display())
                .start()
                .await;
            let (ann, bob) = (d.user().await, d.user().await);
            let chat_id = ann.group_id(&[&bob]).await;
            let mut ws = bob.connect().await;
            ws.subscribe(chat_id).await;
            let message = ann.say(chat_id, "in secret").await;
            assert_eq!(ws.expect("new_message").await["message"], message);
            let clients = redis.text(&["CLIENT", "LIST"]).await;
            let ours = clients.lines().filter(|line| line.contains(&format!("laddr=127.0.0.1:{port} ")));
            assert!(ours.count() > 4, "all over TLS:\n{clients}");
        }
    })
    .await;
}

/// The address says nothing of certificates, and nothing else is spoken to over TLS.
#[tokio::test]
async fn the_systems_authorities_count_where_libpqs_variable_asks_for_a_check() {
    limited(async {
        let authority = Authority::new().await;
        let postgres = postgres_with(&authority).await;
        let database = postgres.new_database().await.replace("127.0.0.1", "localhost");
        let d = Deployment::cluster(1, 1)
            .postgres(&postgres)
            .env("DATABASE_URL", &database)
            .env("PGSSLMODE", "verify-full")
            .env("SSL_CERT_FILE", authority.ca().display())
            .start()
            .await;
        d.user().await;
    })
    .await;
}
