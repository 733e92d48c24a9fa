//! Where the program listens: for everybody, and for those who run it.

use super::raw::Raw;
use super::{ConfigError, Program, parse};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The public listener's address and the admin listener's.
pub(super) fn read(raw: &Raw, program: Program) -> Result<(SocketAddr, SocketAddr), ConfigError> {
    let host = parse::host(raw, "HOST")?.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let port = parse::number(raw, "PORT", 0_u16, u16::MAX)?;
    // One process that is opened to others opens no more than its public port.
    let admin_default = match program {
        Program::Messenger if !host.to_canonical().is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => host,
    };
    let admin_host = parse::host(raw, "ADMIN_HOST")?.unwrap_or(admin_default);
    let admin_port = match raw.get("ADMIN_PORT")? {
        Some(_) => parse::number(raw, "ADMIN_PORT", 0_u16, u16::MAX)?,
        None if port == 0 => 0,
        None => port
            .checked_add(1000)
            .ok_or_else(|| ConfigError::of("ADMIN_PORT", "must be given: PORT + 1000 is over 65535"))?,
    };
    if admin_port == port && port != 0 {
        return Err(ConfigError::of_both("ADMIN_PORT", "PORT", "must differ from PORT"));
    }
    Ok((SocketAddr::new(host, port), SocketAddr::new(admin_host, admin_port)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{cluster, read};
    use super::Program;

    #[test]
    fn the_admin_listener_follows_the_public_one_but_in_one_process() {
        let admin = |program, variables: &[(&'static str, &str)]| {
            let file = if program == Program::Messenger { "sqlite:chat.db" } else { "postgres://u@db/m" };
            let all = [&[("DATABASE_URL", file)], variables].concat();
            read(program, &cluster(&all)).expect("starts").admin_listen.to_string()
        };
        let open = [("HOST", "0.0.0.0")];
        assert_eq!(admin(Program::Messenger, &open), "127.0.0.1:9000");
        assert_eq!(admin(Program::Messenger, &[]), "127.0.0.1:9000");
        assert_eq!(admin(Program::Messenger, &[("HOST", "::1")]), "[::1]:9000");
        assert_eq!(admin(Program::Api, &open), "0.0.0.0:9000");
        assert_eq!(admin(Program::Messenger, &[("ADMIN_HOST", "0.0.0.0")]), "0.0.0.0:9000");
    }

    #[test]
    fn a_proxy_is_trusted_in_whatever_form_its_address_is_written() {
        let config = |value| read(Program::Api, &cluster(&[("TRUSTED_PROXIES", value)]));
        for (value, trusted) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            let config = config(value).expect("starts");
            assert_eq!(config.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(), [trusted]);
            assert!(!config.warnings.iter().any(|warning| warning.contains("TRUSTED_PROXIES")));
        }
        assert!(config("::ffff:10.0.0.0/90").unwrap_err().to_string().contains("TRUSTED_PROXIES"));
        for all in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"] {
            let warnings = config(all).expect("starts").warnings;
            assert!(warnings.iter().any(|warning| warning.contains("any client")), "{all}: {warnings:?}");
        }
    }
}
