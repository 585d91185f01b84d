//! What Envoy allows its clients and tasks: times, sizes, TLS and the log.
//!
//! Each value is checked where it is parsed, so that Envoy has no reason to refuse a listener or a
//! cluster for it. Each field is a flag of `waggle serve`, and its comment the flag's help.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// What Envoy allows its clients and tasks.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Limits {
    /// Connections of clients that one proxy holds on a listener; more are closed at once
    /// [default: the 50,000 of the bootstrap, over all listeners]
    #[arg(long, value_name = "N", value_parser = connections)]
    pub max_connections: Option<NonZeroU32>,

    /// How long a task may take to accept a connection, 10 ms to 5 s; then another task is tried. The
    /// address of a task that is gone never answers: this is how long its requests wait
    #[arg(long, value_name = "DURATION", default_value_t = Self::DEFAULT.connect_timeout)]
    pub connect_timeout: ConnectTimeout,

    /// How long a request, a response or a WebSocket may be silent in both directions; a task that has
    /// not begun to answer by then costs 504
    #[arg(long, value_name = "DURATION|off", default_value_t = Self::DEFAULT.idle_timeout)]
    pub idle_timeout: Timeout,

    /// How long a client's connection is kept without a request
    #[arg(long, value_name = "DURATION|off", default_value_t = Self::DEFAULT.keepalive_timeout)]
    pub keepalive_timeout: Timeout,

    /// How long a client may take to send a request's headers; then it gets 408
    #[arg(long, value_name = "DURATION|off", default_value_t = Self::DEFAULT.headers_timeout)]
    pub headers_timeout: Timeout,

    /// How long a client may take to send a whole request, body included; then it gets 408
    #[arg(long, value_name = "DURATION|off", default_value_t = Self::DEFAULT.request_timeout)]
    pub request_timeout: Timeout,

    /// The longest body of a request, such as 32m; one whose `Content-Length` is more gets 413
    #[arg(long, value_name = "SIZE|unlimited", default_value_t = Self::DEFAULT.max_body_size)]
    pub max_body_size: BodySize,

    /// The most that all headers of a request may take, 1k to 8m; more gets 431
    #[arg(long, value_name = "SIZE", default_value_t = Self::DEFAULT.max_headers_size)]
    pub max_headers_size: HeadersSize,

    /// What happens to a client's headers whose names have an underscore
    #[arg(long, value_enum, default_value_t = Self::DEFAULT.underscores_in_headers)]
    pub underscores_in_headers: Underscores,

    /// Which versions of TLS clients may use: 1.2, 1.3 or both
    #[arg(long, value_name = "VERSIONS", default_value_t = Self::DEFAULT.tls_versions)]
    pub tls_versions: TlsVersions,

    /// The ciphers of TLS 1.2, by their OpenSSL names, the best first [default: Envoy's own list]
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    pub tls_ciphers: Vec<TlsCipher>,

    /// Where each request is logged
    #[arg(long, value_enum, default_value_t = Self::DEFAULT.access_log)]
    pub access_log: AccessLog,
}

impl Limits {
    /// What holds where nothing is said.
    ///
    /// Idle connections of clients go after NGINX's 75 s, for which load balancers in front of
    /// Interlock were made: they must give up a connection before their backend does.
    pub const DEFAULT: Self = Self {
        max_connections: None,
        connect_timeout: ConnectTimeout(Duration::from_secs(1)),
        idle_timeout: Timeout(Duration::from_mins(10)),
        keepalive_timeout: Timeout(Duration::from_secs(75)),
        headers_timeout: Timeout(Duration::from_mins(1)),
        request_timeout: Timeout(Duration::ZERO),
        max_body_size: BodySize::Unlimited,
        max_headers_size: HeadersSize(60),
        underscores_in_headers: Underscores::Drop,
        tls_versions: TlsVersions::Both,
        tls_ciphers: Vec::new(),
        access_log: AccessLog::Stdout,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A text that is not what a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub &'static str);

fn connections(written: &str) -> Result<NonZeroU32, Expected> {
    written.parse().map_err(|_| Expected("a number of connections from 1 to 4294967295"))
}

/// Reads `90`, which are seconds, or `1m 30s`, `500ms`, `1h`.
fn duration(written: &str) -> Option<Duration> {
    let seconds = written.trim().parse().ok().map(Duration::from_secs);
    seconds.or_else(|| humantime::parse_duration(written).ok())
}

/// Reads `512`, which are bytes, or `8k`, `32m`, `1g`: powers of 1,024, as NGINX has them.
fn size(written: &str) -> Option<u64> {
    let written = written.trim().to_ascii_lowercase();
    let digits = written.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match written.get(digits.len()..)?.trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// How long a task may take to accept a connection: 10 ms to [`ConnectTimeout::LONGEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectTimeout(Duration);

impl ConnectTimeout {
    /// More only makes clients wait for a task that is gone.
    pub const LONGEST: Self = Self(Duration::from_secs(5));

    /// The time.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for ConnectTimeout {
    type Err = Expected;

    fn from_str(written: &str) -> Result<Self, Expected> {
        let allowed = Duration::from_millis(10)..=Self::LONGEST.0;
        let time = duration(written).filter(|time| allowed.contains(time));
        time.map(Self).ok_or(Expected("a time from 10ms to 5s, such as 1s"))
    }
}

impl fmt::Display for ConnectTimeout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(out)
    }
}

/// An end to waiting: 10 ms to 30 days, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(Duration);

impl Timeout {
    /// The time; zero is no end, as in Envoy's own time-outs.
    pub fn get(self) -> Duration {
        self.0
    }

