//! The programs as an operator meets them: configuration, start, restart, the admin port.

mod admin;
mod audit;
mod back_end_tls;
mod configuration;
mod copies;
mod doctor;
mod eviction;
mod file;
mod merging;
pub mod metrics;
mod outage;
mod pooler;
mod schemathesis;
mod spellings;
mod start;
mod tools;
mod traces;
mod unfit;
