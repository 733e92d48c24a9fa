use super::*;
use crate::config::{Config, Program};
use crate::http::extract::{JsonBody, PathParams};
use crate::lifecycle::Lifecycle;
use crate::service::{Fields, FromFields, Unchecked};
use axum::routing::{get, post};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

mod crowds;

struct Body {
    name: String,
}

impl FromFields for Body {
    fn read(fields: &mut Fields) -> Self {
        Self { name: fields.required("name") }
    }
}

async fn echo(JsonBody(body): JsonBody<Unchecked<Body>>) -> Result<String, Error> {
    let (body, faults) = body.split();
    faults.none().map(|()| body.name)
}

fn routes() -> Router {
    let large = bytes::Bytes::from(vec![b'x'; 32 * 1024 * 1024]);
    Router::new()
        .route("/", get(async || "home"))
        .route("/chats/", get(async || "chats"))
        .route("/users", get(async || "users").post(async || "made"))
        .route("/users/{id}", get(async |PathParams(id): PathParams<i64>| id.to_string()))
        .route("/echo", post(echo))
        .route("/large", get(async move || large))
        .route("/join", post(async || "joined"))
        .route("/ip", get(async |client: ClientIp| client.0.to_string()))
        .route("/fault", get(async || -> Result<(), Error> { Err(Error::internal("hunter2")) }))
        .route("/away", get(async || -> Result<(), Error> { Err(Error::unavailable("hunter2")) }))
        .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
        .route("/slow", get(async || std::future::pending::<()>().await))
}

struct Server {
    address: SocketAddr,
    metrics: Metrics,
    paid: Arc<AtomicUsize>,
}

impl Server {
    async fn start(variables: &[(&'static str, &str)]) -> Self {
        Self::start_with(variables, Duration::from_millis(300)).await
    }

    async fn start_with(variables: &[(&'static str, &str)], timeout: Duration) -> Self {
        let config = Config::for_tests(Program::Api, variables);
        let metrics = Metrics::new(Program::Api);
        let paid = Arc::<AtomicUsize>::default();
        let payee = Arc::clone(&paid);
        let toll: Toll = Arc::new(move |_| {
            payee.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(Ok(())))
        });
        let router = layers_with(routes(), &config, &metrics, &Traces::default(), toll, timeout);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let lifecycle = Lifecycle::new();
        let per_address = config.limits.max_connections_per_address;
        let places = crate::http::Places::new(10_000, per_address, config.trusted_proxies.clone(), metrics.clone());
        lifecycle.spawn(
            "serve",
            crate::http::serve(listener, router, None, places, std::time::Duration::from_secs(75), lifecycle.clone()),
        );
        Self { address, metrics, paid }
    }

    /// A connection on which these bytes were sent.
    async fn sent(&self, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("accepted");
        stream.write_all(request).await.expect("sent");
        stream
    }

    /// Sends the bytes and reads all that is answered.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.sent(request).await;
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(5), reading).await.expect("in time").expect("read");
        String::from_utf8(answer).expect("UTF-8")
    }

    async fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        if !body.is_empty() {
            request = format!("{request}content-length: {}\r\n", body.len());
        }
        Answer(self.raw(format!("{request}\r\n{body}").as_bytes()).await)
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }
}

struct Answer(String);

impl Answer {
    fn status(&self) -> u16 {
        self.0.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let head = self.0.split("\r\n\r\n").next()?;
        head.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| *n == name).map(|(_, value)| value))
    }

    fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// The code of a problem, after seeing that it is one.
    fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.0);
        assert!(self.header("x-request-id").is_some(), "{}", self.0);
        let json: serde_json::Value = serde_json::from_str(self.body()).expect("JSON");
        assert_eq!(json["status"], self.status());
        json["code"].as_str().expect("a code").to_owned()
    }
}

const JSON: &str = "content-type: application/json";

