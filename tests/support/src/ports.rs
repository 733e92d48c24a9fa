//! Ports for servers under test.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A loopback port that nobody listens on, given out once. It lies below the ports that the kernel takes for
/// outgoing connections, so that none of those can take it before its server does.
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(97)));
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|&port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a free loopback port")
}
