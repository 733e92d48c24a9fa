use super::*;
use crate::lifecycle::{DATABASE, ExitReason, STARTED};
use axum::routing::get;
use std::process::ExitCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

fn places(per_address: usize) -> Places {
    Places::new(10_000, per_address, Vec::new(), crate::metrics::Metrics::new(crate::config::Program::Api))
}

/// A server on a free port, its lifecycle, and how it ended.
async fn server(router: Router) -> (SocketAddr, Lifecycle, JoinHandle<ExitCode>) {
    server_that_keeps(router, Duration::from_secs(75)).await
}

async fn server_that_keeps(router: Router, keep_alive: Duration) -> (SocketAddr, Lifecycle, JoinHandle<ExitCode>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let lifecycle = Lifecycle::with_drain(Duration::from_secs(1));
    lifecycle.spawn("serve", serve(listener, router, None, places(100), keep_alive, lifecycle.clone()));
    let done = tokio::spawn(lifecycle.clone().run_until_done(async {}));
    (address, lifecycle, done)
}

async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), future).await.expect("in time")
}

async fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
}

/// Reads until the body, which every handler here ends with a full stop.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with('.') {
        let mut bytes = [0; 1024];
        let read = bounded(stream.read(&mut bytes)).await.expect("read");
        assert_ne!(read, 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..read]).expect("UTF-8"));
    }
    text
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    bounded(stream.read(&mut [0; 16])).await.map_or(true, |read| read == 0)
}

fn router(entered: &Arc<Notify>, go_on: &Arc<Notify>) -> Router {
    let (entered, go_on) = (entered.clone(), go_on.clone());
    let slow = move || async move {
        entered.notify_one();
        go_on.notified().await;
        "slow."
    };
    Router::new().route("/", get(async || "quick.")).route("/slow", get(slow))
}

#[tokio::test]
async fn a_drain_finishes_what_runs_closes_what_idles_and_accepts_no_more() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (address, lifecycle, done) = server(router(&entered, &go_on)).await;
    let mut idle = TcpStream::connect(address).await.expect("accepted");
    ask(&mut idle, "/").await;
    assert!(answer(&mut idle).await.starts_with("HTTP/1.1 200"));
    ask(&mut idle, "/").await;
    assert!(answer(&mut idle).await.starts_with("HTTP/1.1 200"), "kept alive");
    let mut fresh = TcpStream::connect(address).await.expect("accepted");
    let mut running = TcpStream::connect(address).await.expect("accepted");
    ask(&mut running, "/slow").await;
    bounded(entered.notified()).await;

    lifecycle.begin_drain();
    assert!(is_closed(&mut idle).await);
    assert!(is_closed(&mut fresh).await);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    assert!(!done.is_finished());
    go_on.notify_one();
    let text = answer(&mut running).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("connection: close"), "{text}");
    assert_eq!(bounded(done).await.expect("no panic"), ExitCode::SUCCESS);
}

#[tokio::test]
async fn a_request_that_was_on_its_way_when_the_drain_began_is_answered() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (address, lifecycle, done) = server(router(&entered, &go_on)).await;
    let mut stream = TcpStream::connect(address).await.expect("accepted");
    // Another connection's answer shows that this one was accepted.
    let mut other = TcpStream::connect(address).await.expect("accepted");
    ask(&mut other, "/").await;
    answer(&mut other).await;
    lifecycle.begin_drain();
    assert!(is_closed(&mut other).await);
    ask(&mut stream, "/").await;
    assert!(answer(&mut stream).await.contains("quick."));
    assert_eq!(bounded(done).await.expect("no panic"), ExitCode::SUCCESS);
}

#[tokio::test]
async fn connections_that_only_the_kernel_has_accepted_are_served_when_the_drain_begins() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let lifecycle = Lifecycle::with_drain(Duration::from_secs(1));
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.expect("the kernel accepts");
        ask(&mut stream, "/").await;
        waiting.push(stream);
    }
    lifecycle.begin_drain();
    let router = router(&Arc::default(), &Arc::default());
    serve(listener, router, None, places(100), Duration::from_secs(75), lifecycle.clone()).await;
    for mut stream in waiting {
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
    assert!(TcpStream::connect(address).await.is_err(), "it accepts no more");
}

#[tokio::test]
async fn a_request_that_never_ends_is_over_at_the_deadline() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (address, lifecycle, done) = server(router(&entered, &go_on)).await;
    let mut running = TcpStream::connect(address).await.expect("accepted");
    ask(&mut running, "/slow").await;
    bounded(entered.notified()).await;
    lifecycle.stop(ExitReason::SecondSignal);
    assert_eq!(bounded(done).await.expect("no panic"), ExitCode::from(130));
}

