//! A real nginx with `deploy/nginx`, in front of a real cluster: only the addresses in `listen.conf` and `upstreams.conf`
//! are the test's own.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::Method;

use super::{copy_of, shipped};
use crate::support::process::{self, Log, Process};
use crate::support::ws::request;
use crate::support::{
    Answer, Deployment, Node, Rest, SOON, User, Value, Way, Ws, blocking, eventually, eventually_blocking, json,
    limited, ports, shared,
};

/// A running load balancer; it ends with this value.
struct Balancer {
    port: u16,
    dir: PathBuf,
    log: Arc<Log>,
    process: Process,
}

impl Balancer {
    async fn before(deployment: &Deployment) -> Self {
        let ports = |nodes: &[Arc<Node>]| nodes.iter().map(|node| node.port()).collect::<Vec<_>>();
        let (apis, gateways) = (ports(deployment.apis()), ports(deployment.gateways()));
        blocking(move || Self::start(&apis, &gateways)).await
    }

    fn start(apis: &[u16], gateways: &[u16]) -> Self {
        if process::find_program("nginx").is_none() {
            process::install("nginx").unwrap();
        }
        let nginx = process::find_program("nginx").expect("nginx after installing it");
        let dir = process::new_dir("nginx");
        let port = ports::free_port();
        let config = copy_of("deploy/nginx", &dir);
        let listen = shipped("deploy/nginx/listen.conf").replace("listen 8080;", &format!("listen 127.0.0.1:{port};"));
        std::fs::write(config.join("listen.conf"), listen).unwrap();
        let mut upstreams = shipped("deploy/nginx/upstreams.conf");
        for (name, shipped_port, ports) in [("api", 8000, apis), ("gateway", 8001, gateways)] {
            assert_eq!(ports.len(), 2);
            for (number, port) in (1..).zip(ports) {
                let shipped = format!("server {name}{number}:{shipped_port} ");
                assert!(upstreams.contains(&shipped), "no `{shipped}`");
                upstreams = upstreams.replace(&shipped, &format!("server 127.0.0.1:{port} "));
            }
        }
        std::fs::write(config.join("upstreams.conf"), upstreams).unwrap();

        // Its workers end when it is asked to end, not when it is killed.
        let mut command = process::bound_command(nginx, "TERM");
        command.arg("-p").arg(&dir).arg("-c").arg(config.join("nginx.conf")).args(["-g", "daemon off;"]);
        let log = Arc::<Log>::default();
        let process = Process::start(command, &log).unwrap();
        let mut balancer = Self { port, dir, log, process };
        let up = eventually_blocking("nginx", SOON, || {
            let is_up = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            (is_up || balancer.process.exited().is_some()).then_some(is_up)
        });
        assert_eq!(up, Ok(true), "{}", balancer.written());
        balancer
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    fn rest(&self) -> Rest {
        Rest::new(vec![self.url()], vec![self.url()], 0)
    }

    async fn user(&self) -> User {
        User::register(self.rest(), vec![self.ws_url()], "balanced").await
    }

    /// All that it has written.
    fn written(&self) -> String {
        self.log.since(0).join("\n")
    }

    /// The lines of the access log.
    fn accesses(&self) -> Vec<Value> {
        let lines = self.log.since(0);
        lines.iter().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for the line of a request, which comes when the request is over.
    async fn access(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("the log of {what}"), SOON, || {
            let found = self.accesses().into_iter().find(&wanted);
            async { found }
        })
        .await
    }

    fn assert_tells_no_token(&self, users: &[&User]) {
        let written = self.written();
        for user in users {
            for token in [&user.access, &user.refresh] {
                assert!(!written.contains(token.as_str()), "a token of {} in the log", user.username);
                // Nor a part of one: header, claims and signature.
                for part in token.split('.').filter(|part| part.len() > 8) {
                    assert!(!written.contains(part), "a part of {}'s token in the log:\n{written}", user.username);
                }
            }
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- nginx ---\n{}", self.written());
        }
        self.process.signal(Signal::SIGTERM);
        self.process.wait(Duration::from_secs(10)).ok();
        process::remove_dir(&self.dir);
    }
}

/// The value of a metric without labels.
async fn metric(node: &Node, name: &str) -> Option<i64> {
    let page = reqwest::get(format!("{}/metrics", node.admin_url())).await.ok()?.text().await.ok()?;
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[tokio::test]
async fn the_walk_through_goes_through_it() {
    limited(async {
        let cluster = shared::cluster().await;
        let balancer = Balancer::before(&cluster).await;
        let (ann, bob) = (balancer.user().await, balancer.user().await);

        let root = balancer.rest().request(Method::GET, "/").header("accept", "application/json");
        assert!(Answer::of(root).await.ok(200)["name"].is_string());
        assert_eq!(ann.rest.get("/auth/me").await.ok(200)["username"], ann.username.as_str());
        let openapi = balancer.rest().get("/openapi.json").await.ok(200);
        assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"));

        // Eight sockets of four people, by all ways in: some on each gateway.
        let (eve, dan) = (balancer.user().await, balancer.user().await);
        let chat = ann.group_id(&[&bob, &eve, &dan]).await;
        let mut sockets = Vec::new();
        for user in [&ann, &bob, &eve, &dan] {
            for way in [Way::Path, if user.id % 2 == 0 { Way::Header } else { Way::Subprotocol }] {
                let mut socket = user.open(0, way).await;
                assert_eq!(socket.expect_welcome().await["user_id"], user.id);
                assert_eq!(socket.subscribe(chat).await["chat_id"], chat);
                sockets.push(socket);
            }
        }
        for gateway in cluster.gateways() {
            let connections = metric(gateway, "messenger_ws_connections").await.unwrap();
            assert!(connections > 0, "{} has no socket", gateway.name());
        }

        // Everybody hears everybody, over REST and over sockets.
        let mut expected = Vec::new();
        for (number, user) in [&ann, &bob, &eve, &dan].into_iter().enumerate() {
            let text = format!("over REST {number}");
            user.say(chat, &text).await;
            expected.push(text);
        }
        #[expect(clippy::needless_range_loop, reason = "the others are indexed too")]
        for number in 0..sockets.len() {
            let text = format!("over socket {number}");
            let command = json!({"type": "send_message", "chat_id": chat, "text": text});
            assert_eq!(sockets[number].command(command).await["type"], "message_sent");
            expected.push(text);
        }
        for socket in &mut sockets {
            let mut last = None;
            for text in &expected {
                let event = socket.expect_in("new_message", chat).await;
                assert_eq!(event["message"]["text"], text.as_str());
                let seq = event["seq"].as_i64().unwrap();
                assert!(last.is_none_or(|last| seq == last + 1), "{seq} after {last:?}");
                last = Some(seq);
            }
        }

        // An edit, a deletion, who is typing, a private message.
        let message = ann.say(chat, "to be changed").await;
        let path = message["id"].to_string();
        ann.rest.put(&format!("/messages/edit/{path}"), json!({"text": "changed"})).await.ok(200);
        ann.rest.delete(&format!("/messages/delete/{path}")).await.ok(204);
        sockets[0].send(json!({"type": "typing", "chat_id": chat})).await;
        let private = json!({"type": "private_message", "recipient_id": bob.id, "text": "just us"});
        assert_eq!(sockets[0].command(private).await["type"], "message_sent");
        for socket in &mut sockets[2..] {
            assert_eq!(socket.expect_in("message_edited", chat).await["message"]["text"], "changed");
            assert_eq!(socket.expect_in("message_deleted", chat).await["message_id"], message["id"]);
            assert_eq!(socket.expect_in("typing", chat).await["user_id"], ann.id);
        }
        for socket in &mut sockets[2..4] {
            let wanted = |frame: &Value| frame["message"]["text"] == "just us";
            socket.expect_where("the private message", SOON, wanted).await;
        }
        let history = bob.history(chat).await;
        assert_eq!(history["items"].as_array().unwrap().len(), expected.len());
        let online = dan.rest.get(&format!("/ws/chat/{chat}/online-users")).await.ok(200);
        assert_eq!(online["count"], 4);

        // A bad token is told by a close, through nginx too.
        let mut refused =
            Ws::open(&balancer.ws_url(), Way::Path, "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2lnbmF0dXJl").await;
        assert_eq!(refused.expect_close(SOON).await.0, 4501);

        for socket in sockets {
            socket.close().await;
        }
        let masked = |line: &Value| line["path"] == "/ws/(masked)" && line["status"] == 101;
        let line = balancer.access("a socket", masked).await;
        assert_ne!(line["upstream"], "");
        balancer.access("the plain socket", |line| line["path"] == "/ws/chat" && line["status"] == 101).await;
        let path = format!("/ws/chat/{chat}/online-users");
        balancer.access("an address without a token", |line| line["path"] == path.as_str()).await;
        balancer.assert_tells_no_token(&[&ann, &bob, &eve, &dan]);
    })
    .await;
}

/// A request whose path the client does not tidy up.
async fn raw_status(port: u16, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    tokio::time::timeout(SOON, exchange).await.unwrap()
}

#[tokio::test]
async fn it_hides_tokens_and_admin_ports_and_speaks_the_contracts_errors() {
    limited(async {
        let cluster = shared::cluster().await;
        let balancer = Balancer::before(&cluster).await;
        let ann = balancer.user().await;
        let token = &ann.access;

        // However a token gets into an address, it does not get into the log.
        let astray = [
            format!("/ws/chat/{token}"),
            format!("/ws/chat/{token}/"),
            format!("/ws/chat/{token}?token={token}"),
            format!("//ws//chat//{token}"),
            format!("/%77s/chat/{token}"),
            format!("/WS/chat/{token}"),
            format!("/ws/{token}"),
            format!("/chat/{token}"),
            format!("/auth/me?access_token={token}"),
            format!("/{}/{token}", "a".repeat(9000)),
            format!("/ws/chat/{token} {token}"),
        ];
        for path in &astray {
            let status = raw_status(balancer.port, path).await;
            assert!(status.parse::<u16>().is_ok_and(|status| status >= 400), "{path}: {status}");
        }
        let logged = || balancer.accesses().into_iter().filter(|line| line["status"].as_u64() >= Some(400)).count();
        eventually("a line for each", SOON, || {
            let all = (logged() >= astray.len()).then_some(());
            async move { all }
        })
        .await;
        balancer.assert_tells_no_token(&[&ann]);

        for path in ["/metrics", "/healthz", "/readyz", "/ws/metrics"] {
            balancer.rest().get(path).await.problem(404, "not_found");
        }

        // Whether the api or nginx finds it too large, the client reads the same.
        for size in [300_000, 3_000_000] {
            let body = json!({"chat_id": 1, "text": "x".repeat(size)});
            let answer = ann.rest.post("/messages/send", body).await;
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert!(answer.header("x-request-id").is_some());
            answer.problem(413, "too_large");
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_gone_is_passed_over() {
    limited(async {
        let cluster = Deployment::cluster(2, 2).start().await;
        let balancer = Balancer::before(&cluster).await;
        let (ann, bob) = (balancer.user().await, balancer.user().await);
        let chat = ann.group_id(&[&bob]).await;

        cluster.api(0).kill_9();
        cluster.gateway(0).kill_9();
        // What is not idempotent goes on as well: nothing of it reached the dead one.
        for number in 0..20 {
            ann.say(chat, &format!("message {number}")).await;
        }
        for _ in 0..6 {
            let mut socket = bob.connect().await;
            socket.subscribe(chat).await;
            socket.close().await;
        }
        assert_eq!(bob.history(chat).await["items"].as_array().unwrap().len(), 20);

        cluster.api(1).kill_9();
        cluster.gateway(1).kill_9();
        let answer = ann.rest.get("/auth/me").await;
        assert!(answer.header("retry-after").is_some() && answer.header("x-request-id").is_some());
        answer.problem(503, "unavailable");
        let handshake = Ws::handshake(request(&balancer.ws_url(), Way::Path, &bob.access)).await;
        assert!(handshake.is_err(), "a socket with no gateway");
        balancer.access("the refusal", |line| line["path"] == "/ws/(masked)" && line["status"] == 503).await;
        // nginx tells of failed upstreams with the whole request line, if one lets it.
        balancer.assert_tells_no_token(&[&ann, &bob]);
    })
    .await;
}

#[tokio::test]
async fn the_rate_limits_see_the_client_and_believe_nothing_it_says() {
    limited(async {
        let cluster = Deployment::cluster(2, 2)
            .env("RATE_LIMITS", "on")
            .env("RATE_REGISTRATIONS_PER_MINUTE", 5)
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .start()
            .await;
        let balancer = Balancer::before(&cluster).await;
        let register = async |from: &str, number: usize| {
            let from: IpAddr = from.parse().unwrap();
            let http = reqwest::Client::builder().no_proxy().local_address(from).timeout(SOON).build().unwrap();
            let name = crate::support::user::fresh_name("limited");
            let mut email = name.clone();
            write!(email, "@example.org").unwrap();
            let request = http
                .post(format!("{}/auth/register", balancer.url()))
                .header("x-forwarded-for", format!("192.0.2.{number}"))
                .json(&json!({"username": name, "email": email, "password": "correct horse battery"}));
            Answer::of(request).await
        };
        let mut refused = 0;
        for number in 0..12 {
            let answer = register("127.0.0.2", number).await;
            if answer.status != 201 {
                answer.problem(429, "rate_limited");
                refused += 1;
            }
        }
        assert!(refused >= 5, "only {refused} of 12 were refused: it believed the client");
        register("127.0.0.3", 0).await.ok(201);
    })
    .await;
}
