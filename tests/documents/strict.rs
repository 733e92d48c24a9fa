//! Whatever the suites read is held against the documents; here the check itself is held.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::documents::checked;
use crate::support::{Answer, Value, json, limited, shared};

#[tokio::test]
async fn what_a_test_reads_is_checked() {
    limited(async {
        let d = shared::embedded().await;
        let (answers, frames) = checked();
        let ann = d.user().await;
        let mut ws = ann.connect().await;
        ws.round_trip().await;
        let (answers, frames) = (checked().0 - answers, checked().1 - frames);
        assert!(answers >= 2 && frames >= 2, "{answers} answers and {frames} frames");
    })
    .await;
}

/// Whether a test reads on at a server that answers `/auth/me` with this.
async fn reads(body: Value) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/auth/me", listener.local_addr().unwrap());
    let serve = async move {
        let (mut link, _) = listener.accept().await.unwrap();
        assert!(link.read(&mut [0; 4096]).await.unwrap() > 0);
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        link.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    };
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = tokio::spawn(async move { tokio::join!(Answer::of(http.get(url)), serve).0.status });
    asked.await.is_ok()
}

#[tokio::test]
async fn a_wrong_answer_fails_the_test_that_reads_it() {
    limited(async {
        let d = shared::embedded().await;
        let right = d.user().await.rest.get("/auth/me").await.ok(200);
        assert!(reads(right.clone()).await);
        let (mut less, mut more) = (right.clone(), right);
        assert!(less.as_object_mut().unwrap().remove("created_at").is_some());
        more["password"] = json!("secret");
        assert!(!reads(less).await, "a field is missing");
        assert!(!reads(more).await, "a field that the document does not name");
    })
    .await;
}
