//! How soon: h, beside a large chat, and i.

use super::{Options, Traffic, measure};
use crate::fleet::Fleet;
use crate::report::{Report, Row, float};
use crate::sender::{self, Pace, Plan};
use crate::world::World;
use std::time::Duration;

/// h
pub fn commit_to_socket(options: &Options, report: &mut Report) -> Result<(), String> {
    const CHATS: usize = 100;
    const SENDERS: usize = 32;
    let world = World::start()?;
    world.seed(
        CHATS + SENDERS,
        CHATS,
        &format!(
            "select n, n from generate_series(1, {CHATS}) n union all
             select c, {CHATS} + u from generate_series(1, {CHATS}) c, generate_series(1, {SENDERS}) u"
        ),
    )?;
    let fleet = Fleet::open((1..=CHATS).map(|n| world.subscriber(n, n)).collect(), true)?;
    let senders: Vec<usize> = (CHATS + 1..=CHATS + SENDERS).collect();
    let mut chat = |n: u64| 1 + n as usize % CHATS;
    for run in 1..=options.runs {
        let measured = measure(&world.watched(), &fleet, 1, || {
            let (pace, lasts) = (Pace::Rate(500.0), options.lasts);
            Traffic { world: &world, senders: &senders, chat: &mut chat, pace, lasts }.run()
        })?;
        let mut row = Row::new("h", "messenger", "500 messages/s over 100 chats", run)
            .cpu(&measured.times, measured.sent.answered)
            .tally(&measured.tally, measured.expected, measured.seconds)
            .latency("send", &measured.sent.latency);
        if let Some(commit) = &measured.tally.commit {
            row = row.latency("created_at to socket", commit);
        }
        report.add(row);
    }
    Ok(())
}

/// Small chats beside one whose events go to thousands of sockets of the same gateway.
pub fn beside_a_large_chat(options: &Options, report: &mut Report) -> Result<(), String> {
    const CHATS: usize = 100;
    const CROWD: usize = 10_000;
    const LARGE: usize = CHATS + 1;
    const SENDER: usize = CHATS + CROWD + 1;
    let world = World::start()?;
    world.seed(
        SENDER,
        LARGE,
        &format!(
            "select n, n from generate_series(1, {CHATS}) n union all
             select {LARGE}, n from generate_series({CHATS} + 1, {SENDER}) n union all
             select n, {SENDER} from generate_series(1, {CHATS}) n"
        ),
    )?;
    let crowd = Fleet::open((CHATS + 1..SENDER).map(|n| world.subscriber(n, LARGE)).collect(), false)?;
    let few = Fleet::open((1..=CHATS).map(|n| world.subscriber(n, n)).collect(), false)?;
    let senders = [SENDER; 8];
    let send = |rate, chat: &mut dyn FnMut(u64) -> usize| {
        Traffic { world: &world, senders: &senders, chat, pace: Pace::Rate(rate), lasts: options.lasts }.run()
    };
    for run in 1..=options.runs {
        for rate in [0.0, 2.0, 10.0] {
            let before = crowd.events();
            let (measured, told) = std::thread::scope(|scope| {
                let told = scope
                    .spawn(|| if rate > 0.0 { send(rate, &mut |_| LARGE).map(|sent| sent.answered) } else { Ok(0) });
                let measured = measure(&world.watched(), &few, 1, || send(200.0, &mut |n| 1 + n as usize % CHATS));
                (measured, told.join())
            });
            let (measured, told) = (measured?, told.map_err(|_| "the sender to the crowd panicked")??);
            let expected = told * CROWD as u64;
            let complete = crowd.wait_for(before + expected, Duration::from_secs(5));
            crowd.check()?;
            let at = format!("200 messages/s over {CHATS} chats, beside {rate}/s to {CROWD} of one chat");
            report.add(
                Row::new("large", "messenger", at, run)
                    .cpu(&measured.times, measured.sent.answered + expected)
                    .tally(&measured.tally, measured.expected, measured.seconds)
                    .with("the crowd has all", f64::from(u8::from(complete))),
            );
        }
    }
    Ok(())
}

/// i
pub fn reads(options: &Options, report: &mut Report) -> Result<(), String> {
    const MESSAGES: usize = 1_000_000;
    const CHATS: usize = 10_000;
    const USERS: usize = 1_000;
    /// Chats of each user.
    const EACH: usize = 100;
    /// Users beside them who are each in a tenth of all chats.
    const BUSY: usize = 10;
    /// From one of a user's chats to the next.
    const STEP: usize = CHATS / EACH + 1;
    let world = World::start()?;
    // a chat's ten members are a thousandth of the users apart
    world.seed(
        USERS + BUSY,
        CHATS,
        &format!(
            "select 1 + (u * {EACH} + k * {STEP}) % {CHATS}, u
             from generate_series(1, {USERS}) u, generate_series(0, {EACH} - 1) k
             union all select c, {USERS} + 1 + c % {BUSY} from generate_series(1, {CHATS}) c"
        ),
    )?;
    world.sql(format!(
        "insert into messages (chat_id, seq, author_id, text, created_at)
         select 1 + n % {CHATS}, 1 + n / {CHATS}, 1 + n % {USERS}, repeat('.', 100), now() - (({MESSAGES} - n) || ' ms')::interval
         from generate_series(0, {MESSAGES} - 1) n order by n;
         update chats set seq = {MESSAGES} / {CHATS}, active_at = now() - (id || ' seconds')::interval;
         update members set read_seq = {MESSAGES} / {CHATS} - user_id % 10;"
    ))?;
    // as a server that has run for a while stands
    for upkeep in ["vacuum analyze", "checkpoint"] {
        world.sql(upkeep.to_owned())?;
    }
    let tokens_of =
        |first: usize, count: usize| -> Vec<String> { (first..first + count).map(|user| world.token(user)).collect() };
    let (ordinary, busy) = (tokens_of(1, 32), tokens_of(USERS + 1, BUSY));
    for run in 1..=options.runs {
        for what in ["history page", "older history page", "chat list", "chat list of 1,000"] {
            let (tokens, rate) = if what == "chat list of 1,000" { (&busy, 100.0) } else { (&ordinary, 500.0) };
            let watched = world.watched();
            let before = watched.now();
            let sent = sender::run(Plan {
                server: world.api(),
                connections: tokens.len(),
                pace: Pace::Rate(rate),
                lasts: options.lasts,
                request: &mut |out, connection, n, _| {
                    let user = connection + 1;
                    let chat = 1 + (user * EACH + n as usize * 37 % EACH * STEP) % CHATS;
                    let path = match what {
                        "history page" => format!("/messages/chat/{chat}?limit=50"),
                        "older history page" => {
                            // somewhere in the middle of the chat
                            let before = chat + (40 + n as usize % 50) * CHATS;
                            format!("/messages/chat/{chat}?limit=50&before={before}")
                        }
                        _ => "/chats/".to_owned(),
                    };
                    sender::get(out, &path, &tokens[connection]);
                },
            })
            .map_err(|error| format!("the readers: {error}\n{}", world.complaints()))?;
            if sent.refused > 0 {
                println!("  !! refused: {}", sent.first_refusal);
            }
            let times = watched.since(&before);
            report.add(
                Row::new("i", "messenger", format!("{what}, {rate} requests/s"), run)
                    .cpu(&times, sent.answered)
                    .with("requests/s", float(sent.answered) / sent.seconds)
                    .with("refused", float(sent.refused))
                    .latency("answer", &sent.latency),
            );
        }
    }
    Ok(())
}