#[tokio::test]
async fn a_path_is_the_same_with_and_without_its_slash() {
    let server = Server::start(&[]).await;
    for (path, body) in [
        ("/", "home"),
        ("/chats/", "chats"),
        ("/chats", "chats"),
        ("/users", "users"),
        ("/users/", "users"),
        ("/users/?q=a", "users"),
        ("/users/7", "7"),
        ("/users/7/", "7"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status(), answer.body()), (200, body), "{path}");
        assert!(answer.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let server = Server::start(&[]).await;
    for path in [
        "/nothing",
        "/nothing/",
        "//",
        "/chats//",
        "/users//",
        "/users/seven",
        "/users/7/8",
        "/users/9223372036854775808",
        "/%ff",
        "/users/%ff",
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status(), answer.code().as_str()), (404, "not_found"), "{path}");
    }
    for path in ["/users", "/users/"] {
        let answer = server.ask("DELETE", path, &[], "").await;
        assert_eq!((answer.status(), answer.code().as_str()), (405, "method_not_allowed"));
        let allow = answer.header("allow").expect("Allow");
        assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    }
}

#[tokio::test]
async fn request_ids_are_the_callers_if_sane() {
    let server = Server::start(&[]).await;
    let id = async |given: &str| {
        let answer = server.ask("GET", "/nothing", &[&format!("x-request-id: {given}")], "").await;
        answer.header("x-request-id").expect("always one").to_owned()
    };
    assert_eq!(id("abc-1.2_3").await, "abc-1.2_3");
    for bad in ["two words", "<script>", &"x".repeat(65), ""] {
        let made = id(bad).await;
        assert!(made != bad && made.len() > 16, "{made}");
    }
    assert_ne!(id("?").await, id("?").await);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_with_and_without_its_length() {
    let server = Server::start(&[("MAX_BODY_BYTES", "1024"), ("MAX_MESSAGE_CHARS", "10")]).await;
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(3_000_000));
    for path in ["/echo", "/join"] {
        let answer = server.ask("POST", path, &[JSON], &long).await;
        assert_eq!((answer.status(), answer.code().as_str()), (413, "too_large"), "{path}");
    }
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nhost: test\r\n{JSON}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    let answer = Answer(server.raw(chunked.as_bytes()).await);
    assert_eq!((answer.status(), answer.code().as_str()), (413, "too_large"));
    let expecting = format!(
        "POST /echo HTTP/1.1\r\nhost: test\r\n{JSON}\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 9999999\r\n\r\n"
    );
    assert_eq!(Answer(server.raw(expecting.as_bytes()).await).status(), 413);
    let fits = server.ask("POST", "/echo", &[JSON], r#"{"name":"ann"}"#).await;
    assert_eq!((fits.status(), fits.body()), (200, "ann"));
}

#[tokio::test]
async fn a_connection_with_a_rest_is_read_to_its_end_or_closed_in_words() {
    let server = Server::start(&[]).await;
    let post = |path: &str, rest: &str| format!("POST {path} HTTP/1.1\r\nhost: test\r\n{JSON}\r\n{rest}");
    let get = "GET /users HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    // Nobody reads the body of `/join`, and the path after it does not exist.
    for path in ["/join", "/nothing", "/users/7"] {
        let answers = server.raw(format!("{}{get}", post(path, "content-length: 5\r\n\r\n12345")).as_bytes()).await;
        assert!(answers.ends_with("users") && !answers.starts_with("HTTP/1.1 5"), "{path}: {answers}");
    }
    let long = "x".repeat(5_000_000);
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{long}", long.len());
    for rest in ["content-length: 5\r\n\r\n1234", "content-length: 5\r\nexpect: 100-continue\r\n\r\n", &chunked] {
        let answer = Answer(server.raw(post("/join", rest).as_bytes()).await);
        assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")), "{:.300}", answer.0);
    }
}

#[tokio::test]
async fn bodies_that_do_not_fit_have_their_codes() {
    let server = Server::start(&[]).await;
    let code = async |headers: &[&str], body: &str| server.ask("POST", "/echo", headers, body).await.code();
    assert_eq!(code(&[], "x").await, "unsupported_media_type");
    assert_eq!(code(&["content-type: text/plain"], "{}").await, "unsupported_media_type");
    assert_eq!(code(&[JSON], "{").await, "bad_json");
    assert_eq!(code(&[JSON], "").await, "bad_json");
    assert_eq!(code(&["content-type: Application/JSON; charset=utf-8"], "{}").await, "invalid");
}

#[tokio::test]
async fn faults_panics_and_time_outs_are_problems_without_the_inside() {
    let server = Server::start(&[]).await;
    for (path, status, code) in [
        ("/fault", 500, "internal"),
        ("/panic", 500, "internal"),
        ("/away", 503, "unavailable"),
        ("/slow", 503, "unavailable"),
    ] {
        let answer = server.ask("GET", path, &["x-request-id: find-me"], "").await;
        assert_eq!((answer.status(), answer.code().as_str()), (status, code), "{path}");
        assert!(!answer.0.contains("hunter2") && !answer.0.contains("on purpose"), "{}", answer.0);
        if status == 500 {
            assert!(answer.body().contains("find-me"), "{}", answer.0);
        }
    }
}

#[tokio::test]
async fn requests_are_counted_by_matched_path_and_never_by_the_raw_one() {
    let server = Server::start(&[]).await;
    server.get("/users/7").await;
    server.get("/users/8/").await;
    server.get("/secret-token").await;
    server.ask("BREW", "/users", &[], "").await;
    let text = server.metrics.render();
    assert!(
        text.contains(r#"messenger_http_requests_total{method="GET",route="/users/{id}",status="200"} 2"#),
        "{text}"
    );
    assert!(text.contains(r#"messenger_http_requests_total{method="GET",route="unmatched",status="404"} 1"#), "{text}");
    assert!(text.contains(r#"method="other",route="/users",status="405""#), "{text}");
    assert!(!text.contains("secret-token") && !text.contains("BREW"));
}

#[tokio::test]
async fn only_allowed_origins_are_told_that_they_may() {
    let server = Server::start(&[("ALLOWED_ORIGINS", "https://good.example")]).await;
    let allowed = async |method: &str, origin: &str| {
        let headers = [&format!("origin: {origin}"), "access-control-request-method: PUT"];
        let answer = server.ask(method, "/users", &headers, "").await;
        assert!(answer.status() == 200 && answer.header("x-request-id").is_some());
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    for method in ["GET", "OPTIONS"] {
        assert_eq!(allowed(method, "https://good.example").await.as_deref(), Some("https://good.example"));
        // Without case, and the program's own pages too: as for a WebSocket.
        assert_eq!(allowed(method, "https://Good.example").await.as_deref(), Some("https://Good.example"));
        assert_eq!(allowed(method, "http://test").await.as_deref(), Some("http://test"));
        assert_eq!(allowed(method, "https://evil.example").await, None);
    }
    let open = Server::start(&[("DEBUG", "on")]).await;
    let answer = open.ask("GET", "/users", &["origin: https://any.example"], "").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://any.example"));
}

#[tokio::test]
async fn front_ends_may_send_headers_of_their_own_and_read_every_refusal() {
    let listed =
        [("ALLOWED_ORIGINS", "https://*.good.example"), ("MAX_BODY_BYTES", "1024"), ("MAX_MESSAGE_CHARS", "10")];
    let server = Server::start(&listed).await;
    let origin = "origin: https://a.good.example";
    for header in ["authorization", "x-requested-with", "traceparent", "sentry-trace", "baggage", "idempotency-key"] {
        let asked = format!("access-control-request-headers: {header},content-type");
        let answer = server.ask("OPTIONS", "/users", &[origin, "access-control-request-method: PUT", &asked], "").await;
        let told = answer.header("access-control-allow-headers").unwrap_or_default();
        assert!(told.contains(header) && told.contains("content-type"), "{told}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    }
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(3000));
    let refused = server.ask("POST", "/echo", &[JSON, origin], &long).await;
    assert_eq!(refused.status(), 413);
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://a.good.example"));
    assert!(refused.header("x-request-id").is_some());
}

#[tokio::test]
async fn a_trusted_proxys_word_counts() {
    let plain = Server::start(&[]).await;
    let forwarded = ["x-forwarded-for: 9.9.9.9"];
    assert_eq!(plain.ask("GET", "/ip", &forwarded, "").await.body(), "127.0.0.1");
    let behind = Server::start(&[("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    assert_eq!(behind.ask("GET", "/ip", &forwarded, "").await.body(), "9.9.9.9");
}

#[tokio::test]
async fn answers_are_neither_sniffed_nor_stored() {
    let answer = Server::start(&[]).await.get("/users").await;
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"));
    assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
}
