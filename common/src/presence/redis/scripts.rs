//! The scripts of presence.

use crate::redis::script::Script;

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) arrive: Script,
    pub(super) depart: Script,
    pub(super) renew: Script,
    pub(super) forget: Script,
    pub(super) listed: Script,
    pub(super) lead: Script,
    /// Of one bucket.
    pub(super) sweep: Script,
    /// Of all buckets, and the claim with it.
    pub(super) sweep_all: Script,
    pub(super) acknowledge: Script,
    pub(super) published: Script,
}

/// A script that begins with the head of all.
macro_rules! headed {
    ($($name:literal),+) => {
        concat!(include_str!("../scripts/head.lua"), $(include_str!(concat!("../scripts/", $name, ".lua"))),+)
    };
}

impl Scripts {
    pub(super) fn new() -> Self {
        let (lead, sweep) = (include_str!("../scripts/lead.lua"), headed!("mend", "sweep"));
        Self {
            arrive: Script::new(headed!("arrive")),
            depart: Script::new(headed!("depart")),
            renew: Script::new(headed!("renew")),
            forget: Script::new(headed!("forget")),
            listed: Script::new(include_str!("../scripts/listed.lua")),
            lead: Script::new(lead),
            sweep: Script::new(sweep),
            sweep_all: Script::of(&[("claim", lead), ("sweep", sweep)], include_str!("../scripts/sweep_all.lua")),
            acknowledge: Script::new(include_str!("../scripts/acknowledge.lua")),
            published: Script::new(include_str!("../scripts/published.lua")),
        }
    }
}
