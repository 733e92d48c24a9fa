//! `deploy/Dockerfile`: no container engine runs here, so it is read, and compared with what it
//! builds from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use super::{known_variables, root, shipped};
use crate::support::{Node, Value, blocking, ports, process, shared};

const PROGRAMS: [&str; 3] = ["messenger", "messenger-api", "messenger-gateway"];

/// One stage of a Dockerfile.
pub(super) struct Stage {
    from: String,
    /// (`COPY`, `rest of the line`), continuation lines joined
    steps: Vec<(String, String)>,
}

impl Stage {
    fn all<'a>(&'a self, instruction: &'a str) -> impl Iterator<Item = &'a str> {
        self.steps.iter().filter(move |(name, _)| name == instruction).map(|(_, rest)| rest.as_str())
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let mut pairs = self.all("ENV").flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    /// The paths copied from the repository, and their targets.
    fn copied(&self) -> Vec<(Vec<&str>, &str)> {
        self.all("COPY")
            .filter(|rest| !rest.contains("--from="))
            .map(|rest| {
                let mut words: Vec<_> = rest.split_whitespace().collect();
                let target = words.pop().unwrap();
                (words, target)
            })
            .collect()
    }
}

/// The stages by name.
pub(super) fn stages() -> BTreeMap<String, Stage> {
    let text = shipped("deploy/Dockerfile");
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", "\n\u{1f}");
    let mut stages = BTreeMap::new();
    let mut current = String::new();
    for step in joined.split('\n').fold(Vec::<String>::new(), |mut steps, line| {
        if let Some(rest) = line.strip_prefix('\u{1f}') {
            let step = steps.last_mut().unwrap();
            step.push(' ');
            step.push_str(rest.trim());
        } else if !line.trim().is_empty() {
            steps.push(line.trim().to_owned());
        }
        steps
    }) {
        let (instruction, rest) = step.split_once(' ').unwrap();
        if instruction == "FROM" {
            let (from, name) = rest.split_once(" AS ").expect("a stage has a name");
            name.clone_into(&mut current);
            stages.insert(current.clone(), Stage { from: from.to_owned(), steps: Vec::new() });
        } else {
            let stage = stages.get_mut(&current).expect("FROM comes first");
            stage.steps.push((instruction.to_owned(), rest.trim().to_owned()));
        }
    }
    stages
}

/// The instruction as it holds in a stage: its own, or that of the stage it is from.
fn inherited<'a>(stages: &'a BTreeMap<String, Stage>, name: &str, instruction: &'a str) -> Option<&'a str> {
    let stage = stages.get(name)?;
    stage.all(instruction).last().or_else(|| inherited(stages, &stage.from, instruction))
}

/// The script of a stage's health check, which bash runs with `ADMIN_PORT` set.
fn health_check(stage: &str) -> String {
    let stages = stages();
    let check = inherited(&stages, stage, "HEALTHCHECK").expect("a health check").to_owned();
    let (_, command) = check.split_once("CMD ").unwrap();
    let words: Vec<String> = serde_json::from_str(command).unwrap();
    assert_eq!(words[..2], ["bash", "-c"]);
    words[2].clone()
}

#[test]
fn the_image_is_built_from_what_is_there() {
    let stages = stages();
    let toolchain = shipped("rust-toolchain.toml");
    let (_, version) = toolchain.split_once("channel = \"").unwrap();
    let version = version.split('"').next().unwrap();
    assert_eq!(stages["build"].from, format!("rust:{version}-slim-bookworm"));

    let ignored = shipped(".dockerignore");
    let mut in_context = BTreeSet::new();
    for (sources, _) in stages["build"].copied() {
        for source in sources {
            assert!(root().join(source).exists(), "{source} is not in the repository");
            let is_let_in = ignored
                .lines()
                .filter_map(|line| line.strip_prefix('!'))
                .any(|kept| Path::new(source).starts_with(kept));
            assert!(is_let_in, "{source}: .dockerignore keeps it from the builder");
            in_context.insert(source.trim_end_matches('/').to_owned());
        }
    }
    let manifest = shipped("Cargo.toml");
    let members = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    for member in members.split(',').map(|member| member.trim().trim_matches('"')).filter(|member| !member.is_empty()) {
        if member.starts_with("tests/") {
            continue;
        }
        assert!(in_context.contains(&format!("{member}/Cargo.toml")), "{member}'s manifest is not copied");
        assert!(in_context.contains(member), "{member} is not copied");
    }
}

/// The layer of the dependencies: what is copied before the first build makes a workspace that
/// cargo accepts.
#[tokio::test]
async fn the_layer_of_dependencies_is_a_workspace() {
    let stages = stages();
    let dir = process::new_dir("image");
    for (instruction, rest) in &stages["build"].steps {
        match instruction.as_str() {
            "COPY" => {
                let mut words: Vec<_> = rest.split_whitespace().collect();
                let target = dir.join(words.pop().unwrap());
                std::fs::create_dir_all(&target).unwrap();
                for source in words {
                    let name = Path::new(source).file_name().unwrap();
                    std::fs::copy(root().join(source), target.join(name)).unwrap();
                }
            }
            "RUN" if rest.starts_with("cargo build") => break,
            "RUN" if rest.starts_with("set -eu") => {
                let mut script = Command::new("sh");
                script.args(["-c", rest]).current_dir(&dir);
                process::run(script).unwrap();
            }
            _ => {}
        }
    }
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(&dir);
    let metadata: Value = serde_json::from_str(&blocking(|| process::run(metadata)).await.unwrap()).unwrap();
    let binaries: BTreeSet<_> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        // in the workspace, but not built into an image
        .filter(|package| package["name"] != "messenger-load")
        .flat_map(|package| package["targets"].as_array().unwrap())
        .filter(|target| target["kind"][0] == "bin")
        .map(|target| target["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(binaries, PROGRAMS.map(str::to_owned).into());
    process::remove_dir(&dir);
}

#[test]
fn images_run_one_program_each_and_not_as_root() {
    let stages = stages();
    for (stage, program) in [("api", "messenger-api"), ("gateway", "messenger-gateway"), ("messenger", "messenger")] {
        let copied: Vec<_> = stages[stage].all("COPY").filter(|rest| rest.contains("/out/messenger")).collect();
        assert_eq!(copied, [format!("--from=build /out/{program} /usr/local/bin/")], "its own program and no other");
        assert_eq!(inherited(&stages, stage, "ENTRYPOINT"), Some(format!("[\"{program}\"]").as_str()));
        let user = inherited(&stages, stage, "USER").expect("a user");
        let (user, group) = user.split_once(':').unwrap();
        assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
        let stage = &stages[stage];
        for port in ["PORT", "ADMIN_PORT"] {
            let port = stage.variable(port).unwrap();
            assert!(stage.all("EXPOSE").any(|ports| ports.split(' ').any(|exposed| exposed == port)));
        }
        for pair in stage.all("ENV").flat_map(str::split_whitespace) {
            let (name, _) = pair.split_once('=').unwrap();
            assert!(known_variables().contains(name), "{name} is no variable of ours");
        }
    }
    // Every other stage that is copied from exists.
    for (_, rest) in stages.values().flat_map(|stage| &stage.steps) {
        if let Some((_, from)) = rest.split_once("--from=") {
            assert!(stages.contains_key(from.split(' ').next().unwrap()), "{rest}");
        }
    }
}

/// The images' health check against real nodes: well while they serve, ill when nobody answers or
/// says otherwise. Some engines end a container that is ill, which brings no Redis back.
#[tokio::test]
async fn the_health_check_tells_who_serves() {
    let is_well = |stage: &str, admin_port: &str| {
        let mut check = Command::new("bash");
        check.args(["-c", &health_check(stage)]).env("ADMIN_PORT", admin_port);
        blocking(|| process::run(check))
    };
    let admin_port = |node: &Node| node.admin_url().rsplit_once(':').unwrap().1.to_owned();
    let (cluster, embedded) = (shared::cluster().await, shared::embedded().await);
    for (stage, node) in [("api", cluster.api(0)), ("gateway", cluster.gateway(0)), ("messenger", embedded.api(0))] {
        assert!(health_check(stage).contains(" /servez "), "{stage}");
        is_well(stage, &admin_port(node)).await.unwrap();
        // The public port answers, but not that it serves.
        assert!(is_well(stage, &node.port().to_string()).await.is_err(), "{stage}");
        assert!(is_well(stage, &ports::free_port().to_string()).await.is_err(), "{stage}");
    }
}
