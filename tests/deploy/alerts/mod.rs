//! `deploy/prometheus/alerts.yml`: each rule fires for what it is there for and for nothing less,
//! names metrics that there are, and has its page in the handbook.

mod firing;
mod named;

use std::collections::BTreeSet;

use super::python::document;
use super::watch::promtool;
use super::{root, shipped};
use crate::support::{Value, blocking, process};

/// The files of `tests/deploy/alerts`, one for each group of rules, and one for two deployments
/// beside each other.
const TESTS: [&str; 5] = ["clients", "delivery", "limits", "namespaces", "nodes"];

async fn shipped_rules() -> Value {
    document(&shipped("deploy/prometheus/alerts.yml")).await
}

/// The rules of all groups.
fn rules(file: &Value) -> impl Iterator<Item = &Value> {
    file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
}

fn name(rule: &Value) -> &str {
    rule["alert"].as_str().unwrap()
}

#[tokio::test]
async fn the_rules_pass_their_tests() {
    for file in TESTS {
        let tests = root().join(format!("tests/deploy/alerts/{file}.yml"));
        let said = blocking(move || process::run(promtool(&["test", "rules", tests.to_str().unwrap()]))).await;
        assert!(said.is_ok(), "{}", said.unwrap_err());
    }
}

/// Series that rules leave out, since another alert is about them.
const GUARDS: [&str; 7] = [
    " and on (namespace, job, instance) messenger_db_pool_size > 0",
    " and on (namespace, job, instance) messenger_build_info",
    " and on (namespace, job, instance) last_over_time(messenger_build_info[30m])",
    " and on (namespace, job, instance) (messenger_db_pool_size > 0 or time() - process_start_time_seconds > 3600)",
    " unless on (namespace, job, instance) increase(messenger_ws_disconnects_total{code=\"1012\"}[5m]) > 0",
    " unless on (namespace, job, instance) min_over_time(messenger_backplane_up[5m]) < 1",
    " unless on (namespace, job, instance) messenger_backplane_up < 1",
];

/// The rule after a slip of the pen: deaf, shrill, without its guard, over all deployments at once,
/// hasty or late.
fn broken(rule: &Value) -> Vec<(&'static str, Value)> {
    let with = |field: &str, value: String| {
        let mut broken = rule.clone();
        broken[field] = value.into();
        broken
    };
    let expr = rule["expr"].as_str().unwrap();
    let (measured, limit) = ["==", ">"]
        .iter()
        .find_map(|sign| expr.rsplit_once(&format!(" {sign} ")))
        .unwrap_or_else(|| panic!("{}: what is it compared with?", name(rule)));
    let mut broken = vec![("deaf", with("expr", format!("({expr}) > 1e12")))];
    broken.extend(
        GUARDS
            .iter()
            .filter(|guard| expr.contains(*guard))
            // A rule may have two: named by the one that it lacks.
            .map(|guard| (guard.trim_start(), with("expr", expr.replace(guard, "")))),
    );
    if expr.contains("namespace") {
        broken.push(("mixed", with("expr", expr.replace("(namespace, ", "(").replace("(namespace)", "()"))));
    }
    if let Some((seen, _)) = expr.split_once(" or absent_over_time(") {
        // Down only where nothing is scraped, where one is not ready, or where one was before.
        let heedless = expr.replace(" and on (namespace, job, instance) messenger_serving == 1", "");
        broken.push(("heedless", with("expr", heedless)));
        broken.push(("shrill", with("expr", expr.replace("messenger_serving == 1", "messenger_serving > 1"))));
        broken.push(("forgetful", with("expr", seen.to_owned())));
    } else {
        assert!(limit.chars().any(|digit| digit.is_ascii_digit()), "{}: {limit}", name(rule));
        broken.push(("shrill", with("expr", format!("{measured} >= 0"))));
        broken.push(("half as strict", with("expr", format!("({measured}) / 100 >= {limit}"))));
    }
    if rule["for"].is_string() {
        broken.push(("hasty", with("for", "0s".to_owned())));
        broken.push(("late", with("for", "8h".to_owned())));
    }
    broken
}

