//! Taking an address and listening on it, with a word for each fault.

use crate::backends::StartError;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted, as many as the kernel allows: after a restart all clients
/// of a node come at once.
const BACKLOG: u32 = 4096;

/// An address that is a program's own, which refuses connections until it listens: whoever comes
/// while the program starts goes elsewhere, or tries again, and does not wait for an answer.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
    /// The variables that gave the address, and what they gave.
    host: &'static str,
    port: &'static str,
    asked: SocketAddr,
}

impl Bound {
    /// Takes the address, which the variables `host` and `port` gave.
    pub fn new(host: &'static str, port: &'static str, asked: SocketAddr) -> Result<Self, StartError> {
        match bind(asked) {
            Ok(socket) => Ok(Self { socket, host, port, asked }),
            Err(error) => Err(fault(host, port, asked, &error)),
        }
    }

    /// The address, with the port that the system chose.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Takes connections from now on. Another program may have begun to meanwhile.
    pub fn listen(self) -> Result<TcpListener, StartError> {
        self.socket.listen(BACKLOG).map_err(|error| fault(self.host, self.port, self.asked, &error))
    }
}

fn fault(host: &str, port: &str, address: SocketAddr, error: &std::io::Error) -> StartError {
    let (variable, example) = match error.kind() {
        ErrorKind::AddrNotAvailable => (host, format!("{host}=127.0.0.1; it must be an address of this machine")),
        _ => (port, format!("{port}=0 takes any free port")),
    };
    StartError::new(format!("{variable}: cannot listen on {address}: {error}; for example {example}"))
}

/// Listens on the address; an error is the system's own word.
pub fn open_listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG)
}

fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let every = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
    match on(address) {
        // A machine without IPv6 has every address of IPv4.
        Err(error) if address == every && error.kind() != ErrorKind::AddrInUse => {
            on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        socket => socket,
    }
}

fn on(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        // Whatever the machine's own default is.
        socket2::SockRef::from(&socket).set_only_v6(false)?;
    }
    // A restart does not wait until the last connections have timed out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_default_address_serves_both_families() {
        let every = Bound::new("HOST", "PORT", SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).unwrap().listen().unwrap();
        let port = every.local_addr().unwrap().port();
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        if every.local_addr().unwrap().is_ipv6() {
            tokio::net::TcpStream::connect(("::1", port)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn of_two_who_took_an_address_one_listens() {
        let first = Bound::new("HOST", "PORT", SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = first.local_addr().unwrap();
        let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let second = Bound::new("HOST", "PORT", address).unwrap();
        let _listener = first.listen().unwrap();
        tokio::net::TcpStream::connect(address).await.unwrap();
        for fault in [second.listen().unwrap_err(), Bound::new("HOST", "PORT", address).unwrap_err()] {
            assert!(fault.to_string().starts_with(&format!("PORT: cannot listen on {address}: ")), "{fault}");
        }
    }
}
