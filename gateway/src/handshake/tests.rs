//! Handshakes of a gateway whose process drains.

use super::*;
use axum::body::Body;
use messenger_common::config::{CommandLine, Program};
use messenger_common::http::{Bound, Opening, Upgrades};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::program::{self, App, Started};
use messenger_common::service::accounts::{self, Register};
use messenger_common::service::sessions::{self, Login};
use messenger_testing::process;
use std::net::IpAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// More than a burst of five and what comes back of it in some seconds.
const MANY: usize = 20;

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

fn handshake(token: &str) -> Request {
    let request = Request::builder().uri("/ws/chat").header("connection", "upgrade").header("upgrade", "websocket");
    let request = request.header("sec-websocket-version", "13").header("authorization", format!("Bearer {token}"));
    request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").body(Body::empty()).expect("a request")
}

/// It is no fault of the client's, who comes back elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_a_drain_refuses_costs_nothing() {
    let database = format!("sqlite:{}", process::new_dir("drained").join("messenger.db").display());
    let words =
        ["messenger", "--database-url", &database, "--rate-requests-per-second", "1", "--rate-requests-burst", "5"];
    let config = CommandLine::of(Program::Messenger, &words).and_then(|words| words.config()).expect("sound");
    let lifecycle = Lifecycle::new();
    let (tell, told) = oneshot::channel();
    let build = |started: &Started<'_>| {
        let gateway = Gateway::start(started).expect("shards");
        let place = Arc::new(started.places.admit(IpAddr::from([127, 0, 0, 1])).expect("a place"));
        let early = Early::new(&gateway, started.config).expect("no traces");
        let app = App::of(gateway.router());
        drop(tell.send((gateway, early, place)));
        Ok(app)
    };
    let public = Bound::new("HOST", "PORT", ([127, 0, 0, 1], 0).into()).expect("a free port");
    let program = program::run(config, public, listener().await, lifecycle.clone(), build);
    let test = async {
        let (gateway, early, place) = told.await.expect("started");
        let (ctx, from) = (&gateway.hub.ctx, ClientIp::on(&http::Extensions::new()).0);
        let (username, password) = ("ann".to_owned(), "a long enough phrase".to_owned());
        let email = "ann@example.org".to_owned();
        let register = Register { username: username.clone(), email, password: password.clone(), invite: None };
        accounts::register(ctx, from, register).await.expect("registered");
        let tokens = sessions::login(ctx, from, None, Login { username, password }).await.expect("logged in");
        let by = ctx.authenticate(&tokens.access_token).await.expect("a user");
        let _under_way = lifecycle.hold_drain();
        lifecycle.begin_drain();
        for (token, is_users) in [(tokens.access_token.as_str(), true), ("rubbish", false)] {
            // Whatever costs anything is refused with 429 from here on.
            while if is_users { ctx.charge_request(&by).await } else { ctx.charge_address(from).await }.is_ok() {}
            for _ in 0..MANY {
                let refused = by_header(State(gateway.clone()), handshake(token)).await.expect_err("draining");
                assert_eq!(refused.status(), 503, "{refused}");
                let refused = by_path(State(gateway.clone()), Ok(Path(token.to_owned())), handshake(token)).await;
                assert_eq!(refused.expect_err("draining").status(), 503);
            }
        }
        // The user pays before the router is asked.
        let head = format!(
            "GET /ws/chat HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             authorization: Bearer {}\r\n\r\n",
            tokens.access_token
        );
        let listener = listener().await;
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let peer = listener.accept().await.expect("accepted").1;
        let opening = Opening { stream, read: head.into(), peer, place, known: http::Extensions::new() };
        let back = early.take(opening).await.expect("the router answers");
        assert!(back.known.is_empty(), "nothing was asked of it");
        lifecycle.stop(messenger_common::lifecycle::ExitReason::Done);
    };
    tokio::join!(program, test);
}