    /// The one that ends later.
    #[must_use]
    pub fn longer(self, other: Self) -> Self {
        if self.0.is_zero() || other.0.is_zero() { Self(Duration::ZERO) } else { self.max(other) }
    }
}

impl FromStr for Timeout {
    type Err = Expected;

    fn from_str(written: &str) -> Result<Self, Expected> {
        if written.trim().eq_ignore_ascii_case("off") {
            return Ok(Self(Duration::ZERO));
        }
        let allowed = Duration::from_millis(10)..=Duration::from_hours(30 * 24);
        let time = duration(written).filter(|time| time.is_zero() || allowed.contains(time));
        time.map(Self).ok_or(Expected("a time from 10ms to 30days, such as 90s or 10m, or `off`"))
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return out.write_str("off");
        }
        humantime::format_duration(self.0).fmt(out)
    }
}

/// The longest body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySize {
    /// As long as it likes.
    Unlimited,
    /// So many bytes, at most 1 TiB.
    AtMost(NonZeroU64),
}

impl FromStr for BodySize {
    type Err = Expected;

    fn from_str(written: &str) -> Result<Self, Expected> {
        if written.trim().eq_ignore_ascii_case("unlimited") {
            return Ok(Self::Unlimited);
        }
        let size = size(written).filter(|size| *size <= 1 << 40);
        let size = size.ok_or(Expected("a size up to 1024g, such as 32m, or `unlimited`"))?;
        // NGINX's way to say it.
        Ok(NonZeroU64::new(size).map_or(Self::Unlimited, Self::AtMost))
    }
}

impl fmt::Display for BodySize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => out.write_str("unlimited"),
            Self::AtMost(size) => write_size(out, size.get()),
        }
    }
}

/// The most that all headers of a request may take: 1 to 8,192 KiB, which is Envoy's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadersSize(u32);

impl HeadersSize {
    /// The size in KiB.
    pub fn kib(self) -> u32 {
        self.0
    }
}

impl FromStr for HeadersSize {
    type Err = Expected;

    fn from_str(written: &str) -> Result<Self, Expected> {
        let kib = size(written).map(|size| size.div_ceil(1 << 10));
        let kib =
            kib.and_then(|kib| u32::try_from(kib).ok()).filter(|kib| (1..=8192).contains(kib));
        kib.map(Self).ok_or(Expected("a size from 1k to 8m, such as 60k"))
    }
}

impl fmt::Display for HeadersSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_size(out, u64::from(self.0) << 10)
    }
}

/// In the largest unit that leaves nothing over.
fn write_size(out: &mut fmt::Formatter<'_>, size: u64) -> fmt::Result {
    let units = [(30, "g"), (20, "m"), (10, "k"), (0, "")];
    let fits = |(shift, _): &(u32, &str)| size.trailing_zeros() >= *shift;
    let (shift, unit) = units.into_iter().find(fits).unwrap_or((0, ""));
    write!(out, "{}{unit}", size >> shift)
}

/// What happens to a client's headers whose names have an underscore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Underscores {
    /// They do not reach the task: many servers take `a_b` and `a-b` for the same.
    Drop,
    /// They reach the task.
    Allow,
}

/// Which versions of TLS clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersions {
    /// TLS 1.2 alone.
    Only12,
    /// TLS 1.3 alone.
    Only13,
    /// TLS 1.2 and 1.3.
    Both,
}

impl FromStr for TlsVersions {
    type Err = Expected;

    fn from_str(written: &str) -> Result<Self, Expected> {
        match written.split(',').map(str::trim).collect::<Vec<_>>()[..] {
            ["1.2"] => Ok(Self::Only12),
            ["1.3"] => Ok(Self::Only13),
            ["1.2", "1.3"] | ["1.3", "1.2"] => Ok(Self::Both),
            _ => Err(Expected("`1.2`, `1.3` or `1.2,1.3`")),
        }
    }
}

impl fmt::Display for TlsVersions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Only12 => "1.2",
            Self::Only13 => "1.3",
            Self::Both => "1.2,1.3",
        })
    }
}

/// A cipher of TLS 1.2 that Envoy knows. Those of TLS 1.3 cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsCipher(&'static str);

