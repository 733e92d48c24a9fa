//! nginx with `deploy/nginx`.

use std::path::Path;
use std::process::Command;

use super::{Ports, program, with_servers};
use crate::deploy::{copy_of, shipped};
use crate::support::process;

pub(super) fn command(dir: &Path, port: u16, apis: &[Ports], gateways: &[Ports]) -> Command {
    let nginx = program("nginx");
    let config = copy_of("deploy/nginx", dir);
    let listen = shipped("deploy/nginx/listen.conf").replace("listen 8080;", &format!("listen 127.0.0.1:{port};"));
    std::fs::write(config.join("listen.conf"), listen).unwrap();
    let upstreams = with_servers(&shipped("deploy/nginx/upstreams.conf"), apis, gateways, |line, ports| {
        // `server api1:8000 …;`
        let start = line.find("server ").unwrap() + "server ".len();
        let end = start + line[start..].find([' ', ';']).unwrap();
        format!("{}127.0.0.1:{}{}", &line[..start], ports.public, &line[end..])
    });
    std::fs::write(config.join("upstreams.conf"), upstreams).unwrap();

    // Its workers end when it is asked to end, not when it is killed.
    let mut command = process::bound_command(nginx, "TERM");
    command.arg("-p").arg(dir).arg("-c").arg(config.join("nginx.conf")).args(["-g", "daemon off;"]);
    command
}
