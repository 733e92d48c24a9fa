//! One process on a machine of one's own: `deploy/caddy` in front of it, by Debian's Caddy, and
//! `deploy/systemd` around it, checked by systemd's own tools and by what the program asks of the
//! kernel.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use reqwest::Method;

use super::walk::walk;
use super::{known_variables, shipped};
use crate::support::process::{self, Log, Process};
use crate::support::user::User;
use crate::support::ws::request;
use crate::support::{Answer, Deployment, Program, Rest, SOON, Way, Ws, blocking, eventually, limited, ports};

/// A program of Debian's, with its package if it is not there.
fn debian(name: &str, package: &str) -> PathBuf {
    if process::find_program(name).is_none() {
        process::install(package).unwrap();
    }
    process::find_program(name).unwrap_or_else(|| panic!("no {name} after installing {package}"))
}

#[tokio::test]
async fn caddy_leads_to_it_and_logs_no_token() {
    limited(async {
        let shipped = shipped("deploy/caddy/Caddyfile");
        // Only loopback is a proxy: the limits then see who is behind Caddy.
        let messenger = Deployment::embedded()
            .env("TRUSTED_PROXIES", "127.0.0.1,::1")
            .env("RATE_LIMITS", "on")
            // Four for the walk, and two.
            .env("RATE_LOGINS_PER_MINUTE", "6")
            .start()
            .await;
        let (dir, port) = (process::new_dir("caddy"), ports::free_port());
        let site = shipped
            .replace("chat.example.org", &format!("http://127.0.0.1:{port}"))
            .replace("127.0.0.1:8000", &format!("127.0.0.1:{}", messenger.api(0).port()));
        std::fs::write(dir.join("shipped"), &shipped).unwrap();
        // Into the options that it has, of which a file has one block.
        let site = site.strip_prefix("{\n").map_or_else(|| format!("}}\n{site}"), str::to_owned);
        std::fs::write(dir.join("Caddyfile"), format!("{{\n\tadmin off\n{site}")).unwrap();
        let log = Arc::<Log>::default();
        let _caddy = {
            let (dir, log) = (dir.clone(), Arc::clone(&log));
            blocking(move || {
                let caddy = debian("caddy", "caddy");
                let mut valid = Command::new(&caddy);
                valid.args(["validate", "--adapter", "caddyfile", "--config"]).arg(dir.join("shipped"));
                valid.env("HOME", &dir);
                process::run(valid).unwrap();
                let mut command = process::bound_command(caddy, "KILL");
                command.args(["run", "--config"]).arg(dir.join("Caddyfile")).current_dir(&dir).env("HOME", &dir);
                Process::start(command, &log).unwrap()
            })
            .await
        };
        let url = format!("http://127.0.0.1:{port}");
        let rest = Rest::new(vec![url.clone()], vec![url.clone()], 0);
        eventually("Caddy answers", SOON, async || {
            let asked = rest.request(Method::GET, "/").header("accept", "application/json");
            Answer::try_of(asked).await.ok().filter(|answer| answer.status == 200)
        })
        .await;

        let (_, users) = walk(&rest, &url.replace("http", "ws")).await.end().await;

        // The client is Caddy's to name, and nothing that it claims of itself counts.
        let login = serde_json::json!({"username": "nobody", "password": "not a password"});
        let mut codes = Vec::new();
        for turn in 0..4 {
            let asked = rest.request(Method::POST, "/auth/login").json(&login);
            codes.push(Answer::of(asked.header("x-forwarded-for", format!("192.0.2.{turn}"))).await.status);
        }
        assert_eq!(codes[3], 429, "{codes:?}");

        // Nor where nobody answers, which Caddy logs with the request.
        messenger.api(0).kill_9();
        for user in &users {
            let asked = rest.request(Method::GET, &format!("/auth/me?token={}", user.access));
            assert_eq!(Answer::of(asked.bearer_auth(&user.access)).await.status, 502);
            for way in [Way::Path, Way::Header, Way::Subprotocol] {
                let shaken = Ws::handshake(request(&url.replace("http", "ws"), way, &user.access)).await;
                assert!(shaken.is_err(), "{way:?}");
            }
        }
        let log = eventually("Caddy says that nobody answers", SOON, async || {
            let lines = log.since(0);
            let failed = lines.iter().filter(|line| line.contains("connection refused")).count();
            (failed >= 4 * users.len()).then(|| lines.join("\n"))
        })
        .await;
        for part in users.iter().flat_map(|user| user.access.split('.')).filter(|part| part.len() > 8) {
            assert!(!log.contains(part), "Caddy logs tokens: {log}");
        }
        process::remove_dir(&dir);
    })
    .await;
}

/// The shipped unit with a program that is there.
fn unit(dir: &Path) -> PathBuf {
    let text = shipped("deploy/systemd/messenger.service");
    assert!(text.contains("ExecStart=/usr/local/bin/messenger\n"));
    let program = Program::Messenger.path().unwrap();
    let file = dir.join("messenger.service");
    std::fs::write(&file, text.replace("/usr/local/bin/messenger\n", &format!("{}\n", program.display()))).unwrap();
    file
}

