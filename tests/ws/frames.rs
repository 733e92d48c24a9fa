//! Frames that no client should send, each closed with the code that says why.

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::{Deployment, SOON, Ws, json};

both_forms!(
    a_binary_frame_is_closed_with_1003,
    bytes_that_are_no_utf8_are_closed_with_1007,
    a_frame_over_the_limit_is_closed_with_1009,
    fragments_make_one_frame_and_share_its_limit,
    a_fragment_ends_inside_a_letter,
    a_ping_of_the_protocol_is_answered,
    a_close_is_answered,
);

/// A `ping` command of exactly this many bytes.
fn ping_of(bytes: usize) -> String {
    let bare = json!({"type": "ping", "pad": ""}).to_string();
    let padded = bare.replace("\"pad\":\"\"", &format!("\"pad\":\"{}\"", "x".repeat(bytes - bare.len())));
    assert_eq!(padded.len(), bytes);
    padded
}

async fn fragments(ws: &mut Ws, pieces: &[&[u8]]) {
    for (n, piece) in pieces.iter().enumerate() {
        let kind = if n == 0 { Data::Text } else { Data::Continue };
        let last = n + 1 == pieces.len();
        let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), last);
        ws.send_message(Message::Frame(frame)).await;
    }
}

async fn a_binary_frame_is_closed_with_1003(d: &Deployment) {
    let mut ws = d.user().await.connect().await;
    ws.send_message(Message::binary(b"{\"type\":\"ping\"}".to_vec())).await;
    assert_eq!(ws.expect_close(SOON).await.0, 1003);
}

async fn bytes_that_are_no_utf8_are_closed_with_1007(d: &Deployment) {
    let user = d.user().await;
    for bytes in [&b"\xff\xfe"[..], b"{\"type\":\"ping\xc3\"}", b"\xed\xa0\x80", b"\xf0\x9f\x99"] {
        let mut ws = user.connect().await;
        ws.send_raw_text(bytes).await;
        assert_eq!(ws.expect_close(SOON).await.0, 1007, "{bytes:x?}");
    }
}

async fn a_frame_over_the_limit_is_closed_with_1009(d: &Deployment) {
    let user = d.user().await;
    let mut ws = user.connect().await;
    ws.send_text(&ping_of(65_536)).await;
    ws.expect("pong").await;
    ws.send_text(&ping_of(65_537)).await;
    assert_eq!(ws.expect_close(SOON).await.0, 1009);
    // and the close is read although far more was under way
    let mut ws = user.connect().await;
    ws.send_text(&ping_of(4 * 1024 * 1024)).await;
    assert_eq!(ws.expect_close(SOON).await.0, 1009);
}

async fn fragments_make_one_frame_and_share_its_limit(d: &Deployment) {
    let user = d.user().await;
    let mut ws = user.connect().await;
    fragments(&mut ws, &[b"{\"type\":", b"", b"\"ping\"", b"}"]).await;
    ws.expect("pong").await;
    let large = ping_of(65_537);
    let (first, second) = large.as_bytes().split_at(40_000);
    fragments(&mut ws, &[first, second]).await;
    assert_eq!(ws.expect_close(SOON).await.0, 1009);
}

async fn a_fragment_ends_inside_a_letter(d: &Deployment) {
    let mut ws = d.user().await.connect().await;
    let text = json!({"type": "ping", "request_id": "🙂"}).to_string();
    let (first, second) = text.as_bytes().split_at(text.find('🙂').unwrap() + 2);
    fragments(&mut ws, &[first, second]).await;
    assert_eq!(ws.expect("pong").await["request_id"], "🙂");
}

async fn a_ping_of_the_protocol_is_answered(d: &Deployment) {
    let mut ws = d.user().await.connect().await;
    ws.send_message(Message::Ping("are you there".into())).await;
    ws.expect_pong(b"are you there").await;
}

async fn a_close_is_answered(d: &Deployment) {
    d.user().await.connect().await.close().await;
}
