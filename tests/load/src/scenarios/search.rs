//! Searches over 1,000,000 messages in 10,000 chats, by users of few chats and of all.

use super::Options;
use crate::cpu::Watched;
use crate::report::{Report, Row, float};
use crate::sender::{self, Pace, Sent};
use crate::tally::histogram;
use crate::world::World;
use std::net::SocketAddr;

const CHATS: usize = 10_000;
const MESSAGES: usize = 1_000_000;
/// Users of ten chats each.
const USERS: usize = 10_000;
const EACH: usize = 10;
/// Users of more chats, behind the others: the step between their chats.
const STEPS: [usize; 3] = [CHATS / 100, CHATS / 1_000, 1];
const WORDS: usize = 12;
/// Distinct words; the nth is said 1 / n times as often as the first (Zipf).
const VOCABULARY: usize = 1 << 16;
const SEARCHES_PER_SECOND: f64 = 20.0;
const CONNECTIONS: usize = 4;

/// The users who ask, and in how many chats each of them is.
fn askers() -> [(&'static str, Vec<usize>); 4] {
    [
        ("10 chats", (1..=CONNECTIONS).collect()),
        ("100 chats", vec![USERS + 1]),
        ("1,000 chats", vec![USERS + 2]),
        ("10,000 chats", vec![USERS + 3]),
    ]
}

/// The kinds of questions, and the query of one whose numbers are given.
type Question = (&'static str, fn(&mut Dice) -> String);
const QUESTIONS: [Question; 6] = [
    ("a word", |dice| format!("q={}", dice.word())),
    ("two words", |dice| format!("q={}+{}", dice.word(), dice.word())),
    ("a beginning", |dice| format!("q={}", &dice.word()[..3])),
    ("a word and a beginning", |dice| format!("q={}+{}", dice.word(), &dice.word()[..2])),
    ("a phrase", |dice| format!("q=%22{}+{}%22", dice.frequent(), dice.frequent())),
    ("an absent word", |_| "q=absent".to_owned()),
];

/// Numbers that are the same in each run (splitmix64).
struct Dice(u64);

impl Dice {
    /// Below one.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        float((mixed ^ (mixed >> 31)) >> 11) / float(1 << 53)
    }

    /// A word, each as often as it is said.
    fn word(&mut self) -> String {
        spelled((self.next() * (VOCABULARY as f64).ln()).exp() as usize - 1)
    }

    /// One of the thirty that are said most.
    fn frequent(&mut self) -> String {
        spelled((self.next() * 30.0) as usize)
    }
}

/// The word of a rank, as `SPELLED` spells it: four letters, neighbours unlike.
fn spelled(rank: usize) -> String {
    let hex = format!("{:04x}", rank * 7_919 % VOCABULARY);
    hex.bytes().map(|c| char::from(if c.is_ascii_digit() { c - b'0' + b'g' } else { c })).collect()
}

/// The same in SQL, of the expression `rank`.
const SPELLED: &str = "translate(lpad(to_hex(rank * 7919 % 65536), 4, '0'), '0123456789', 'ghijklmnop')";

pub fn postgres(options: &Options, report: &mut Report) -> Result<(), String> {
    let world = World::start()?;
    seed(&world)?;
    let asked = Asked { server: world.api(), watched: world.watched(), token: &|user| world.token(user) };
    for run in 1..=options.runs {
        asked.all("search", options, report, run).map_err(|error| format!("{error}\n{}", world.complaints()))?;
    }
    Ok(())
}

fn seed(world: &World) -> Result<(), String> {
    const STEP: usize = CHATS / EACH + 1;
    let many = STEPS.iter().enumerate().map(|(n, step)| {
        format!(" union all select c, {} from generate_series({step}, {CHATS}, {step}) c", USERS + 1 + n)
    });
    let members = format!(
        "select 1 + (u * {EACH} + k * {STEP}) % {CHATS}, u
         from generate_series(1, {USERS}) u, generate_series(0, {EACH} - 1) k {}",
        many.collect::<String>()
    );
    world.seed(USERS + STEPS.len(), CHATS, &members)?;
    // an index that is made afterwards is made sooner
    world.sql(format!(
        "create temporary table made as select pg_get_indexdef('messages_found'::regclass) as definition;
         drop index messages_found;
         insert into messages (chat_id, seq, author_id, text, created_at, words)
         select 1 + n % {CHATS}, 1 + n / {CHATS}, 1 + n % {USERS}, said.text,
                now() - (({MESSAGES} - n) || ' ms')::interval, to_tsvector('simple', said.text)
         from generate_series(0, {MESSAGES} - 1) n cross join lateral (
             select string_agg({SPELLED}, ' ') as text
             from (select floor(exp(random() * ln({VOCABULARY})))::int - 1 + 0 * n as rank from generate_series(1, {WORDS})) w
         ) said order by n;
         update chats set seq = {MESSAGES} / {CHATS};
         do $$ begin execute (select definition from made); end $$;"
    ))?;
    // as a server that has run for a while stands
    for upkeep in ["vacuum analyze", "checkpoint"] {
        world.sql(upkeep.to_owned())?;
    }
    Ok(())
}

/// A messenger that is asked.
struct Asked<'a> {
    server: SocketAddr,
    watched: Watched,
    token: &'a dyn Fn(usize) -> String,
}

impl Asked<'_> {
    /// Each kind of question by each kind of user.
    fn all(&self, scenario: &str, options: &Options, report: &mut Report, run: usize) -> Result<(), String> {
        let mut every = histogram();
        for (of, users) in askers() {
            let tokens: Vec<String> = users.iter().cycle().take(CONNECTIONS).map(|user| (self.token)(*user)).collect();
            for (what, query) in QUESTIONS {
                let before = self.watched.now();
                let mut dice = Dice(run as u64);
                let sent = self.asked(options, &tokens, &mut || query(&mut dice))?;
                let times = self.watched.since(&before);
                every.add(&sent.latency).map_err(|error| error.to_string())?;
                report.add(
                    Row::new(scenario, "messenger", format!("{what}, of {of}"), run)
                        .cpu(&times, sent.answered)
                        .with("refused", float(sent.refused))
                        .latency("answer", &sent.latency),
                );
            }
        }
        report.add(Row::new(scenario, "messenger", "all of these", run).latency("answer", &every));
        Ok(())
    }

    fn asked(&self, options: &Options, tokens: &[String], query: &mut dyn FnMut() -> String) -> Result<Sent, String> {
        let plan = sender::Plan {
            server: self.server,
            connections: tokens.len(),
            pace: Pace::Rate(SEARCHES_PER_SECOND),
            lasts: options.lasts,
            request: &mut |out, connection, _, _| {
                sender::get(out, &format!("/messages/search?{}", query()), &tokens[connection]);
            },
        };
        let sent = sender::run(plan).map_err(|error| format!("the searches: {error}"))?;
        if sent.refused > 0 {
            println!("  !! refused: {}", sent.first_refusal);
        }
        Ok(sent)
    }
}