/// The same test of rules under other names.
fn retold(test: &Value, names: &[String]) -> Value {
    let mut test = test.clone();
    let told = test["alert_rule_test"].as_array().unwrap();
    let again = names.iter().flat_map(|name| {
        told.iter().map(move |one| {
            let mut one = one.clone();
            one["alertname"] = name.clone().into();
            one
        })
    });
    test["alert_rule_test"] = again.collect();
    test
}

/// A rule and its broken ones stand in one file, each under a name of its own, and meet the tests
/// of the sound one; all files in one run.
#[tokio::test]
async fn the_tests_of_each_rule_fail_when_it_is_broken() {
    let mut tests = Vec::new();
    for file in TESTS {
        let document = document(&shipped(&format!("tests/deploy/alerts/{file}.yml"))).await;
        tests.extend(document["tests"].as_array().unwrap().clone());
    }
    let (dir, mut names) = (process::new_dir("rules"), Vec::new());
    let mut words = vec!["test".to_owned(), "rules".to_owned()];
    let shipped = shipped_rules().await;
    for guard in GUARDS {
        assert!(rules(&shipped).any(|rule| rule["expr"].as_str().unwrap().contains(guard)), "no rule has{guard}");
    }
    for rule in rules(&shipped) {
        let of_rule = |test: &&Value| test["alert_rule_test"][0]["alertname"] == rule["alert"];
        let tests: Vec<&Value> = tests.iter().filter(of_rule).collect();
        assert!(tests.len() >= 2, "{}: when it fires and when it does not", name(rule));
        let (mut of_one, mut all) = (vec![name(rule).to_owned()], vec![rule.clone()]);
        for (how, mut broken) in broken(rule) {
            of_one.push(format!("{} but {how}", name(rule)));
            broken["alert"] = of_one[of_one.len() - 1].clone().into();
            all.push(broken);
        }
        let tests: Vec<Value> = tests.into_iter().map(|test| retold(test, &of_one)).collect();
        let (rules, file) = (format!("{}.yml", name(rule)), dir.join(format!("{}-tests.yml", name(rule))));
        let group = serde_json::json!({"groups": [{"name": "one", "rules": all}]});
        std::fs::write(dir.join(&rules), group.to_string()).unwrap();
        let tests = serde_json::json!({"rule_files": [rules], "evaluation_interval": "15s", "tests": tests});
        std::fs::write(&file, tests.to_string()).unwrap();
        words.push(file.to_str().unwrap().to_owned());
        names.extend(of_one);
    }
    let said = blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        process::run(promtool(&words))
    })
    .await;
    process::remove_dir(&dir);
    let said = said.expect_err("no test failed");
    for name in names {
        let has_failed = said.contains(&format!("alertname: {name}, time:"));
        assert_eq!(has_failed, name.contains(" but "), "{name}\n{said}");
    }
}

#[tokio::test]
async fn each_rule_has_a_severity_and_a_page_of_the_handbook() {
    let handbook = shipped("docs/OPERATIONS.md");
    let pages: BTreeSet<_> = handbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let file = shipped_rules().await;
    let names: BTreeSet<_> = rules(&file).map(name).collect();
    for rule in rules(&file) {
        assert!(["page", "ticket"].iter().any(|known| rule["labels"]["severity"] == *known), "{}", name(rule));
        assert!(rule["annotations"]["summary"].is_string(), "{}", name(rule));
        let page = format!("docs/OPERATIONS.md#{}", name(rule).to_lowercase());
        assert_eq!(rule["annotations"]["runbook"], page);
        assert!(pages.contains(name(rule)), "docs/OPERATIONS.md has no page ### {}", name(rule));
    }
    for page in pages.iter().filter(|page| page.starts_with("Messenger")) {
        assert!(names.contains(page), "docs/OPERATIONS.md: no rule {page}");
    }
}