impl TlsCipher {
    /// All of them: what Envoy has, without 3DES and pre-shared keys.
    pub const ALL: [Self; 14] = [
        Self("ECDHE-ECDSA-AES128-GCM-SHA256"),
        Self("ECDHE-ECDSA-CHACHA20-POLY1305"),
        Self("ECDHE-ECDSA-AES256-GCM-SHA384"),
        Self("ECDHE-RSA-AES128-GCM-SHA256"),
        Self("ECDHE-RSA-CHACHA20-POLY1305"),
        Self("ECDHE-RSA-AES256-GCM-SHA384"),
        Self("ECDHE-ECDSA-AES128-SHA"),
        Self("ECDHE-ECDSA-AES256-SHA"),
        Self("ECDHE-RSA-AES128-SHA"),
        Self("ECDHE-RSA-AES256-SHA"),
        Self("AES128-GCM-SHA256"),
        Self("AES256-GCM-SHA384"),
        Self("AES128-SHA"),
        Self("AES256-SHA"),
    ];

    /// Its name, as Envoy wants it.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for TlsCipher {
    type Err = Expected;

    fn from_str(written: &str) -> Result<Self, Expected> {
        let written = written.trim();
        let named = |cipher: &Self| cipher.0.eq_ignore_ascii_case(written);
        Self::ALL.into_iter().find(named).ok_or(Expected(
            "the OpenSSL name of a TLS 1.2 cipher that Envoy has, such as \
             ECDHE-RSA-AES128-GCM-SHA256",
        ))
    }
}

/// Where each request is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccessLog {
    /// On Envoy's standard output.
    Stdout,
    /// Nowhere.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text is, written the shortest way; none if it is refused.
    fn read<T: FromStr + fmt::Display>(written: &str) -> Option<String> {
        written.parse::<T>().ok().map(|value| value.to_string())
    }

    #[test]
    fn a_time_is_in_range_or_off() {
        for (written, time, connect) in [
            ("1", Some("1s"), Some("1s")),
            ("500ms", Some("500ms"), Some("500ms")),
            ("10ms", Some("10ms"), Some("10ms")),
            ("9ms", None, None),
            ("5s", Some("5s"), Some("5s")),
            ("5001ms", Some("5s 1ms"), None),
            ("600", Some("10m"), None),
            ("1m30s", Some("1m 30s"), None),
            ("off", Some("off"), None),
            ("0", Some("off"), None),
            ("30days", Some("30days"), None),
            ("31days", None, None),
            ("-1", None, None),
            ("99999999999999999999s", None, None),
            ("18446744073709551615", None, None),
            ("1 fortnight", None, None),
            ("", None, None),
        ] {
            assert_eq!(read::<Timeout>(written).as_deref(), time, "{written:?}");
            assert_eq!(read::<ConnectTimeout>(written).as_deref(), connect, "{written:?}");
        }
    }

    #[test]
    fn no_end_is_longer_than_any() {
        let read = |written: &str| written.parse::<Timeout>().unwrap();
        for (one, other, longer) in [("1s", "2s", "2s"), ("1s", "off", "off"), ("0", "1h", "off")] {
            assert_eq!(read(one).longer(read(other)), read(longer));
            assert_eq!(read(other).longer(read(one)), read(longer));
        }
    }

    #[test]
    fn a_size_has_the_units_of_nginx() {
        for (written, body, headers) in [
            ("1", Some("1"), Some("1k")),
            ("1025", Some("1025"), Some("2k")),
            ("60k", Some("60k"), Some("60k")),
            ("32m", Some("32m"), None),
            ("8 M", Some("8m"), Some("8m")),
            ("8193k", Some("8193k"), None),
            ("1GiB", Some("1g"), None),
            ("1024g", Some("1024g"), None),
            ("1025g", None, None),
            ("99999999999999999999", None, None),
            ("18446744073709551615g", None, None),
            ("0", Some("unlimited"), None),
            ("unlimited", Some("unlimited"), None),
            ("-1", None, None),
            ("1.5m", None, None),
            ("1t", None, None),
            ("m", None, None),
            ("", None, None),
        ] {
            assert_eq!(read::<BodySize>(written).as_deref(), body, "{written:?}");
            assert_eq!(read::<HeadersSize>(written).as_deref(), headers, "{written:?}");
        }
    }

    #[test]
    fn only_versions_and_ciphers_that_envoy_has_are_taken() {
        for (written, versions) in [
            ("1.2", Some("1.2")),
            ("1.3", Some("1.3")),
            ("1.3, 1.2", Some("1.2,1.3")),
            ("1.1", None),
            ("1.1,1.2", None),
            ("", None),
        ] {
            assert_eq!(read::<TlsVersions>(written).as_deref(), versions, "{written:?}");
        }
        for cipher in TlsCipher::ALL {
            assert_eq!(cipher.as_str().to_lowercase().parse(), Ok(cipher));
        }
        for written in ["", "HIGH", "!aNULL", "DES-CBC3-SHA", "TLS_AES_128_GCM_SHA256"] {
            assert!(written.parse::<TlsCipher>().is_err(), "{written:?}");
        }
    }

    #[test]
    fn zero_connections_are_refused() {
        for (written, read) in [("1", Some(1)), ("2048", Some(2048)), ("0", None), ("x", None)] {
            assert_eq!(connections(written).ok().map(NonZeroU32::get), read, "{written:?}");
        }
    }
}
