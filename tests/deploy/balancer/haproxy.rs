//! HAProxy with `deploy/haproxy`.

use std::path::Path;
use std::process::Command;

use super::{Ports, program, with_servers};
use crate::deploy::{copy_of, shipped};
use crate::support::process;

pub(super) fn command(dir: &Path, port: u16, apis: &[Ports], gateways: &[Ports]) -> Command {
    let haproxy = program("haproxy");
    let file = copy_of("deploy/haproxy", dir).join("haproxy.cfg");
    let text = shipped("deploy/haproxy/haproxy.cfg");
    assert!(text.contains("    bind :8080\n"), "where it listens");
    let text = text.replace("    bind :8080\n", &format!("    bind 127.0.0.1:{port}\n"));
    let text = with_servers(&text, apis, gateways, |line, ports| {
        // `server api1 api1:8000 check port 9000 …`
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        words[2] = format!("127.0.0.1:{}", ports.public);
        if let Some(at) = words.iter().position(|word| word == "port") {
            words[at + 1] = ports.admin.to_string();
        }
        format!("    {}", words.join(" "))
    });
    std::fs::write(&file, text).unwrap();
    let mut command = process::bound_command(haproxy, "TERM");
    command.arg("-db").arg("-f").arg(file);
    command
}
