//! Statements that a test runs in a deployment's store, beside its programs.

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::deployment::Deployment;

impl Deployment {
    /// Commits them together.
    pub async fn execute(&self, statements: &str) {
        if self.is_cluster() {
            let mut link = PgConnection::connect(self.database_url()).await.unwrap();
            let together = AssertSqlSafe(format!("begin; {statements}; commit"));
            sqlx::raw_sql(together).execute(&mut link).await.unwrap();
        } else {
            let mut link = SqliteConnection::connect(&self.env()["DATABASE_URL"]).await.unwrap();
            // Waits for its turn first: a writer that read before it waits in vain.
            let together = AssertSqlSafe(format!("begin immediate; {statements}; commit"));
            sqlx::raw_sql(together).execute(&mut link).await.unwrap();
        }
    }
}
