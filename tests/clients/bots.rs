//! The bot of each client's README, run exactly as printed.

use std::path::Path;

use super::{Language, each_client_alone, javascript};
use crate::support::deployment::Builder;
use crate::support::node::Node;
use crate::support::process::{self, Process};
use crate::support::{Site, User, blocking, until};

each_client_alone!(the_bot_of_the_readme_survives);

const LINES: usize = 25;

impl Language {
    fn readme(self) -> (&'static str, &'static str) {
        match self {
            Self::Python => ("clients/python/README.md", "python"),
            Self::JavaScript => ("clients/js/README.md", "js"),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Python => "bot.py",
            Self::JavaScript => "bot.mjs",
        }
    }
}

fn printed(language: Language) -> String {
    let (readme, mark) = language.readme();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(readme)).unwrap();
    let (_, rest) = text.split_once("## A bot\n").unwrap();
    let (_, rest) = rest.split_once(&format!("```{mark}\n")).unwrap();
    let bot = rest.split_once("```").unwrap().0.to_owned();
    if language == Language::Python {
        // The README shows the same one.
        let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
        assert!(readme.contains(&format!("```python\n{bot}```")), "the README's bot differs");
    }
    bot
}

async fn start(language: Language, dir: &Path, url: &str, bot: &User) -> Process {
    let (dir, url) = (dir.to_owned(), url.to_owned());
    let (name, password) = (bot.username.clone(), bot.password.clone());
    let started = blocking(move || {
        let command = language.command()?;
        let mut bound = process::bound_command(command.get_program(), "KILL");
        bound.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bound.args(command.get_args()).arg(language.file()).current_dir(dir);
        bound.env("MESSENGER_URL", url).env("BOT_NAME", name).env("BOT_PASSWORD", password);
        Process::start(bound, &std::sync::Arc::default())
    });
    started.await.unwrap()
}

async fn until_answered(ann: &User, bot: &User, chat: i64, text: &str) {
    until(&format!("the answer {text}"), || async { answers(ann, bot, chat, text).await == 1 }).await;
}

async fn answers(ann: &User, bot: &User, chat: i64, text: &str) -> usize {
    let history = ann.history(chat).await;
    let all = history["items"].as_array().unwrap().iter();
    all.filter(|message| message["author_id"] == bot.id && message["text"] == text).count()
}

async fn the_bot_of_the_readme_survives(builder: Builder, language: Language) {
    let d = builder.start().await;
    let site = Site::of(&d).await;
    let (ann, bot) = (d.user().await, d.user_named("bot").await);
    let group = ann.group_id(&[&bot]).await;
    let text = printed(language);
    assert!(text.lines().filter(|line| !line.is_empty()).count() <= LINES);
    let dir = process::new_dir("bot");
    std::fs::write(dir.join(language.file()), text).unwrap();

    if language == Language::JavaScript {
        javascript::install_into(&dir);
    }

    let running = start(language, &dir, &site.url, &bot).await;
    // A private chat is followed from its beginning, so its answer says that the bot is there.
    let private = ann.private_chat_id(&bot).await;
    ann.say(private, "!echo hello").await;
    until_answered(&ann, &bot, private, "hello").await;
    ann.say(group, "!echo one").await;
    ann.say(group, "not for the bot").await;
    until_answered(&ann, &bot, group, "one").await;

    for node in d.nodes() {
        Node::kill_9(&node);
    }
    for node in d.nodes() {
        node.restart().await;
    }
    ann.say(group, "!echo two").await;
    until_answered(&ann, &bot, group, "two").await;

    drop(running);
    ann.say(group, "!echo three").await;
    ann.say(private, "!echo four").await;
    let running = start(language, &dir, &site.url, &bot).await;
    until_answered(&ann, &bot, group, "three").await;
    until_answered(&ann, &bot, private, "four").await;
    ann.say(group, "!echo five").await;
    until_answered(&ann, &bot, group, "five").await;
    for text in ["one", "two", "three", "five"] {
        assert_eq!(answers(&ann, &bot, group, text).await, 1, "{text}");
    }
    drop(running);
    process::remove_dir(&dir);
}
