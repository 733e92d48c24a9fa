//! The actions as sentences, for traces.

use std::fmt;

use super::Action;

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit => write!(f, "an api commits the next event"),
            Self::CommitMembershipChange => write!(f, "client 0's user leaves or joins: committed"),
            Self::Prune => write!(f, "retention takes the oldest event"),
            Self::WriterCrashes(n) => write!(f, "FAULT the api of event {n} dies"),
            Self::RelayCrashes => write!(f, "FAULT the relay dies, its row is free again"),
            Self::LinkDies { g } => write!(f, "FAULT gateway {g}'s bus link goes deaf"),
            Self::ConnectionCut { c } => write!(f, "FAULT client {c} is cut off"),
            Self::StartsOver { c } => write!(f, "client {c} unsubscribes, and subscribes from the beginning"),
            Self::LeftoverArrives { c } => write!(f, "the read for client {c}'s former subscription is there"),
            Self::GatewayCrashes { g } => write!(f, "FAULT gateway {g} dies"),
            Self::FillFails { g } => write!(f, "FAULT gateway {g}'s fill fails"),
            Self::SubscriptionReadFails { c } => write!(f, "FAULT the read for client {c} fails"),
            Self::PublishLost(n) => write!(f, "FAULT {n} is published to nobody"),
            Self::FailsOver => write!(f, "FAULT the bus has another primary; all stay connected to the one before"),
            Self::PublishBeforeCommit(n) => write!(f, "{n} is published before its commit"),
            Self::Publish(n) => write!(f, "the api of event {n} publishes it"),
            Self::PublishAtDemoted(n) => write!(f, "the api of event {n} publishes it at the primary that was"),
            Self::ApisLeaveDemoted => write!(f, "the apis find that it is no primary, and leave it"),
            Self::RemoveRow(n) => write!(f, "the api of event {n} removes its outbox row"),
            Self::RelayTakes(n) => write!(f, "the relay takes row {n}"),
            Self::RelayFinishes => write!(f, "the relay finishes its row"),
            Self::BusExecutes { g } => write!(f, "the bus executes gateway {g}'s next command"),
            Self::GatewayReceives { g } => write!(f, "gateway {g} receives the next push"),
            Self::DeadLinkFound { g } => write!(f, "gateway {g} finds its link dead or demoted: a new one"),
            Self::FillRuns { g } => write!(f, "the store runs gateway {g}'s fill"),
            Self::FillArrives { g } => write!(f, "gateway {g} has the answer to its fill"),
            Self::Sweep { g } => write!(f, "gateway {g}'s sweep finds a higher head"),
            Self::Connect { c, g } => write!(f, "client {c} connects to gateway {g}, subscribes"),
            Self::SubscribeAgain { c } => write!(f, "client {c}, a member again, subscribes"),
            Self::SubscriptionReadRuns { c } => write!(f, "the store runs the read for client {c}"),
            Self::SubscriptionReadArrives { c } => write!(f, "the read for client {c} is there"),
            Self::ShareRead { c } => write!(f, "client {c} gets the answer to another's read"),
            Self::CatchUp { c } => {
                write!(f, "client {c}'s subscription catches up: from the ring, or the store runs its read")
            }
            Self::ClientReads { c } => write!(f, "client {c} reads a frame"),
        }
    }
}
