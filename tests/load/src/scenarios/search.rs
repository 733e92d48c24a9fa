//! Searches over 1,000,000 messages in 10,000 chats, by users of few chats and of all.

use super::Options;
use crate::embedded::Embedded;
use crate::report::{Report, Row, float};
use crate::sender::{self, Pace, Sent};
use crate::tally::histogram;
use crate::world::{Served, World};

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

/// Who is in which chat: `(chat, user)`.
fn members() -> Vec<(usize, usize)> {
    const STEP: usize = CHATS / EACH + 1;
    let few = (1..=USERS).flat_map(|user| (0..EACH).map(move |k| (1 + (user * EACH + k * STEP) % CHATS, user)));
    let many =
        (USERS + 1..).zip(STEPS).flat_map(|(user, step)| (step..=CHATS).step_by(step).map(move |chat| (chat, user)));
    few.chain(many).collect()
}

pub fn postgres(options: &Options, report: &mut Report) -> Result<(), String> {
    let world = World::start()?;
    seed(&world)?;
    all("search", &world, options, report)
}

pub fn sqlite(options: &Options, report: &mut Report) -> Result<(), String> {
    let world = Embedded::start()?;
    seed_sqlite(&world)?;
    println!("  the file: {} MB", world.size() / 1_000_000);
    all("search-sqlite", &world, options, report)
}

fn seed(world: &World) -> Result<(), String> {
    let members = serde_json::to_string(&members()).map_err(|error| error.to_string())?;
    let members = format!("select (m ->> 0)::bigint, (m ->> 1)::bigint from jsonb_array_elements('{members}') m");
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

/// In transactions of some messages each, as they come.
fn seed_sqlite(world: &Embedded) -> Result<(), String> {
    const BATCH: usize = 1_000;
    world.seed(USERS + STEPS.len(), CHATS, &members())?;
    let mut dice = Dice(0);
    let mut said = || (0..WORDS).map(|_| dice.word()).collect::<Vec<_>>().join(" ");
    for first in (0..MESSAGES).step_by(BATCH) {
        let texts: Vec<String> = (0..BATCH).map(|_| said()).collect();
        let texts = serde_json::to_string(&texts).map_err(|error| error.to_string())?;
        world.sql(format!(
            "begin immediate;
             insert into messages (chat_id, seq, author_id, text, created_at, worded)
             select 1 + n % {CHATS}, 1 + n / {CHATS}, 1 + n % {USERS}, text,
                    (unixepoch() * 1000 - ({MESSAGES} - n)) * 1000, 1
             from (select {first} + key as n, value as text from json_each('{texts}')) order by n;
             insert into message_words (rowid, words, chat)
             select id, text, 'c' || chat_id from messages where id > {first};
             commit;"
        ))?;
    }
    world.sql(format!("update chats set seq = {MESSAGES} / {CHATS}; pragma wal_checkpoint(truncate);"))
}

/// Each kind of question by each kind of user.
fn all(scenario: &str, world: &dyn Served, options: &Options, report: &mut Report) -> Result<(), String> {
    for run in 1..=options.runs {
        let mut every = histogram();
        for (of, users) in askers() {
            let tokens: Vec<String> = users.iter().cycle().take(CONNECTIONS).map(|user| world.token(*user)).collect();
            for (what, query) in QUESTIONS {
                let watched = world.watched();
                let before = watched.now();
                let mut dice = Dice(run as u64);
                let sent = asked(world, options, &tokens, &mut || query(&mut dice))?;
                let times = watched.since(&before);
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
    }
    Ok(())
}

fn asked(
    world: &dyn Served,
    options: &Options,
    tokens: &[String],
    query: &mut dyn FnMut() -> String,
) -> Result<Sent, String> {
    let plan = sender::Plan {
        server: world.server(),
        connections: tokens.len(),
        pace: Pace::Rate(SEARCHES_PER_SECOND),
        lasts: options.lasts,
        request: &mut |out, connection, _, _| {
            sender::get(out, &format!("/messages/search?{}", query()), &tokens[connection]);
        },
    };
    let sent = sender::run(plan).map_err(|error| format!("the searches: {error}\n{}", world.complaints()))?;
    if sent.refused > 0 {
        println!("  !! refused: {}", sent.first_refusal);
    }
    Ok(sent)
}