/// The values of a key of the unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[tokio::test]
async fn systemd_takes_the_unit_and_calls_it_safe() {
    blocking(|| {
        let systemd = debian("systemd-analyze", "systemd");
        let dir = process::new_dir("systemd");
        let file = unit(&dir);
        let mut verify = Command::new(&systemd);
        verify.args(["verify", "--man=no"]).arg(&file);
        process::run(verify).unwrap();
        // Tenths of systemd's exposure: 9.6 is a unit that says nothing.
        let safe = |file: &Path| {
            let mut security = Command::new(&systemd);
            security.args(["security", "--no-pager", "--offline=true", "--threshold=15"]).arg(file);
            process::run(security)
        };
        safe(&file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("ProtectSystem=strict\n", "").replace("DynamicUser=yes\n", "")).unwrap();
        safe(&file).unwrap_err();
        process::remove_dir(&dir);
    })
    .await;
    let unit = shipped("deploy/systemd/messenger.service");
    let known = known_variables();
    for pair in values(&unit, "Environment").iter().flat_map(|line| line.split(' ')) {
        let (name, value) = pair.split_once('=').unwrap();
        assert!(known.contains(name), "{name} is no variable of ours");
        assert!(name != "DATABASE_URL" || value.starts_with("sqlite:/var/lib/messenger/"), "{value}");
    }
    assert_eq!(values(&unit, "StateDirectory"), ["messenger"]);
}

/// The names of the calls in a set of systemd's, sets within it included.
fn calls_of(set: &str) -> BTreeSet<String> {
    let mut list = Command::new("systemd-analyze");
    list.args(["syscall-filter", "--no-pager", set]);
    let text = process::run(list).unwrap();
    let names = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    names.flat_map(|name| if name.starts_with('@') { calls_of(name) } else { [name.to_owned()].into() }).collect()
}

/// All that the program asks of the kernel from its start to its end, with sockets and messages in
/// between, is let through by the unit's filter.
#[tokio::test]
async fn the_units_filter_lets_the_program_live() {
    limited(async {
        let (dir, port) = (process::new_dir("traced"), ports::free_port());
        let trace = dir.join("trace");
        let log = Arc::<Log>::default();
        let mut process = {
            let (dir, log, trace) = (dir.clone(), Arc::clone(&log), trace.clone());
            blocking(move || {
                let mut command = process::bound_command(debian("strace", "strace"), "KILL");
                // The program ends with strace, and strace with the test.
                command.args(["-f", "-qq", "-o"]).arg(&trace).args(["setpriv", "--pdeathsig", "KILL"]);
                let database = format!("sqlite:{}", dir.join("messenger.sqlite").display());
                let port = port.to_string();
                let env = [("HOST", "127.0.0.1"), ("PORT", &port), ("DEBUG", "false"), ("DATABASE_URL", &database)];
                command.arg(Program::Messenger.path().unwrap()).current_dir(&dir).env_clear().envs(env);
                command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
                Process::start(command, &log).unwrap()
            })
            .await
        };
        let url = format!("http://127.0.0.1:{port}");
        let rest = Rest::new(vec![url.clone()], vec![url.clone()], 0);
        eventually("it is up", SOON, async || {
            let asked = rest.request(Method::GET, "/").header("accept", "application/json");
            Answer::try_of(asked).await.ok().filter(|answer| answer.status == 200)
        })
        .await;
        let ann = User::register(rest.anonymous(), vec![url.replace("http", "ws")], "ann").await;
        let chat = ann.group_id(&[]).await;
        let mut socket = ann.connect().await;
        socket.subscribe(chat).await;
        ann.say(chat, "traced").await;
        socket.expect("new_message").await;
        let metrics = format!("http://127.0.0.1:{}/metrics", port + 1000);
        assert_eq!(Answer::of(reqwest::Client::new().get(metrics)).await.status, 200);
        // The first process that strace follows is the program: setpriv became it.
        let text = std::fs::read_to_string(&trace).unwrap();
        let pid: i32 = text.split(' ').next().unwrap().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
        blocking(move || process.wait(SOON).unwrap()).await;

        // From where setpriv became the program.
        let text = std::fs::read_to_string(&trace).unwrap();
        let text = &text[text.rfind(" execve(").unwrap()..];
        let called: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
            .map(|(call, _)| call.to_owned())
            .filter(|call| call.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'))
            .collect();
        assert!(called.contains("epoll_wait") && called.contains("accept4"), "{called:?}");
        let unit = shipped("deploy/systemd/messenger.service");
        let [allowed, denied] = values(&unit, "SystemCallFilter")[..] else { panic!("two filters") };
        let denied: BTreeSet<_> = denied.trim_start_matches('~').split(' ').flat_map(calls_of).collect();
        let mut allowed = calls_of(allowed);
        // systemd always lets these through.
        allowed.extend(calls_of("@default"));
        // SQLite gives a new file to the user of its folder, as root only, which the unit is not.
        let of_root = |call: &str| process::is_root() && call == "fchown";
        let refused: Vec<_> = called
            .iter()
            .filter(|call| denied.contains(*call) || !allowed.contains(*call))
            .filter(|call| !of_root(call))
            .collect();
        assert!(refused.is_empty(), "the unit refuses {refused:?}");
        process::remove_dir(&dir);
    })
    .await;
}
