//! The debug header that only a filter can give; Envoy's own formatters give the others.

use std::time::Duration;

/// The endpoint that answered, or was tried last: `ip:port`. Envoy sets it.
pub const UPSTREAM_ADDR: &str = "x-upstream-addr";

/// How long the endpoint took: seconds with milliseconds, such as `0.012`. Envoy sets it to [`NONE`]
/// where it found no endpoint.
pub const UPSTREAM_RESPONSE_TIME: &str = "x-upstream-response-time";

/// There was no endpoint.
pub const NONE: &str = "-";

/// The value of [`UPSTREAM_RESPONSE_TIME`] between two times since 1970; 0 if the clock was set back
/// between them.
pub fn response_time(start: Duration, end: Duration) -> String {
    let elapsed = end.saturating_sub(start);
    format!("{}.{:03}", elapsed.as_secs(), elapsed.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_with_milliseconds() {
        let start = Duration::from_nanos(5);
        let cases = [
            (0, "0.000"),
            (999_999, "0.000"),
            (12_345_678, "0.012"),
            (1_002_000_000, "1.002"),
            (61_999_999_999, "61.999"),
        ];
        for (elapsed, expected) in cases {
            let end = start + Duration::from_nanos(elapsed);
            assert_eq!(response_time(start, end), expected);
        }
        assert_eq!(response_time(start, Duration::ZERO), "0.000");
    }
}
