//! What joins the nodes of a Swarm: a bridge in the sandbox's network, and a cable from it to each
//! node that has a network of its own.
//!
//! ```text
//! node-1, and the test: 10.200.0.1 ── bridge `nodes` ─┬─ cable `node-2` ── 10.200.0.2: node-2
//!                                                     └─ cable `node-3` ── 10.200.0.3: node-3
//! ```

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::Result;

use super::node::Node;
use crate::sandbox::{self, run};

/// The bridge.
const BRIDGE: &str = "nodes";

/// The name of a node; also of its cable.
pub(super) fn name(number: u8) -> String {
    format!("node-{number}")
}

/// The address of a node, which it advertises. The first one's is the sandbox's.
pub(super) fn address(number: u8) -> Ipv4Addr {
    let [a, b, c, _] = sandbox::ADDRESS.octets();
    Ipv4Addr::new(a, b, c, number)
}

/// Makes the bridge.
pub(super) fn lay() -> Result<()> {
    ip(&format!("link add {BRIDGE} type bridge forward_delay 0"))?;
    ip(&format!("address add {}/24 dev {BRIDGE}", sandbox::ADDRESS))?;
    ip(&format!("link set {BRIDGE} up"))?;
    // The first node's engine forbids what it does not know, also across a bridge.
    let rule = ["-I", "FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"];
    run(Command::new("iptables").arg("--wait").args(rule)).map(drop)
}

/// Joins a node to the bridge.
pub(super) fn plug(node: &Node, number: u8) -> Result<()> {
    let (cable, holder) = (name(number), node.holder());
    ip(&format!("link add {cable} type veth peer name eth0 netns {holder}"))?;
    ip(&format!("link set {cable} master {BRIDGE} up"))?;
    for words in [format!("address add {}/24 dev eth0", address(number)), "link set eth0 up".into()]
    {
        let network = format!("--net=/proc/{holder}/ns/net");
        run(Command::new("nsenter").args([&network, "ip"]).args(words.split(' ')))?;
    }
    Ok(())
}

/// Cuts a node's cable: nothing passes, and nobody is told.
pub(super) fn cut(number: u8) -> Result<()> {
    ip(&format!("link set {} down", name(number)))
}

/// Mends it.
pub(super) fn mend(number: u8) -> Result<()> {
    ip(&format!("link set {} up", name(number)))
}

fn ip(words: &str) -> Result<()> {
    run(Command::new("ip").args(words.split(' '))).map(drop)
}
