//! A way to the server on which the first answer to a chosen request gets lost, after the server
//! has done what it was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(super) struct LostAnswer {
    port: u16,
    lost: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl LostAnswer {
    /// Loses the first answer to a request that begins with `request` (`POST /auth/refresh`).
    pub(super) async fn before(url: &str, request: &'static str) -> Self {
        let target = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lost = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&lost);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target.clone(), request, Arc::clone(&counter)));
            }
        });
        Self { port, lost, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn has_lost_one(&self) -> bool {
        self.lost.load(Ordering::Relaxed) > 0
    }
}

impl Drop for LostAnswer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One way may carry several requests. The clients write each request in two pieces at most.
async fn pass(mut client: TcpStream, target: String, request: &str, lost: Arc<AtomicUsize>) -> Option<()> {
    let mut server = TcpStream::connect(target).await.ok()?;
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut losing = false;
    loop {
        tokio::select! {
            length = client.read(&mut up) => {
                let piece = &up[..length.ok().filter(|length| *length > 0)?];
                if piece.starts_with(request.as_bytes()) && lost.fetch_add(1, Ordering::Relaxed) == 0 {
                    losing = true;
                }
                server.write_all(piece).await.ok()?;
            }
            length = server.read(&mut down) => {
                let length = length.ok().filter(|length| *length > 0)?;
                if losing {
                    return None;
                }
                client.write_all(&down[..length]).await.ok()?;
            }
        }
    }
}
