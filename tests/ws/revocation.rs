//! Sessions that end close their sockets on every node, within the second, with the code that says
//! why.

use std::time::{Duration, Instant};

use crate::support::{Deployment, User, Ws, json};

both_forms!(
    logging_out_closes_the_sessions_sockets,
    a_new_password_closes_those_of_the_other_sessions,
    a_reused_refresh_token_closes_the_sessions_sockets,
    deactivation_closes_all_sockets,
    an_ended_session_does_not_come_in_again,
);

/// Two seconds by the clock of a busy machine: the promise is one, which the guarantees' suite
/// measures.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn sockets(user: &User) -> Vec<Ws> {
    let mut sockets = Vec::new();
    for gateway in 0..2 {
        let mut ws = user.connect_to(gateway).await;
        ws.round_trip().await;
        sockets.push(ws);
    }
    sockets
}

async fn all_close(sockets: Vec<Ws>, code: u16) {
    let start = Instant::now();
    for mut ws in sockets {
        let left = AT_ONCE.saturating_sub(start.elapsed());
        assert_eq!(ws.expect_close(left).await.0, code);
    }
}

async fn logging_out_closes_the_sessions_sockets(d: &Deployment) {
    let user = d.user().await;
    let other = user.second_session().await;
    let (ending, staying) = (sockets(&user).await, sockets(&other).await);
    user.rest.post_nothing("/auth/logout").await.ok(204);
    all_close(ending, 4502).await;
    for mut ws in staying {
        ws.round_trip().await;
    }
}

async fn a_new_password_closes_those_of_the_other_sessions(d: &Deployment) {
    let user = d.user().await;
    let other = user.second_session().await;
    let (staying, ending) = (sockets(&user).await, sockets(&other).await);
    let body = json!({"password": "another good one", "current_password": user.password});
    user.rest.patch("/auth/me", body).await.ok(200);
    all_close(ending, 4502).await;
    for mut ws in staying {
        ws.round_trip().await;
    }
}

async fn a_reused_refresh_token_closes_the_sessions_sockets(d: &Deployment) {
    let user = d.user().await;
    let ending = sockets(&user).await;
    let body = json!({"refresh_token": user.refresh});
    // the second time its answer may have been lost
    for _ in 0..2 {
        d.rest().post("/auth/refresh", body.clone()).await.ok(200);
    }
    d.rest().post("/auth/refresh", body).await.problem(401, "token_reused");
    all_close(ending, 4502).await;
}

async fn deactivation_closes_all_sockets(d: &Deployment) {
    let user = d.user().await;
    let other = user.second_session().await;
    let mut all = sockets(&user).await;
    all.extend(sockets(&other).await);
    user.rest.delete("/auth/me").await.ok(204);
    all_close(all, 4503).await;
}

async fn an_ended_session_does_not_come_in_again(d: &Deployment) {
    let (user, gone) = (d.user().await, d.user().await);
    user.rest.post_nothing("/auth/logout").await.ok(204);
    gone.rest.delete("/auth/me").await.ok(204);
    for (user, expected) in [(&user, 4502), (&gone, 4503)] {
        crate::rest::ends_within_a_second(&user.rest).await;
        for gateway in 0..2 {
            let mut ws = user.open(gateway, crate::support::Way::Header).await;
            let (code, _) = ws.expect_close(crate::support::SOON).await;
            assert_eq!(code, expected);
            assert!(!ws.drain().iter().any(|frame| frame["type"] == "welcome"));
        }
    }
}
