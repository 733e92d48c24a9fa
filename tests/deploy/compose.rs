//! `deploy/compose.yaml`: no container engine runs here, so it is read, and compared with the
//! image, with the other shipped files and with itself. Its Redis is started as it says, and
//! tried.

use std::collections::BTreeSet;

use super::images::stages;
use super::python::document;
use super::{known_variables, root, shipped};
use crate::support::{Deployment, Redis, Value, limited};

/// Variables that may differ between other people's images and our programs.
const OTHERS_VARIABLES: [&str; 4] = ["POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "REDISCLI_AUTH"];
/// Values from outside, each with the file's own words where it is missing.
const SECRETS: [&str; 3] = ["SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"];

async fn compose() -> Value {
    document(&shipped("deploy/compose.yaml")).await
}

/// The names `host` of `host:port` in a text, each with its port.
fn addresses(text: &str) -> BTreeSet<(String, String)> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split([' ', '"', ',', '[', ']', ';']))
        .filter_map(|word| word.split_once(':'))
        .filter(|(host, port)| !host.is_empty() && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|(host, port)| (host.to_owned(), port.to_owned()))
        .collect()
}

#[tokio::test]
async fn compose_has_the_whole_cluster() {
    let compose = compose().await;
    let stages = stages();
    let services = compose["services"].as_object().unwrap();
    let names: Vec<_> = services.keys().map(String::as_str).collect();
    let expected = "alertmanager api1 api2 gateway1 gateway2 gateway3 grafana haproxy nginx postgres prometheus redis";
    for name in expected.split(' ') {
        assert!(names.contains(&name), "no {name}");
    }
    let (mut public, mut admin) = (BTreeSet::new(), BTreeSet::new());
    for (name, service) in services {
        if let Some(target) = service["build"]["target"].as_str() {
            assert_eq!(service["build"]["dockerfile"], "deploy/Dockerfile");
            let stage = stages.get(target).unwrap_or_else(|| panic!("{name}: no stage {target}"));
            public.insert((name.clone(), stage.variable("PORT").unwrap()));
            admin.insert((name.clone(), stage.variable("ADMIN_PORT").unwrap()));
            assert!(service["ports"].is_null(), "{name} is reached through nginx only");
            assert_eq!(service["read_only"], true);
            assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]));
            for needed in ["postgres", "redis"] {
                assert_eq!(service["depends_on"][needed]["condition"], "service_healthy", "{name}");
            }
            let grace = service["stop_grace_period"].as_str().unwrap().trim_end_matches('s');
            let drain = service["environment"]["DRAIN_SECONDS"].as_str().unwrap();
            assert!(grace.parse::<u32>().unwrap() >= drain.parse::<u32>().unwrap() + 10, "{name}");
            // The image brings the health check of our own programs.
        } else {
            let image = service["image"].as_str().unwrap();
            let tag = image.rsplit_once(':').unwrap_or_else(|| panic!("{image}: which version?")).1;
            assert_ne!(tag, "latest", "{name}");
            assert!(service["healthcheck"]["test"].is_array(), "{name}");
        }
        for volume in service["volumes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let source = volume.split(':').next().unwrap();
            let is_there = match source.strip_prefix("./") {
                Some(path) => root().join("deploy").join(path).exists(),
                None => compose["volumes"].get(source).is_some(),
            };
            assert!(is_there, "{name}: no {source}");
        }
    }
    assert_eq!(
        addresses(&shipped("deploy/nginx/upstreams.conf")),
        public,
        "nginx serves the public ports, all of them"
    );
    let haproxy = shipped("deploy/haproxy/haproxy.cfg");
    assert_eq!(
        addresses(&haproxy[haproxy.find("\nbackend ").unwrap()..]),
        public,
        "HAProxy serves the public ports, all of them"
    );
    let scraped = addresses(&shipped("deploy/prometheus/targets/api.yml"))
        .into_iter()
        .chain(addresses(&shipped("deploy/prometheus/targets/gateway.yml")))
        .collect::<BTreeSet<_>>();
    assert_eq!(scraped, admin, "Prometheus scrapes the admin ports, all of them");

    let listen = shipped("deploy/nginx/listen.conf");
    let (_, listen) = listen.split_once("\nlisten ").unwrap();
    let published = services["nginx"]["ports"][0].as_str().unwrap();
    assert!(published.ends_with(&format!(":{}", listen.trim().trim_end_matches(';'))));
    let haproxy_port = services["haproxy"]["ports"][0].as_str().unwrap().rsplit_once(':').unwrap().1;
    assert!(haproxy.contains(&format!("bind :{haproxy_port}\n")));
    for name in ["prometheus", "alertmanager", "grafana"] {
        let published = services[name]["ports"][0].as_str().unwrap();
        assert!(published.starts_with("127.0.0.1:"), "{name} is for this machine only");
    }
    let alerts = services["alertmanager"]["volumes"][0].as_str().unwrap();
    assert!(alerts.starts_with("./alertmanager:"), "Alertmanager has the shipped configuration");
    let heard = addresses(&shipped("deploy/prometheus/targets/alertmanager.yml"));
    assert_eq!(heard, [("alertmanager".to_owned(), "9093".to_owned())].into());
}

