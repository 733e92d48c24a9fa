//! A private authority with one certificate, for servers that speak TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process;

/// An authority that no system knows, and a certificate of it for `localhost` and `127.0.0.1`.
pub struct Authority {
    dir: PathBuf,
}

impl Authority {
    /// Makes both with `openssl`.
    pub async fn new() -> Self {
        super::blocking(|| {
            let dir = process::new_dir("authority");
            let openssl = |arguments: &str| {
                let mut command = Command::new("openssl");
                command.args(arguments.split(' ')).current_dir(&dir);
                process::run(command).unwrap();
            };
            let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
            std::fs::write(dir.join("names.cnf"), names).unwrap();
            openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=private -keyout ca.key -out ca.pem");
            openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr");
            openssl(
                "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names.cnf \
                 -out server.pem",
            );
            if process::is_root() {
                let mut chown = Command::new("chown");
                chown.arg("-R").arg("postgres:").arg(&dir);
                process::run(chown).unwrap();
            }
            Self { dir }
        })
        .await
    }

    /// The authority itself, as `TLS_CA_FILE` has it.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("server.pem")
    }

    /// The server's key.
    pub fn key(&self) -> PathBuf {
        self.dir.join("server.key")
    }

    /// Where all of it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        process::remove_dir(&self.dir);
    }
}
