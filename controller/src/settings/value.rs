//! What settings are made of, where no other module has the type.

use std::net::SocketAddr;

use crate::envoy::limits::Expected;
use crate::labels;

pub(super) fn port(written: &str) -> Result<u16, Expected> {
    let port = written.parse().ok().filter(|port| *port != 0);
    port.ok_or(Expected("a port from 1 to 65535"))
}

pub(super) fn address(written: &str) -> Result<SocketAddr, Expected> {
    written.parse().map_err(|_| Expected("an IP address and a port, such as 0.0.0.0:18000"))
}

/// As labels write it.
pub(super) fn truth(written: &str) -> Result<bool, Expected> {
    labels::boolean(written.trim()).ok_or(Expected("`true` or `false`"))
}

/// As many as a chain of proxies can have; Envoy looks at each.
pub(super) fn hops(written: &str) -> Result<u32, Expected> {
    let hops = written.parse().ok().filter(|hops| *hops <= 100);
    hops.ok_or(Expected("a number of proxies from 0 to 100"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_refused() {
        for (written, read) in [("1", Some(1)), ("65535", Some(65535)), ("0", None), ("http", None)]
        {
            assert_eq!(port(written).ok(), read, "{written:?}");
        }
        for (written, read) in [("0", Some(0)), ("100", Some(100)), ("101", None), ("-1", None)] {
            assert_eq!(hops(written).ok(), read, "{written:?}");
        }
        for (written, read) in
            [("TRUE", Some(true)), ("on", Some(true)), ("0", Some(false)), ("maybe", None)]
        {
            assert_eq!(truth(written).ok(), read, "{written:?}");
        }
        assert!(address("127.0.0.1:1").is_ok() && address("[::1]:1").is_ok());
        assert!(address("localhost:1").is_err() && address(":1").is_err());
    }
}
