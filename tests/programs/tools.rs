//! The sub-commands beside `backup`, `restore` and `doctor`: `migrate`, `completions`, and the
//! version with its commit.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::deployment::SECRET_KEY;
use crate::support::{Deployment, Program, Redis, blocking, limited, postgres, process};

/// Runs a program to its end.
async fn outcome(program: Program, variables: Vec<(&'static str, String)>, words: &'static [&'static str]) -> Output {
    blocking(move || {
        let dir = process::new_dir("tools");
        let mut command = Command::new(program.path().unwrap());
        let output = command.args(words).current_dir(&dir).env_clear().env("HOME", &dir).envs(variables).output();
        process::remove_dir(&dir);
        output.unwrap()
    })
    .await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn the_schema_is_brought_up_before_the_roll_out() {
    limited(async {
        let (server, redis) = (postgres::shared().await, Redis::private().await);
        let database = server.new_database().await;
        let variables = || {
            vec![
                ("DATABASE_URL", database.clone()),
                ("REDIS_URL", redis.url()),
                ("SECRET_KEY", SECRET_KEY.to_owned()),
                ("MIGRATE", "off".to_owned()),
            ]
        };
        let missing = outcome(Program::Api, variables(), &["migrate", "--check"]).await;
        assert_eq!(missing.status.code(), Some(1));
        assert!(text(&missing.stderr).contains("lacks the migrations 1, 2"), "{}", text(&missing.stderr));
        for words in [&["migrate"][..], &["migrate"], &["migrate", "--check"]] {
            let done = outcome(Program::Api, variables(), words).await;
            assert_eq!(done.status.code(), Some(0), "{words:?}: {}", text(&done.stderr));
            assert_eq!(text(&done.stdout), "messenger-api: the schema is up to date\n");
        }
        // Nodes that only wait for it find it.
        let cluster = Deployment::cluster(1, 1).env("DATABASE_URL", &database).env("MIGRATE", "off").start().await;
        cluster.user().await;
        let refused = outcome(Program::Gateway, variables(), &["migrate"]).await;
        assert_eq!(refused.status.code(), Some(2), "gateways have no such command");
    })
    .await;
}

#[tokio::test]
async fn the_embedded_file_is_migrated_too() {
    limited(async {
        let dir = process::new_dir("migrated");
        let file = dir.join("chat.db");
        let variables = || vec![("DATABASE_URL", format!("sqlite:{}", file.display()))];
        let missing = outcome(Program::Messenger, variables(), &["migrate", "--check"]).await;
        assert_eq!(missing.status.code(), Some(1));
        assert!(!file.exists(), "a check makes nothing");
        for words in [&["migrate"][..], &["migrate", "--check"]] {
            let done = outcome(Program::Messenger, variables(), words).await;
            assert_eq!(done.status.code(), Some(0), "{words:?}: {}", text(&done.stderr));
        }
        // Also while the program has the file.
        let running = Deployment::embedded().env("DATABASE_URL", format!("sqlite:{}", file.display())).start().await;
        let done = outcome(Program::Messenger, variables(), &["migrate", "--check"]).await;
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        running.user().await;
        process::remove_dir(&dir);
    })
    .await;
}

/// It may be a password that is nowhere else.
#[tokio::test]
async fn an_answer_that_nobody_gets_is_a_failure() {
    limited(async {
        for words in [&["invite"][..], &["admin", "invite", "--json"], &["completions", "bash"], &["doctor"]] {
            let done = blocking(move || {
                let dir = process::new_dir("full");
                let command = |words: &[&str]| {
                    let mut command = Command::new(Program::Messenger.path().unwrap());
                    command.args(words).current_dir(&dir).env_clear().env("HOME", &dir);
                    command.env("DATABASE_URL", "sqlite:chat.db");
                    command
                };
                assert!(command(&["migrate"]).output().unwrap().status.success());
                let done = command(words).stdout(std::fs::File::create("/dev/full").unwrap()).output().unwrap();
                process::remove_dir(&dir);
                done
            })
            .await;
            assert_eq!(done.status.code(), Some(1), "{words:?}");
            assert!(text(&done.stderr).contains("cannot be written to stdout"), "{words:?}: {}", text(&done.stderr));
        }
    })
    .await;
}

#[tokio::test]
async fn a_word_that_is_missing_is_named() {
    limited(async {
        for (words, missing) in [
            (&["backup"][..], "<FILE>"),
            (&["restore"], "<FILE>"),
            (&["completions"], "<SHELL>"),
            (&["admin", "users", "show"], "<USER>"),
            (&["admin", "sessions", "end", "--json"], "<USER>"),
        ] {
            let done = outcome(Program::Messenger, Vec::new(), words).await;
            assert_eq!(done.status.code(), Some(2), "{words:?}");
            assert!(text(&done.stderr).contains(&format!("command line: lacks {missing}")), "{}", text(&done.stderr));
        }
    })
    .await;
}

#[tokio::test]
async fn a_number_of_a_command_is_one_that_it_takes() {
    const SECONDS: &str = "invite: --expires-in must be from 1 to 315360000 seconds, or 0";
    const USES: &str = "invite: --max-uses must be from 1 to 1000000, or 0";
    limited(async {
        for (words, code, says) in [
            (&["invite", "--expires-in", "-1"][..], 1, SECONDS),
            (&["admin", "invite", "--expires-in", "315360001"], 1, SECONDS),
            (&["invite", "--max-uses", "-4"], 1, USES),
            (&["invite", "--expires-in", "1h"], 2, "--expires-in must be a whole number"),
            (&["invite", "--expires-in", ""], 2, "--expires-in must be a whole number"),
            (&["invite", "--expires-in", "99999999999999999999"], 2, "--expires-in must be a whole number"),
            (&["admin", "invite", "--max-uses=1.5"], 2, "--max-uses must be a whole number"),
            (&["admin", "users", "list", "--limit", "all"], 2, "--limit must be a whole number"),
            (&["admin", "sessions", "end", "ann", "--session", "x"], 2, "--session must be a whole number"),
        ] {
            let done = outcome(Program::Messenger, Vec::new(), words).await;
            let said = text(&done.stderr);
            assert_eq!(done.status.code(), Some(code), "{words:?}: {said}");
            assert!(said.contains(says) && said.lines().count() == 1, "{words:?}: {said}");
        }
    })
    .await;
}

#[tokio::test]
async fn shells_complete_commands_and_flags() {
    limited(async {
        for program in Program::ALL {
            let script = outcome(program, Vec::new(), &["completions", "bash"]).await;
            assert!(script.status.success(), "without any configuration: {}", text(&script.stderr));
            // The words that bash offers after the program's name and a beginning.
            let offered = |beginning: &str| {
                let name = program.name();
                let asked = format!(
                    "{}\nCOMP_WORDS=({name} {beginning}); COMP_CWORD=1; $(complete -p {name} | sed 's/.* -F \\([^ ]*\\).*/\\1/') \
                     {name} {beginning} {name}; echo \"${{COMPREPLY[@]}}\"",
                    text(&script.stdout)
                );
                // Too long for an argument.
                let file = process::new_dir("completions").join("asked");
                std::fs::write(&file, asked).unwrap();
                let mut bash = Command::new("bash");
                bash.arg(file);
                process::run(bash).unwrap()
            };
            assert_eq!(offered("doc").trim(), "doctor", "{program:?}");
            assert_eq!(offered("--drain").trim(), "--drain-seconds", "{program:?}");
            assert_eq!(offered("mig").trim().is_empty(), program == Program::Gateway);
        }
        for shell in ["zsh", "fish"] {
            let words: &'static [&'static str] = if shell == "zsh" { &["completions", "zsh"] } else { &["completions", "fish"] };
            let script = outcome(Program::Messenger, Vec::new(), words).await;
            assert!(text(&script.stdout).contains("doctor"), "{shell}");
        }
    })
    .await;
}

/// The build script's answer for a release's or a developer's build of sources in `root`.
fn commit_of(script: &Path, root: &Path, profile: &str, given: Option<&str>) -> String {
    let mut command = Command::new(script);
    command.env("PROFILE", profile).env("CARGO_MANIFEST_DIR", root.join("common")).env_remove("MESSENGER_COMMIT");
    command.envs(given.map(|commit| ("MESSENGER_COMMIT", commit)));
    let text = process::run(command).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=MESSENGER_COMMIT="));
    line.expect("the variable of the build").to_owned()
}

#[tokio::test]
async fn a_release_names_its_commit_with_git_and_without() {
    limited(async {
        for program in Program::ALL {
            let version = format!("{} {}", program.name(), env!("CARGO_PKG_VERSION"));
            for words in [&["--version"], &["-V"]] {
                let said = outcome(program, Vec::new(), words).await;
                // These are built for development, or a release with its commit.
                assert!(text(&said.stdout).starts_with(&version), "{}", text(&said.stdout));
            }
            let said = outcome(program, Vec::new(), &["-x"]).await;
            assert!(text(&said.stderr).contains("has no flag -x"), "{}", text(&said.stderr));
        }
        blocking(|| {
            let dir = process::new_dir("commit");
            let script = dir.join("script");
            let mut compile = Command::new("rustc");
            compile.args(["--edition", "2024", "-o"]).arg(&script);
            compile.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("common/build.rs"));
            process::run(compile).unwrap();

            let git = |arguments: &[&str]| {
                let mut command = Command::new("git");
                command.arg("-C").arg(dir.join("checkout")).args(["-c", "user.name=a", "-c", "user.email=a@b"]);
                command.args(arguments);
                process::run(command).unwrap()
            };
            for folder in ["checkout/common", "archive/common", "checkout/vendored/common"] {
                std::fs::create_dir_all(dir.join(folder)).unwrap();
            }
            git(&["init", "--quiet"]);
            git(&["commit", "--quiet", "--allow-empty", "--message", "first"]);
            let head = git(&["rev-parse", "HEAD"]);
            let [checkout, archive, vendored] = ["checkout", "archive", "checkout/vendored"].map(|name| dir.join(name));
            assert_eq!(commit_of(&script, &checkout, "release", None), &head[..12]);
            assert_eq!(commit_of(&script, &checkout, "debug", None), "", "the next commit would build all anew");
            assert_eq!(commit_of(&script, &archive, "release", None), "");
            assert_eq!(commit_of(&script, &vendored, "release", None), "", "the commit of other sources");
            assert_eq!(commit_of(&script, &archive, "release", Some("0123456789abcdef")), "0123456789ab");
            assert_eq!(commit_of(&script, &archive, "debug", Some("v1\nx")), "v1x");
            process::remove_dir(&dir);
        })
        .await;
    })
    .await;
}
