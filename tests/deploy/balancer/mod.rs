//! The load balancers that `deploy/` ships, each run for real in front of a real cluster.

mod behaviour;