#[tokio::test]
async fn compose_has_known_variables_and_no_secret() {
    let compose = compose().await;
    let known = known_variables();
    let address = |name: &str| compose["services"][name]["networks"]["front"]["ipv4_address"].as_str().unwrap();
    for (name, service) in compose["services"].as_object().unwrap() {
        let Some(environment) = service["environment"].as_object() else { continue };
        for (variable, value) in environment {
            let is_others = OTHERS_VARIABLES.contains(&variable.as_str()) || variable.starts_with("GF_");
            let is_known = if service["build"].is_object() { known.contains(variable) } else { is_others };
            assert!(is_known, "{name}: {variable} is no variable of ours");
            let value = value.as_str().expect("a text, as environment variables are");
            let secret = match variable.as_str() {
                "DATABASE_URL" => Some("POSTGRES_PASSWORD"),
                "REDIS_URL" | "REDISCLI_AUTH" => Some("REDIS_PASSWORD"),
                other => SECRETS.into_iter().find(|secret| *secret == other),
            };
            if let Some(secret) = secret {
                assert!(value.contains(&format!("${{{secret}:?")), "{name}: {variable} must come from outside");
            }
            if variable == "TRUSTED_PROXIES" {
                assert_eq!(value, format!("{},{}", address("nginx"), address("haproxy")), "{name}");
            }
        }
    }
    let head = shipped("deploy/compose.yaml");
    let head = head.split("\nname:").next().unwrap();
    assert!(SECRETS.iter().all(|secret| head.contains(secret)), "the head says how to make each secret");
    assert!(shipped(".gitignore").lines().any(|line| line == ".env"), "deploy/.env is nobody's but the operator's");
}

/// A text of compose's with its variables in place.
fn filled(text: &str, password: &str) -> String {
    let Some((before, rest)) = text.split_once("${REDIS_PASSWORD:?") else { return text.to_owned() };
    let (_, after) = rest.split_once('}').unwrap();
    format!("{before}{password}{after}")
}

#[tokio::test]
async fn its_redis_serves_the_programs_and_nobody_without_the_password() {
    limited(async {
        let compose = compose().await;
        let password = "f00d".repeat(16);
        let command = compose["services"]["redis"]["command"].as_array().unwrap();
        let words: Vec<String> = command.iter().map(|word| filled(word.as_str().unwrap(), &password)).collect();
        assert_eq!(words[0], "redis-server");
        let options: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let redis = Redis::with_options(&options).await;
        let refused = redis.try_command(&["PING"]).await.unwrap_err().to_string();
        assert!(refused.contains("NOAUTH"), "{refused}");

        let environment = &compose["services"]["api1"]["environment"];
        let url = filled(environment["REDIS_URL"].as_str().unwrap(), &password);
        let url = url.replace("redis:6379", &redis.address());
        let cluster = Deployment::cluster(1, 1).redis(&redis).env("REDIS_URL", &url).start().await;
        let (ann, bob) = (cluster.user().await, cluster.user().await);
        let chat = ann.group_id(&[&bob]).await;
        let mut socket = bob.connect().await;
        socket.subscribe(chat).await;
        ann.say(chat, "through a Redis with a password").await;
        socket.expect("new_message").await;
        for node in cluster.nodes() {
            assert!(!node.log().since(0).join("\n").contains(&password), "{} logged the password", node.name());
        }
    })
    .await;
}
