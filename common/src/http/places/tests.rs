use super::*;

fn ip(ip: &str) -> IpAddr {
    ip.parse().expect("an address")
}

fn places(most: usize, per_address: usize) -> Places {
    let trusted = vec!["10.0.0.0/8".parse().expect("a network")];
    Places::new(most, per_address, trusted, Metrics::new(crate::config::Program::Api))
}

#[test]
fn an_address_holds_so_many_and_no_more() {
    let places = places(100, 2);
    let (first, second) = (places.admit(ip("1.2.3.4")), places.admit(ip("1.2.3.4")));
    assert!(first.is_ok() && second.is_ok());
    assert!(places.admit(ip("1.2.3.4")).is_err(), "the third");
    assert!(places.admit(ip("1.2.3.5")).is_ok(), "of another address");
    drop(first);
    assert!(places.admit(ip("1.2.3.4")).is_ok(), "one was given back");
}

#[test]
fn one_ipv6_subscriber_is_one_address() {
    let places = places(100, 1);
    let held = places.admit(ip("2001:db8::1"));
    assert!(held.is_ok() && places.admit(ip("2001:db8::2")).is_err());
    assert!(places.admit(ip("2001:db8:0:1::1")).is_ok());
}

#[test]
fn one_ipv6_site_has_half_of_all_connections() {
    let places = places(101, 1);
    let subscriber = |n: u16| ip(&format!("2001:db8:1:{n:x}::1"));
    let mut held: Vec<_> = (0..50).map(|n| places.admit(subscriber(n)).expect("a place")).collect();
    assert!(places.admit(subscriber(50)).is_err(), "the fifty-first of the site");
    assert!(places.admit(ip("2001:db8:2:50::1")).is_ok(), "another site");
    held.pop();
    assert!(places.admit(subscriber(50)).is_ok(), "one was given back");
    let proxys = Arc::new(places.admit(ip("10.0.0.1")).expect("a place"));
    held.push(places.admit(subscriber(50)).expect("a place"));
    assert!(places.of_client(&proxys, ClientIp(subscriber(51))).is_err(), "behind the proxy too");
    drop((held, proxys));
    assert!(places.0.clients.are_whole(), "a site without connections costs nothing");
}

#[test]
fn one_ipv6_site_has_the_connections_of_one_address_at_least() {
    let places = places(4, 3);
    let held: Vec<_> = (0..3).map(|_| places.admit(ip("2001:db8:1::1")).expect("a place")).collect();
    assert!(places.admit(ip("2001:db8:1:1::1")).is_err(), "its neighbour");
    assert!(places.admit(ip("1.2.3.4")).is_ok(), "another address");
    drop(held);
}

#[test]
fn a_trusted_proxy_counts_for_no_address_and_its_clients_do() {
    let places = places(100, 1);
    let proxys: Vec<_> = (0..3).map(|_| Arc::new(places.admit(ip("::ffff:10.0.0.1")).expect("a place"))).collect();
    let held = places.admit(ip("1.2.3.4"));
    assert!(held.is_ok() && places.admit(ip("1.2.3.4")).is_err());
    assert!(places.of_client(&proxys[0], ClientIp(ip("1.2.3.4"))).is_err(), "the same address behind the proxy");
    let other = places.of_client(&proxys[0], ClientIp(ip("1.2.3.5"))).expect("a place");
    drop(proxys);
    assert_eq!(places.0.metrics.places_taken.get(), 2, "the proxy's connection lasts as long as what it carries");
    drop((other, held));
    assert_eq!(places.0.metrics.places_taken.get(), 0);
    assert!(places.0.clients.are_whole(), "an address without connections costs nothing");
}

#[test]
fn all_together_are_no_more_than_there_are() {
    let places = places(2, 100);
    let proxys = places.admit(ip("10.0.0.1")).expect("a place");
    let held = Arc::new(places.admit(ip("1.2.3.4")).expect("a place"));
    assert!(Arc::ptr_eq(&held, &places.of_client(&held, ClientIp(ip("1.2.3.4"))).expect("the same")));
    assert!(matches!(places.admit(ip("1.2.3.5")), Err(Error::Unavailable(_))));
    assert!(matches!(places.admit(ip("10.0.0.1")), Err(Error::Unavailable(_))));
    drop(proxys);
    assert!(places.admit(ip("1.2.3.5")).is_ok());
}

#[test]
fn one_ipv6_site_has_half_of_the_connections_that_speak_http() {
    // As of a pod that may open a million files.
    let places = places(1_000_000, 1);
    assert_eq!(places.0.metrics.http_places.get(), 16_384);
    let subscriber = |n: u16| ip(&format!("2001:db8:1:{n:x}::1"));
    let speaks = |peer: IpAddr| {
        let place = places.admit(peer).expect("a place");
        places.speaks_http(&place).map(|share| (place, share))
    };
    let mut held: Vec<_> = (0..8192).map(|n| speaks(subscriber(n)).expect("HTTP")).collect();
    assert!(matches!(speaks(subscriber(8192)), Err(Error::RateLimited { .. })), "one more of the site");
    for other in ["2001:db8:2::1", "1.2.3.4", "10.0.0.1"] {
        held.push(speaks(ip(other)).expect(other));
    }
    // One that became a WebSocket no longer counts.
    let (_place, share) = held.remove(0);
    drop(share);
    assert!(speaks(subscriber(8192)).is_ok());
}

#[test]
fn a_proxys_connection_carries_one_request_until_its_answer_is_taken() {
    let places = places(100, 8 * (LEAST_REQUESTS + 1));
    let (client, other) = (ClientIp(ip("1.2.3.4")), ClientIp(ip("1.2.3.5")));
    let mut held: Vec<_> = (0..LEAST_REQUESTS + 3).map(|_| places.admit(ip("10.0.0.1")).expect("a place")).collect();
    let sockets = held.split_off(LEAST_REQUESTS - 1);
    for socket in held.iter().chain(&sockets[..2]) {
        socket.carries(client).expect("an eighth of the connections");
        // Such as the word that the body may come.
        socket.flushed();
    }
    assert!(matches!(sockets[2].carries(client), Err(Error::RateLimited { .. })));
    sockets[2].carries(other).expect("another client's");
    sockets[0].answered();
    assert!(sockets[3].carries(client).is_err(), "nobody has taken the answer");
    sockets[0].flushed();
    sockets[3].carries(client).expect("the answer is taken");
    sockets[3].carries(client).expect("the next one on the same connection");
    drop((held, sockets));
    assert!(places.0.requests.are_whole());
    let own = places.admit(ip("1.2.3.4")).expect("a place");
    for _ in 0..9 {
        own.carries(client).expect("its own socket counts already");
    }
}

#[test]
fn a_reserve_is_left_of_any_limit() {
    assert_eq!(places_within(65_536, 10, 0), 65_536 - 138);
    assert_eq!(places_within(1024, 10, 2), 1024 - 146);
    assert_eq!(places_within(128, 10, 2), 86);
    assert_eq!(places_within(0, 10, 2), 0);
}
