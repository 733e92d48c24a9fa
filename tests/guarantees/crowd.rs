//! Many users, and their sockets. They come in pieces: hundreds of handshakes at once meet a 503 on
//! a busy machine.

use futures_util::future::join_all;

use crate::support::{Deployment, User, Ws};

const AT_ONCE: usize = 50;

pub async fn users(d: &Deployment, count: usize) -> Vec<User> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(join_all((all.len()..count).take(AT_ONCE).map(|_| d.user())).await);
    }
    all
}

/// One socket of each of these users on that gateway.
pub async fn sockets(users: impl IntoIterator<Item = &User>, gateway: usize) -> Vec<Ws> {
    let (mut all, mut users) = (Vec::new(), users.into_iter().peekable());
    while users.peek().is_some() {
        all.extend(join_all(users.by_ref().take(AT_ONCE).map(|user| user.connect_to(gateway))).await);
    }
    all
}
