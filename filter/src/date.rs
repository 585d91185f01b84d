//! Cookie dates (RFC 6265, 5.1.1): in `Expires`, servers write dates in many ways.

/// The date in seconds since 1970 (0 for all that was before), or `None` if it is none.
pub(crate) fn parse(text: &[u8]) -> Option<u64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for part in text.split(|&byte| is_delimiter(byte)) {
        if time.is_none() && part.contains(&b':') {
            time = Some(time_of_day(part)?);
        } else if day.is_none() && digits(part) <= 2 && digits(part) > 0 {
            day = number(part);
        } else if month.is_none() && month_of(part).is_some() {
            month = month_of(part);
        } else if year.is_none() && (2..=4).contains(&digits(part)) {
            year = number(part);
        }
    }
    let year = match year? {
        year @ 70..=99 => year.saturating_add(1900),
        year @ 0..=69 => year.saturating_add(2000),
        year => year,
    };
    let is_date = (1..=31).contains(&day?) && year >= 1601;
    is_date.then(|| days_since_1970(year, month?, day?).checked_mul(86_400)?.checked_add(time?))?
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, 0x09 | 0x20..=0x2f | 0x3b..=0x40 | 0x5b..=0x60 | 0x7b..=0x7e)
}

/// How many digits the text begins with.
fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The number that the text begins with.
fn number(text: &[u8]) -> Option<u64> {
    str::from_utf8(text.get(..digits(text))?).ok()?.parse().ok()
}

fn time_of_day(text: &[u8]) -> Option<u64> {
    let mut fields = text.splitn(3, |&byte| byte == b':').map(number);
    match [fields.next()??, fields.next()??, fields.next()??] {
        [hour @ 0..=23, minute @ 0..=59, second @ 0..=59] => {
            hour.checked_mul(3600)?.checked_add(minute.checked_mul(60)?)?.checked_add(second)
        }
        _ => None,
    }
}

/// The month, 1 to 12, whose English name begins as the text does.
fn month_of(text: &[u8]) -> Option<u64> {
    const NAMES: [&[u8]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let start = text.get(..3)?;
    (1..).zip(NAMES).find(|(_, name)| start.eq_ignore_ascii_case(name)).map(|(month, _)| month)
}

/// Days of the Gregorian calendar, counted in years that begin in March, so that the leap day is a
/// year's last (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
#[expect(clippy::arithmetic_side_effects, reason = "year ≤ 9999, month ≤ 12, day ≤ 31")]
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days.saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ways_of_servers_are_read() {
        let cases = [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Sun, 06-Nov-1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Wed, 01 Jan 1601 00:00:00 GMT", Some(0)),
            ("1 jan 69 0:0:0", Some(3_124_224_000)),
            ("", None),
            ("0", None),
            ("never", None),
            ("Thu, 01 Foo 2030 00:00:00 GMT", None),
            ("Thu, 32 Jan 2030 00:00:00 GMT", None),
            ("Thu, 01 Jan 2030 24:00:00 GMT", None),
            ("Thu, 01 Jan 2030 00:00 GMT", None),
            ("Thu, 01 Jan 1600 00:00:00 GMT", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, year in 0..100_000_u32) {
            let _ = parse(&bytes);
            let _ = parse(format!("1 Jan {year} 00:00:00").as_bytes());
        }
    }
}
