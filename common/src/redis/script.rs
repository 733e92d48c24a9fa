//! Lua scripts: called by their digest, sent whole when the server does not know them. Calls of one
//! script for many keys are one command, where one server has them all.

use redis::{Cmd, RedisResult, Value};

/// Arguments of one command at most.
const ARGUMENTS: usize = 4_000;

/// A Lua script.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    digest: String,
    /// The same for several calls.
    together: String,
    digest_of_together: String,
}

impl Script {
    /// A script of this text, which begins with its KEYS and ARGV. All its keys must be in one
    /// slot.
    pub fn new(text: &'static str) -> Self {
        let together = include_str!("together.lua").replace("-- THE SCRIPT", text);
        let digest = |text: &str| redis::Script::new(text).get_hash().to_owned();
        Self { text, digest: digest(text), digest_of_together: digest(&together), together }
    }

    /// A call with these keys. [`ScriptCall::arg`] adds arguments.
    pub fn call(&self, keys: &[&str]) -> ScriptCall<'_> {
        ScriptCall { script: self, keys: keys.iter().map(|key| (*key).to_owned()).collect(), arguments: Cmd::new() }
    }
}

/// A script with its keys and arguments.
pub struct ScriptCall<'a> {
    script: &'a Script,
    keys: Vec<String>,
    arguments: Cmd,
}

impl ScriptCall<'_> {
    /// One more of `ARGV`.
    pub fn arg(&mut self, value: impl redis::ToRedisArgs) -> &mut Self {
        self.arguments.arg(value);
        self
    }

    fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        self.arguments.args_iter().filter_map(|argument| match argument {
            redis::Arg::Simple(bytes) => Some(bytes),
            _ => None,
        })
    }
}

/// Calls that are one command.
pub(super) struct Group<'a>(&'a [ScriptCall<'a>]);

/// Groups the calls; each is a group of its own where they do not go `together`.
pub(super) fn groups<'a>(calls: &'a [ScriptCall<'a>], together: bool) -> Vec<Group<'a>> {
    let mut groups = Vec::new();
    let mut rest = calls;
    while let Some(first) = rest.first() {
        let mut arguments = 0;
        let fits = |call: &&ScriptCall<'_>| {
            arguments += call.arguments.args_iter().count() + 3;
            std::ptr::eq(call.script, first.script) && arguments <= ARGUMENTS
        };
        let length = if together { rest.iter().take_while(fits).count().max(1) } else { 1 };
        let (group, others) = rest.split_at(length);
        groups.push(Group(group));
        rest = others;
    }
    groups
}

impl Group<'_> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn by_digest(&self) -> Cmd {
        match self.0 {
            [one] => self.command("EVALSHA", &one.script.digest),
            several => {
                self.command("EVALSHA", several.first().map_or("", |call| call.script.digest_of_together.as_str()))
            }
        }
    }

    pub(super) fn whole(&self) -> Cmd {
        match self.0 {
            [one] => self.command("EVAL", one.script.text),
            several => self.command("EVAL", several.first().map_or("", |call| call.script.together.as_str())),
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.0.iter().map(|call| call.keys.len()).sum::<usize>());
        for key in self.0.iter().flat_map(|call| &call.keys) {
            command.arg(key);
        }
        for call in self.0 {
            if self.0.len() > 1 {
                command.arg(call.keys.len()).arg(call.arguments().count());
            }
            for argument in call.arguments() {
                command.arg(argument);
            }
        }
        command
    }

    /// The answers of the calls that were run.
    pub(super) fn split(&self, answer: RedisResult<Value>) -> Vec<RedisResult<Value>> {
        match answer {
            Ok(Value::Array(answers)) if self.len() > 1 && !answers.is_empty() => answers.into_iter().map(Ok).collect(),
            answer if self.len() > 1 => self.0.iter().map(|_| copy(&answer)).collect(),
            answer => vec![answer],
        }
    }
}

/// The same answer, for each call of a command that was not run.
fn copy(answer: &RedisResult<Value>) -> RedisResult<Value> {
    match answer {
        Ok(value) => Ok(value.clone()),
        Err(error) => Err((redis::ErrorKind::Io, "the command failed", error.to_string()).into()),
    }
}
