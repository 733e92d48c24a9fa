//! Lua scripts: called by their digest, sent whole when the server does not know them. Where one
//! server has all keys, several calls of a script are one command: of what a small call costs the
//! server, most is the command.

use redis::{Cmd, RedisResult, Value};

/// The work of one command at most, in commands that its calls run about: some two milliseconds of
/// the server's one thread.
const WORK_PER_COMMAND: usize = 1_500;
/// The work of a call beside that for each of its items.
const WORK_PER_CALL: usize = 10;

/// A Lua script.
#[derive(Debug)]
pub struct Script {
    alone: Text,
    /// The same for several calls.
    together: Text,
}

#[derive(Debug)]
struct Text {
    text: String,
    digest: String,
}

impl Text {
    fn new(text: String) -> Self {
        Self { digest: redis::Script::new(&text).get_hash().to_owned(), text }
    }
}

impl Script {
    /// A script of this text, which begins with its KEYS and ARGV. All its keys must be in one
    /// slot.
    pub fn new(text: &str) -> Self {
        let together =
            format!("{}{}{}", function("body", text), include_str!("attempt.lua"), include_str!("together.lua"));
        Self { alone: Text::new(text.to_owned()), together: Text::new(together) }
    }

    /// A script that runs others' texts, each as a [`function`], by `attempt`; one server alone can
    /// run it. Its own text is the last.
    pub fn of(functions: &[(&str, &str)], text: &str) -> Self {
        let functions: String = functions.iter().map(|(name, text)| function(name, text)).collect();
        Self::new(&format!("{functions}{}{text}", include_str!("attempt.lua")))
    }

    /// A call with these keys. [`ScriptCall::arg`] adds arguments.
    pub fn call(&self, keys: &[&str]) -> ScriptCall<'_> {
        let mut arguments = Cmd::new();
        for key in keys {
            arguments.arg(*key);
        }
        ScriptCall { script: self, keys: keys.len(), arguments, work: WORK_PER_CALL }
    }
}

/// A script's text as a function of its KEYS and ARGV.
fn function(name: &str, text: &str) -> String {
    format!("local function {name}(KEYS, ARGV)\n{text}\nend\n")
}

/// A script with its keys and arguments.
pub struct ScriptCall<'a> {
    script: &'a Script,
    keys: usize,
    /// The keys, then the arguments.
    arguments: Cmd,
    work: usize,
}

impl ScriptCall<'_> {
    /// One more of `ARGV`.
    pub fn arg(&mut self, value: impl redis::ToRedisArgs) -> &mut Self {
        self.arguments.arg(value);
        self
    }

    /// The call runs so many commands more, about: fewer calls are one command then.
    pub fn works(&mut self, commands: usize) -> &mut Self {
        self.work += commands;
        self
    }

    fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.arguments.args_iter().filter_map(|argument| match argument {
            redis::Arg::Simple(bytes) => Some(bytes),
            _ => None,
        })
    }
}

/// Calls of one script that are one command.
pub(super) struct Group<'a>(&'a [ScriptCall<'a>]);

/// Groups neighbouring calls; each is by itself where they do not go `together`.
pub(super) fn groups<'a>(calls: &'a [ScriptCall<'a>], together: bool) -> Vec<Group<'a>> {
    let mut work = 0;
    let is_one = |before: &ScriptCall<'_>, call: &ScriptCall<'_>| {
        // The first of a group has its work counted with the second's.
        work = if work == 0 { before.work } else { work } + call.work;
        let fits = together && std::ptr::eq(before.script, call.script) && work <= WORK_PER_COMMAND;
        if !fits {
            work = 0;
        }
        fits
    };
    calls.chunk_by(is_one).map(Group).collect()
}

impl<'a> Group<'a> {
    /// How many calls they are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The same calls, each by itself.
    pub(super) fn each(&self) -> impl Iterator<Item = Group<'a>> + use<'a> {
        self.0.chunks(1).map(Group)
    }

    /// The command that names the script by its digest.
    pub(super) fn by_digest(&self) -> Cmd {
        self.command("EVALSHA", |text| &text.digest)
    }

    /// The command that bears the whole script.
    pub(super) fn whole(&self) -> Cmd {
        self.command("EVAL", |text| &text.text)
    }

    fn command(&self, name: &str, of: impl Fn(&Text) -> &str) -> Cmd {
        let is_several = self.0.len() > 1;
        let mut command = redis::cmd(name);
        if let Some(ScriptCall { script, .. }) = self.0.first() {
            command.arg(of(if is_several { &script.together } else { &script.alone }));
        }
        command.arg(self.0.iter().map(|call| call.keys).sum::<usize>());
        for call in self.0 {
            for key in call.all().take(call.keys) {
                command.arg(key);
            }
        }
        for call in self.0 {
            if is_several {
                command.arg(call.keys).arg(call.arguments.args_iter().len() - call.keys);
            }
            for argument in call.all().skip(call.keys) {
                command.arg(argument);
            }
        }
        command
    }

    /// The answers of its calls. A command that was refused is each call's refusal.
    pub(super) fn split(&self, answer: RedisResult<Value>) -> Vec<RedisResult<Value>> {
        match (self.0.len(), answer) {
            (several @ 2.., Ok(Value::Array(answers))) if answers.len() == several => {
                answers.into_iter().map(Ok).collect()
            }
            (several, answer) => vec![answer; several],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_script_go_together_up_to_what_one_command_may_do() {
        let (one, other) = (Script::new("return 1"), Script::new("return 2"));
        let call = |script: &'static Script, work| {
            let mut call = script.call(&["key"]);
            call.works(work);
            call
        };
        let (one, other): (&'static Script, &'static Script) = (Box::leak(Box::new(one)), Box::leak(Box::new(other)));
        let sizes = |of: &[(&'static Script, usize)], together| -> Vec<usize> {
            let calls: Vec<_> = of.iter().map(|(script, work)| call(script, *work)).collect();
            groups(&calls, together).iter().map(|group| group.0.len()).collect()
        };
        assert_eq!(sizes(&[], true), [] as [usize; 0]);
        assert_eq!(sizes(&[(one, 0); 3], false), [1, 1, 1], "a cluster");
        assert_eq!(sizes(&[(one, 0), (one, 5), (other, 0), (other, 0)], true), [2, 2]);
        let half = WORK_PER_COMMAND / 2 - WORK_PER_CALL;
        assert_eq!(sizes(&[(one, half); 5], true), [2, 2, 1]);
        assert_eq!(sizes(&[(one, half + 1); 3], true), [1, 1, 1]);
        assert_eq!(sizes(&[(one, 9_000), (one, 0), (one, 0)], true), [1, 2], "what is too much goes by itself");
        let many = vec![(one, 0); 2 * WORK_PER_COMMAND / WORK_PER_CALL];
        assert_eq!(sizes(&many, true), [WORK_PER_COMMAND / WORK_PER_CALL; 2]);
    }
}
