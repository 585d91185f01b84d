//! Connections, as the kernel's table `/proc/net/tcp` shows them.

use std::net::SocketAddrV4;

/// How many connections to this address are open. Those that only begin do not count: they may wait for
/// an answer that never comes.
pub fn established(table: &str, remote: SocketAddrV4) -> usize {
    const OPEN: &str = "01";
    let [a, b, c, d] = remote.ip().octets();
    let remote = format!("{d:02X}{c:02X}{b:02X}{a:02X}:{:04X}", remote.port());
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next() == Some(remote.as_str()) && fields.next() == Some(OPEN)
    };
    table.lines().filter(is_one).count()
}
