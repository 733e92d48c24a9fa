//! The contract's guarantees, each tested by breaking something on purpose: processes killed,
//! links cut, stalled and refused, servers stopped and started again. The tests of G1 to G3 run a
//! [`load`] meanwhile and count what became of it; each prints a line.

mod crowd;
mod figures;
mod g1_durable;
mod g2_history;
mod g2_large;
mod g2_order;
mod g2_replica;
mod g2_standby;
mod g2_tail;
mod g2_unreadable;
mod g3_cluster;
mod g3_failover;
mod g3_sentinel;
mod g3_soon;
mod g4_once;
mod g5_failover;
mod g5_faults;
mod g5_idle;
mod g5_missed;
mod g5_notices;
mod g5_presence;
mod g5_sweeper;
mod g6_access;
mod g6_behind;
mod g6_identity;
mod g7_notices;
mod g7_slow_readers;
mod g8_restarts;
mod g9_floods;
mod g9_joins;
mod g9_online;
mod g9_places;
mod g9_roles;
mod g9_sockets;
mod g9_unread;
mod load;
mod reader;
mod tally;
pub mod watch;
mod writer;
