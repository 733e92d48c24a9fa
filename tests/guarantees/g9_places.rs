//! G9 over descriptors: a crowd that takes every connection takes neither the admin port nor the
//! node.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::programs::metrics::total;
use crate::support::deployment::Builder;
use crate::support::{Node, SOON, Value, blocking, eventually, json, process};

both_forms_alone!(a_crowd_takes_neither_the_admin_port_nor_the_node);

/// The descriptors that the program may open.
const FILES: u32 = 128;

/// Lets the node's program run with so few descriptors from its next start on.
fn with_few_descriptors(node: &Node) {
    let dir = process::new_dir("few");
    let script = dir.join(node.program().name());
    let program = node.program().path().unwrap();
    fs::write(&script, format!("#!/bin/sh\nulimit -n {FILES}\nexec {} \"$@\"\n", program.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    node.set_programs(Some(dir));
}

fn connected(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

async fn a_crowd_takes_neither_the_admin_port_nor_the_node(builder: Builder) {
    let d = builder.start().await;
    let node = d.gateways()[0].clone();
    with_few_descriptors(&node);
    node.restart().await;
    let ann = d.user().await;
    let mut ws = ann.connect_to(0).await;

    let places = total(std::slice::from_ref(&node), "messenger_places", &[]).await;
    assert!((64.0..f64::from(FILES)).contains(&places), "{places}");
    let port = node.port();
    let crowd = blocking(move || (0..2 * FILES).map(|_| connected(port)).collect::<Vec<_>>()).await;
    eventually("all places are taken", SOON, || async {
        (total(std::slice::from_ref(&node), "messenger_places_taken", &[]).await >= places).then_some(())
    })
    .await;
    let admin = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(5)).build().unwrap();
    for page in ["healthz", "servez", "readyz", "metrics"] {
        let answer = admin.get(format!("{}/{page}", node.admin_url())).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{page}");
    }
    assert_eq!(ws.command(json!({"type": "ping"})).await["type"], "pong");
    let refused = blocking(move || {
        let (mut stream, mut answer) = (connected(port), String::new());
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.to_lowercase().contains("retry-after"), "{refused}");
    let problem: Value = serde_json::from_str(refused.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(problem["code"], "unavailable");

    drop(crowd);
    eventually("places are given back", SOON, || async {
        (total(std::slice::from_ref(&node), "messenger_places_taken", &[]).await < places / 2.0).then_some(())
    })
    .await;
    let answer = blocking(move || {
        let (mut stream, mut answer) = (connected(port), String::new());
        stream.write_all(b"GET /ws/online-users HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}
