//! Reads each kind of value. A fault is one sentence and never holds a secret's value.

use super::raw::Raw;
use super::{ConfigError, Registration};
use crate::words::Language;
use ipnet::{IpNet, Ipv4Net};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

type Result<T> = std::result::Result<T, ConfigError>;

/// A text that must be there.
pub(super) fn text(raw: &Raw, name: &'static str) -> Result<String> {
    raw.get(name)?.ok_or_else(|| ConfigError::of(name, "must be given"))
}

/// `true/false/1/0/yes/no/on/off`, any case.
pub(super) fn switch(raw: &Raw, name: &'static str) -> Result<bool> {
    let value = text(raw, name)?;
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(ConfigError::of(name, format!("{} is neither on nor off", quoted(&value)))),
    }
}

/// A number from `low` to `high`.
pub(super) fn number<T>(raw: &Raw, name: &'static str, low: T, high: T) -> Result<T>
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let value = text(raw, name)?;
    match value.trim().parse::<T>() {
        Ok(number) if number >= low && number <= high => Ok(number),
        _ => Err(ConfigError::of(name, format!("{} is no number from {low} to {high}", quoted(&value)))),
    }
}

/// A number of units of `unit` seconds each, fractions allowed.
pub(super) fn duration(raw: &Raw, name: &'static str, unit: f64, low: f64, high: f64) -> Result<Duration> {
    let number = number::<f64>(raw, name, low, high)?;
    Ok(Duration::from_secs_f64(number * unit))
}

/// An address without a port.
pub(super) fn host(raw: &Raw, name: &'static str) -> Result<Option<IpAddr>> {
    let Some(value) = raw.get(name)? else { return Ok(None) };
    let bare = value.trim();
    if bare.eq_ignore_ascii_case("localhost") {
        return Ok(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
    let bare = bare.strip_prefix('[').and_then(|b| b.strip_suffix(']')).unwrap_or(bare);
    let address = bare.parse().map_err(|_| ConfigError::of(name, format!("{} is no IP address", quoted(&value))))?;
    Ok(Some(address))
}

/// Comma-separated addresses and CIDR blocks.
pub(super) fn networks(raw: &Raw, name: &'static str) -> Result<Vec<IpNet>> {
    let read = |item: &str| {
        let network = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
        let network =
            network.map_err(|_| ConfigError::of(name, format!("{} is no address or CIDR block", quoted(item))))?;
        canonical(network).ok_or_else(|| ConfigError::of(name, format!("{} is wider than all of IPv4", quoted(item))))
    };
    list(raw.get(name)?.as_deref().unwrap_or("")).map(read).collect()
}

/// A block of IPv4 addresses written as IPv6 ones, as IPv4: addresses are compared in that form.
fn canonical(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(wide) = network else { return Some(network) };
    let Some(address) = wide.addr().to_ipv4_mapped() else { return Some(network) };
    let bits = wide.prefix_len().checked_sub(96)?;
    Ipv4Net::new(address, bits).ok().map(IpNet::V4)
}

/// The items of a comma-separated list.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// A value for an error's one line: quoted, on one line, not long.
pub(super) fn quoted(value: &str) -> String {
    let short: String = value.chars().take(60).collect();
    let more = if short.len() < value.len() { "…" } else { "" };
    format!("{:?}", format!("{short}{more}"))
}

pub(super) fn registration(raw: &Raw) -> Result<Registration> {
    let value = text(raw, "REGISTRATION")?;
    match value.trim().to_ascii_lowercase().as_str() {
        "open" => Ok(Registration::Open),
        "invite" => Ok(Registration::Invite),
        "closed" => Ok(Registration::Closed),
        _ => Err(ConfigError::of("REGISTRATION", format!("{} is not open, invite or closed", quoted(&value)))),
    }
}

/// The language whose endings a search does not mind.
pub(super) fn language(raw: &Raw) -> Result<Language> {
    let value = text(raw, "SEARCH_LANGUAGE")?;
    Language::named(&value.trim().to_ascii_lowercase()).ok_or_else(|| {
        let known = Language::names().collect::<Vec<_>>().join(", ");
        ConfigError::of("SEARCH_LANGUAGE", format!("{} is none of {known}", quoted(&value)))
    })
}

/// The directives of the log, without the blanks around them.
pub(super) fn log(raw: &Raw) -> Result<String> {
    let log = text(raw, "RUST_LOG")?;
    let fault = |fault: String| ConfigError::of("RUST_LOG", fault);
    // The library does not expect blanks, and cuts the last letters off a module behind one.
    let directives: Vec<&str> = list(&log).collect();
    if directives.is_empty() {
        return Err(fault(format!("{} names no level", quoted(&log))));
    }
    for directive in &directives {
        // The library takes a word that is no level for a module, and logs nothing but that one.
        let level = directive.rsplit_once('=').map_or(*directive, |(_, level)| level);
        if level.is_empty() || !directive.contains('[') && level.parse::<LevelFilter>().is_err() {
            let levels = "no level (error, warn, info, debug, trace, off)";
            return Err(fault(format!("{} has {levels}", quoted(directive))));
        }
    }
    let log = directives.join(",");
    match EnvFilter::builder().parse(&log) {
        Ok(_) => Ok(log),
        Err(e) => Err(fault(format!("{} cannot be read: {e}", quoted(&log)))),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Program;
    use crate::config::tests::{cluster, fault, read};

    /// The library takes such a word for a module, and would log nothing else, faults least of all.
    #[test]
    fn a_log_that_would_be_silent_by_mistake_is_refused() {
        let bad = [
            "warning",
            "fatal",
            "messenger_api",
            "info,verbose",
            "messenger=",
            "info=",
            "=info",
            "6",
            "-1",
            ",",
            " , ",
        ];
        for value in bad.into_iter().chain(["info debug", "messenger=loud", "[{}", "messenger[", "info;debug"]) {
            let line = fault(Program::Api, &[("RUST_LOG", value)]);
            assert!(line.starts_with("RUST_LOG: "), "{value}: {line}");
        }
        let line = fault(Program::Api, &[("RUST_LOG", "info, warning")]);
        let said = "RUST_LOG: \"warning\" has no level (error, warn, info, debug, trace, off) (in the environment); \
                    for example RUST_LOG=info,messenger_gateway=debug";
        assert_eq!(line, said);
        for (value, log) in [
            ("INFO ", "INFO"),
            ("info,,debug,", "info,debug"),
            (" warn, messenger_gateway=debug", "warn,messenger_gateway=debug"),
            ("3", "3"),
            ("off", "off"),
            ("info,[handshake]=debug", "info,[handshake]=debug"),
            ("warn,messenger_api[send{user.id}]=trace", "warn,messenger_api[send{user.id}]=trace"),
            ("info,sqlx::query=off", "info,sqlx::query=off"),
        ] {
            let config = read(Program::Api, &cluster(&[("RUST_LOG", value)])).expect(value);
            assert_eq!(config.log, log);
        }
    }
}
