//! The clients for applications, as their users have them: one conformance suite drives each
//! client's program in `conformance.*` against real servers, and under faults.

mod bots;
mod conformance;
mod fake;
mod faults;
mod following;
mod javascript;
mod logins;
mod lost_answer;
mod next_release;
mod program;
mod python;

use std::process::Command;
use std::sync::LazyLock;

use messenger_common::event::EventKind;
use program::Client;

/// The language of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Language {
    Python,
    JavaScript,
}

impl Language {
    /// The command that runs a program of the client. Blocks.
    fn command(self) -> Result<Command, String> {
        match self {
            Self::Python => python::command(),
            Self::JavaScript => javascript::command(),
        }
    }

    fn conformance(self) -> &'static str {
        match self {
            Self::Python => "conformance.py",
            Self::JavaScript => "conformance.mjs",
        }
    }
}

/// Runs each `async fn(&Deployment, Language)` with each client on both forms that tests share.
macro_rules! each_client {
    ($($name:ident),+ $(,)?) => {
        $crate::clients::each_client! { @ python Python $($name)+ }
        $crate::clients::each_client! { @ javascript JavaScript $($name)+ }
    };
    (@ $client:ident $language:ident $($name:ident)+) => {
        mod $client {
            use crate::clients::Language::$language;
            use crate::support::{limited, shared};
            $(#[tokio::test]
            async fn $name() {
                let d = shared::embedded().await;
                limited(super::$name(&d, $language)).await;
                let d = shared::cluster().await;
                limited(super::$name(&d, $language)).await;
            })+
        }
    };
}

/// Runs each `async fn(Builder, Language)` with each client on the builders of private deployments
/// of both forms.
macro_rules! each_client_alone {
    ($($name:ident),+ $(,)?) => {
        $crate::clients::each_client_alone! { @ python_alone Python $($name)+ }
        $crate::clients::each_client_alone! { @ javascript_alone JavaScript $($name)+ }
    };
    (@ $client:ident $language:ident $($name:ident)+) => {
        mod $client {
            use crate::clients::Language::$language;
            use crate::support::{Deployment, limited};
            $(#[tokio::test]
            async fn $name() {
                limited(super::$name(Deployment::embedded(), $language)).await;
                limited(super::$name(Deployment::cluster(2, 2), $language)).await;
            })+
        }
    };
}

/// Runs each `async fn(Language)` with each client, at a server that the test plays.
macro_rules! each_client_faked {
    ($($name:ident),+ $(,)?) => {
        $crate::clients::each_client_faked! { @ python Python $($name)+ }
        $crate::clients::each_client_faked! { @ javascript JavaScript $($name)+ }
    };
    (@ $client:ident $language:ident $($name:ident)+) => {
        mod $client {
            use crate::clients::Language::$language;
            use crate::support::limited;
            $(#[tokio::test]
            async fn $name() {
                limited(super::$name($language)).await;
            })+
        }
    };
}

use {each_client, each_client_alone, each_client_faked};

/// The server's kinds of event that have a number, sorted.
fn sequenced() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let kinds = EventKind::KNOWN.iter().filter(|kind| kind.is_sequenced());
        let mut names: Vec<_> = kinds.map(|kind| kind.name()).chain(["unknown"]).collect();
        names.sort_unstable();
        names
    });
    &NAMES
}
