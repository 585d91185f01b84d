//! Session keys: read from a file, or made once and kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// What can be wrong with a key file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A line is not a key.
    #[error(
        "line {line} of the session keys is not {KEY_BYTES} bytes in base64; \
         make one with: head -c {KEY_BYTES} /dev/urandom | base64"
    )]
    NotAKey {
        /// Its number, from 1.
        line: usize,
    },
    /// There is no key at all.
    #[error(
        "there is no session key in the file; make one with: head -c {KEY_BYTES} /dev/urandom | base64"
    )]
    Empty,
}

/// Reads a key file: one key a line in base64, the first signs; blank lines and lines that begin
/// with `#` are left out. The keys come back as written.
pub fn parse(text: &str) -> Result<Vec<String>, KeyError> {
    let keys = text
        .lines()
        .map(str::trim)
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| match STANDARD.decode(line) {
            Ok(key) if key.len() == KEY_BYTES => Ok(line.to_owned()),
            _ => Err(KeyError::NotAKey { line: index + 1 }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(KeyError::Empty) } else { Ok(keys) }
}

/// A new key from the system's randomness, in base64.
pub fn generate() -> Result<String, getrandom::Error> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key)?;
    Ok(STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_may_have_comments_and_blank_lines() {
        let first = generate().unwrap();
        let second = generate().unwrap();
        let text = format!("# signs\n{first}\n\n  {second}  \n");
        assert_eq!(parse(&text), Ok(vec![first, second]));
    }

    #[test]
    fn what_is_not_a_key_is_told_by_its_line_and_never_by_its_content() {
        let good = generate().unwrap();
        for bad in ["c2hvcnQ=", "not base64!", &format!("{good}{good}")] {
            let error = parse(&format!("{good}\n{bad}\n")).unwrap_err();
            assert_eq!(error, KeyError::NotAKey { line: 2 });
            assert!(!error.to_string().contains(bad), "the error shows {bad:?}");
        }
        assert_eq!(parse("# nothing\n"), Err(KeyError::Empty));
    }

    #[test]
    fn two_new_keys_differ() {
        assert_ne!(generate().unwrap(), generate().unwrap());
    }
}
