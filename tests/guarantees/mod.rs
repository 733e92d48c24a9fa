//! The guarantees (contract, section 4), each broken on purpose on real processes.

mod g5_presence;
mod g6_access;
mod g7_slow_readers;
mod g8_restarts;
mod watch;
