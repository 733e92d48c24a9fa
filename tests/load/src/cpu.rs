//! CPU time and memory of the servers' processes, as the kernel counts them.

use std::collections::BTreeMap;
use std::fs;

/// The parts of a process's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The process.
    Alone(u32),
    /// The process and its children: Postgres serves each connection by one, nginx has workers.
    Family(u32),
}

/// Named processes.
#[derive(Clone, Default)]
pub struct Watched(Vec<(&'static str, Part)>);

/// CPU time of each, in nanoseconds.
pub type Times = BTreeMap<&'static str, u64>;

/// The time that each process has used since it began.
pub struct Moment(BTreeMap<(&'static str, u32), u64>);

impl Watched {
    pub fn with(mut self, name: &'static str, part: Part) -> Self {
        self.0.push((name, part));
        self
    }

    pub fn now(&self) -> Moment {
        let pids = self.0.iter().flat_map(|(name, part)| part.pids().into_iter().map(|pid| (*name, pid)));
        Moment(pids.map(|(name, pid)| ((name, pid), cpu_nanos(pid))).collect())
    }

    /// The time that each has used since `before`. A child that has ended meanwhile is not
    /// counted, one that has begun is.
    pub fn since(&self, before: &Moment) -> Times {
        let mut times: Times = self.0.iter().map(|(name, _)| (*name, 0)).collect();
        for (key, nanos) in self.now().0 {
            *times.entry(key.0).or_default() += nanos.saturating_sub(before.0.get(&key).copied().unwrap_or(0));
        }
        times
    }

    /// Resident memory of one of them, in bytes.
    pub fn resident(&self, name: &str) -> u64 {
        let parts = self.0.iter().filter(|(of, _)| *of == name);
        parts.flat_map(|(_, part)| part.pids()).map(resident).sum()
    }
}

impl Part {
    fn pids(self) -> Vec<u32> {
        match self {
            Self::Alone(pid) => vec![pid],
            Self::Family(pid) => {
                let threads = format!("/proc/{pid}/task/{pid}/children");
                let children = fs::read_to_string(threads).unwrap_or_default();
                std::iter::once(pid).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
            }
        }
    }
}

/// CPU time of all threads of a process by the scheduler's own count, which is in nanoseconds;
/// where the kernel keeps none, by its ticks.
fn cpu_nanos(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let fine: u64 = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    // threads that have ended are in the ticks alone
    fine.max(ticks(pid).unwrap_or(0).saturating_sub(1) * 10_000_000)
}

/// The time that the children of a process used which have ended, to a hundredth of a second.
pub fn ended(pid: Option<u32>) -> u64 {
    let stat = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    let fields = stat.as_deref().and_then(|stat| stat.rsplit_once(')')).map(|(_, fields)| fields.split_whitespace());
    // `cutime` and `cstime` of proc(5)
    fields.map_or(0, |fields| fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
        * 10_000_000
}

/// User and system time in hundredths of a second.
fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}
