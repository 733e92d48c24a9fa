//! Limits by lease over real nodes: what it costs, and what gets through.

use super::*;

const COMMANDS: Limit = Limit { name: "commands", rate: 60, period: Duration::from_secs(1), burst: 60 };
/// What the lease of one node may let through beyond the limit.
const LEASED: usize = leases::LEASED as usize;

/// What COMMANDS gives in that time, burst included.
fn earned(since: Instant) -> usize {
    let earned = (since.elapsed() * COMMANDS.rate).as_secs() + 1 + u64::from(COMMANDS.burst);
    usize::try_from(earned).expect("few")
}

async fn three(server: &Redis) -> [Node; 3] {
    let config = config(server);
    [Node::start(&config).await, Node::start(&config).await, Node::start(&config).await]
}

/// What `INFO` says under that name, up to the next `,` or line.
async fn figure(server: &Redis, section: &str, name: &str) -> Option<f64> {
    let info: String = redis::from_redis_value(server.command(&["INFO", section]).await).expect("text");
    let rest = info.split(name).nth(1)?;
    rest.split([',', '\r', '\n']).next()?.parse().ok()
}

/// Scripts that ran, and the CPU time of the server in µs.
async fn spent_by(server: &Redis) -> (f64, f64) {
    let scripts = figure(server, "commandstats", "cmdstat_evalsha:calls=").await.unwrap_or(0.0);
    let (user, system) = (figure(server, "cpu", "used_cpu_user:").await, figure(server, "cpu", "used_cpu_sys:").await);
    (scripts, (user.expect("a time") + system.expect("a time")) * 1e6)
}

#[tokio::test]
async fn a_subject_far_from_its_limit_costs_redis_one_call_in_ten() {
    const CHECKS: u16 = 5000;
    let server = Redis::private().await;
    let node = Node::start(&config(&server)).await;
    let wide = Limit { rate: 100_000, burst: 100_000, ..COMMANDS };
    assert_eq!(node.allowed_of(&wide, "7", 10).await, 10);
    let before = spent_by(&server).await;
    assert_eq!(node.allowed_of(&wide, "7", CHECKS.into()).await, usize::from(CHECKS));
    let after = spent_by(&server).await;
    let (calls, cpu) = (after.0 - before.0, (after.1 - before.1) / f64::from(CHECKS));
    println!("limits: {calls} scripts for {CHECKS} checks, {cpu:.2} µs of Redis a check");
    assert!(calls <= f64::from(CHECKS) / 10.0 + 1.0, "{calls} calls for {CHECKS} checks");
}

#[tokio::test]
async fn three_nodes_let_no_more_through_than_the_limit_and_their_leases() {
    let server = Redis::private().await;
    let nodes = three(&server).await;
    let begun = Instant::now();
    let mut allowed = 0;
    // Each holds a lease, and none knows of the others.
    for node in &nodes {
        allowed += node.allowed_of(&COMMANDS, "7", 1).await;
    }
    while begun.elapsed() < Duration::from_secs(3) {
        for node in &nodes {
            allowed += node.allowed_of(&COMMANDS, "7", 20).await;
            let most = earned(begun) + LEASED * (nodes.len() - 1);
            assert!(allowed <= most, "{allowed} of {most}");
        }
    }
    println!("limits: {allowed} through three nodes in {:?}, {} earned", begun.elapsed(), earned(begun));
}

#[tokio::test]
async fn what_the_leases_let_through_is_waited_for_afterwards() {
    let server = Redis::private().await;
    let [a, b, c] = three(&server).await;
    let slow = Limit { rate: 6, ..COMMANDS };
    let mut allowed = 0;
    for node in [&a, &b, &c] {
        allowed += node.allowed_of(&slow, "7", 1).await;
    }
    // To the limit on one node, then the leases of the others.
    for node in [&a, &b, &c] {
        allowed += node.allowed_of(&slow, "7", 100).await;
    }
    assert!(allowed > 60, "{allowed}: the others held leases");
    // A node that counted nothing itself says what Redis says.
    let fresh = Node::start(&config(&server)).await;
    let Decision::Denied { retry_after } = fresh.limiter.check(&slow, "7").await else { panic!("over the limit") };
    let over = u32::try_from(allowed - 60).expect("few");
    // Checks took time, in which some were earned.
    let least = interval(&slow) * over.saturating_sub(6);
    assert!(retry_after >= least, "{allowed} were allowed, and the next after {retry_after:?}");
}

#[tokio::test]
async fn an_honest_user_of_three_nodes_is_never_refused() {
    let server = Redis::private().await;
    let nodes = three(&server).await;
    let mut pace = tokio::time::interval(interval(&COMMANDS) * 2);
    for n in 0..90 {
        pace.tick().await;
        assert_eq!(nodes[n % 3].allowed_of(&COMMANDS, "7", 1).await, 1, "half the rate, in turn: number {n}");
    }
    assert_eq!(nodes[0].allowed_of(&COMMANDS, "7", 40).await, 40, "and then two thirds of a burst");
    let begun = Instant::now();
    let burst = nodes[1].allowed_of(&COMMANDS, "8", 100).await;
    assert!(burst >= 60 && burst <= earned(begun), "another has a whole burst: {burst}");
}

#[tokio::test]
async fn what_is_spent_of_a_lease_counts_on_the_other_nodes() {
    let server = Redis::private().await;
    let [a, b, _] = three(&server).await;
    let slow = Limit { rate: 1, ..COMMANDS };
    // Ten by a lease, and the next one reports them.
    assert_eq!(a.allowed_of(&slow, "7", 11).await, 11);
    let rest = b.allowed_of(&slow, "7", 100).await;
    assert!((48..=50).contains(&rest), "{rest} of the 49 that are left, and one a second");
}
