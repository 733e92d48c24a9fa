//! The part of Redis that is one deployment's own.

use std::fmt::{self, Display};
use std::sync::Arc;

/// The beginning of every channel and key: pub/sub knows no database numbers, and a restored or
/// exchanged database must not find what another one left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The namespace of a deployment with that id.
    pub fn new(deployment: &str) -> Self {
        Self(format!("m:{deployment}:").into())
    }

    /// A channel or key of that name within it.
    pub fn name(&self, within: impl Display) -> String {
        format!("{self}{within}")
    }

    /// The name within it; `None`: it is somebody else's.
    pub fn within<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&*self.0)
    }
}

impl Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
