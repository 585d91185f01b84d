//! The debug header that only a filter can give; Envoy's own formatters give the others, and the
//! number that it is made of.

use std::time::Duration;

/// The endpoint that answered, or was tried last: `ip:port`. Envoy sets it.
pub const UPSTREAM_ADDR: &str = "x-upstream-addr";

/// How long the endpoint took: seconds with milliseconds, such as `0.012`.
///
/// Envoy puts microseconds there, which it has no format to make seconds of.
pub const UPSTREAM_RESPONSE_TIME: &str = "x-upstream-response-time";

/// The value of [`UPSTREAM_RESPONSE_TIME`] from the microseconds that Envoy wrote, in decimal digits.
pub fn response_time(digits: &[u8]) -> Option<String> {
    str::from_utf8(digits).ok()?.parse().ok().map(Duration::from_micros).map(seconds)
}

/// The value of [`UPSTREAM_RESPONSE_TIME`] between two times in nanoseconds; 0 if the clock was set
/// back between them.
pub fn elapsed(start: u64, end: u64) -> String {
    seconds(Duration::from_nanos(end.saturating_sub(start)))
}

fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_with_milliseconds() {
        let cases = [
            ("0", "0.000"),
            ("999", "0.000"),
            ("12345", "0.012"),
            ("1002000", "1.002"),
            ("61999999", "61.999"),
        ];
        for (written, expected) in cases {
            assert_eq!(response_time(written.as_bytes()).as_deref(), Some(expected));
        }
        assert_eq!(elapsed(5, 12_345_678), "0.012");
        assert_eq!(elapsed(5, 4), "0.000");
    }

    #[test]
    fn what_is_no_number_is_no_time() {
        for written in ["", "-", "-1", "1.5", "0x1", "1 ", "99999999999999999999"] {
            assert_eq!(response_time(written.as_bytes()), None, "{written}");
        }
        assert_eq!(response_time(b"\xff"), None);
    }
}