#[tokio::test]
async fn the_admin_port_answers_while_draining() {
    let (address, lifecycle) = admin_port().await;
    let flag = lifecycle.readiness().register(DATABASE);
    let started = lifecycle.readiness().register(STARTED);

    let status = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.expect("accepted");
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        bounded(stream.read_to_string(&mut text)).await.expect("read");
        text
    };
    assert!(status("/healthz").await.starts_with("HTTP/1.1 200"));
    let down = status("/readyz").await;
    assert!(down.starts_with("HTTP/1.1 503") && down.contains(r#""database":false"#), "{down}");
    assert!(status("/servez").await.starts_with("HTTP/1.1 503"), "nothing is sent to it before its start");
    started.set(true);
    assert!(status("/servez").await.starts_with("HTTP/1.1 200"));
    assert!(status("/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(status("/metrics").await.contains("messenger_serving 0"), "the database is away");
    flag.set(true);
    assert!(status("/metrics").await.contains("messenger_serving 1"));
    assert!(status("/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(status("/metrics").await.contains("messenger_build_info{"));
    assert!(status("/nothing").await.contains(r#""code":"not_found""#));
    lifecycle.begin_drain();
    let draining = status("/readyz").await;
    assert!(draining.starts_with("HTTP/1.1 503") && draining.contains(r#""draining":true"#), "{draining}");
    assert!(status("/servez").await.starts_with("HTTP/1.1 503"));
    assert!(status("/healthz").await.starts_with("HTTP/1.1 200"));
    assert_eq!(bounded(lifecycle.run_until_done(async {})).await, ExitCode::SUCCESS);
}

/// The admin port alone.
async fn admin_port() -> (SocketAddr, Lifecycle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let lifecycle = Lifecycle::new();
    let metrics = crate::metrics::Metrics::new(crate::config::Program::Api);
    let admin = crate::http::admin::router(metrics, lifecycle.readiness().clone());
    lifecycle.spawn("admin", serve_admin(listener, admin, lifecycle.clone()));
    (address, lifecycle)
}

async fn from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{source}:0").parse().expect("an address")).expect("an address of the loopback");
    socket.connect(to).await.expect("accepted")
}

#[tokio::test]
async fn idle_connections_do_not_take_the_admin_port() {
    let (address, _lifecycle) = admin_port().await;
    let began = Instant::now();
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(from("127.0.0.3", address).await);
    }
    let mut probe = from("127.0.0.4", address).await;
    ask(&mut probe, "/healthz").await;
    let mut answer = String::new();
    // The probe's own time.
    tokio::time::timeout(Duration::from_secs(2), probe.read_to_string(&mut answer))
        .await
        .expect("in time")
        .expect("read");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    for stream in &mut idle {
        let mut ended = Vec::new();
        drop(bounded(stream.read_to_end(&mut ended)).await);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let mut again = from("127.0.0.3", address).await;
    ask(&mut again, "/healthz").await;
    let mut answer = String::new();
    bounded(again.read_to_string(&mut answer)).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A client that leaves when it is asked to meets no closing.
#[tokio::test]
async fn a_client_is_asked_to_leave_before_its_connection_is_closed() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let keep_alive = Duration::from_millis(3500);
    let (address, lifecycle, done) = server_that_keeps(router(&entered, &go_on), keep_alive).await;
    let mut stream = TcpStream::connect(address).await.expect("accepted");
    for _ in 0..2 {
        ask(&mut stream, "/").await;
        let answer = answer(&mut stream).await;
        assert!(answer.contains("\r\nkeep-alive: timeout=1\r\n"), "{answer}");
    }
    let idle = tokio::time::Instant::now();
    assert!(is_closed(&mut stream).await);
    assert!(idle.elapsed() > Duration::from_secs(3), "{:?}", idle.elapsed());
    lifecycle.begin_drain();
    assert_eq!(bounded(done).await.expect("no panic"), ExitCode::SUCCESS);
}

#[test]
fn a_pause_of_two_seconds_or_less_is_not_promised() {
    let header = |seconds| leave_after(Duration::from_secs(seconds)).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!([header(2), header(3), header(75)], [None, Some("timeout=1".into()), Some("timeout=73".into())]);
}

#[tokio::test]
async fn rubbish_ends_its_own_connection_only() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (address, lifecycle, done) = server(router(&entered, &go_on)).await;
    for rubbish in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", &vec![b'a'; 100_000]]
    {
        let mut stream = TcpStream::connect(address).await.expect("accepted");
        // The server may close before all of it is sent.
        drop(stream.write_all(rubbish).await);
        let mut bytes = Vec::new();
        drop(bounded(stream.read_to_end(&mut bytes)).await);
    }
    let mut stream = TcpStream::connect(address).await.expect("accepted");
    ask(&mut stream, "/").await;
    assert!(answer(&mut stream).await.contains("quick."));
    drop(stream);
    lifecycle.begin_drain();
    assert_eq!(bounded(done).await.expect("no panic"), ExitCode::SUCCESS);
}

/// Set in the process of [`no_descriptors_left_is_survived`]'s own that may open few files.
const STARVED: &str = "MESSENGER_TEST_STARVED";

#[test]
fn no_descriptors_left_is_survived() {
    if std::env::var_os(STARVED).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(survives_without_descriptors());
    }
    let starved = std::process::Command::new("sh")
        .args(["-c", r#"ulimit -n 40; exec "$0" --exact "$1" --nocapture"#])
        .arg(std::env::current_exe().expect("a path"))
        .arg("http::serve::tests::no_descriptors_left_is_survived")
        .env(STARVED, "1")
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&starved.stdout);
    assert!(
        starved.status.success() && said.contains("survived"),
        "{said}{}",
        String::from_utf8_lossy(&starved.stderr)
    );
}

async fn survives_without_descriptors() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (address, lifecycle, done) = server(router(&entered, &go_on)).await;
    for _ in 0..2 {
        // Each takes two of the process's descriptors, its own and the server's, until there are
        // none.
        let mut clients = Vec::new();
        while let Ok(client) = TcpStream::connect(address).await {
            clients.push(client);
        }
        assert!(clients.len() > 5, "{}", clients.len());
        // The last ones could not be accepted: they are once there is room again.
        let mut last = clients.pop().expect("one");
        drop(clients);
        ask(&mut last, "/").await;
        assert!(answer(&mut last).await.contains("quick."));
    }
    lifecycle.begin_drain();
    assert_eq!(bounded(done).await.expect("no panic"), ExitCode::SUCCESS);
    println!("survived");
}
