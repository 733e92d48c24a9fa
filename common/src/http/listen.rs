//! Listening on an address, with a word for each fault.

use crate::backends::StartError;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted, as many as the kernel allows: after a restart all clients
/// of a node come at once.
const BACKLOG: u32 = 4096;

/// Listens on the address, which the variables `host` and `port` gave.
pub fn listen(host: &str, port: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    open_listener(address).map_err(|error| {
        let (variable, example) = match error.kind() {
            ErrorKind::AddrNotAvailable => (host, format!("{host}=127.0.0.1; it must be an address of this machine")),
            _ => (port, format!("{port}=0 takes any free port")),
        };
        StartError::new(format!("{variable}: cannot listen on {address}: {error}; for example {example}"))
    })
}

/// The same with the system's own word.
pub fn open_listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let every = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
    match on(address) {
        // A machine without IPv6 has every address of IPv4.
        Err(error) if address == every && error.kind() != ErrorKind::AddrInUse => {
            on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        listener => listener,
    }
}

fn on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        // Whatever the machine's own default is.
        socket2::SockRef::from(&socket).set_only_v6(false)?;
    }
    // A restart does not wait until the last connections have timed out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_default_address_serves_both_families() {
        let every = listen("HOST", "PORT", SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
        let port = every.local_addr().unwrap().port();
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        if every.local_addr().unwrap().is_ipv6() {
            tokio::net::TcpStream::connect(("::1", port)).await.unwrap();
        }
    }
}
