//! Session keys: read from a file, made once and kept, or made and rotated by `waggle keys`.
//!
//! The first key of a file signs, and all of them open. So a key must be in every controller's file
//! before it signs, and stay there after it did for as long as what it signed: `waggle keys` keeps
//! the next one last.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// What can be wrong with a key file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A line is not a key.
    #[error(
        "line {line} of the session keys is not {KEY_BYTES} bytes in base64; \
         make a file with: waggle keys new"
    )]
    NotAKey {
        /// Its number, from 1.
        line: usize,
    },
    /// There is no key at all.
    #[error("there is no session key in the file; make one with: waggle keys new")]
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

/// The settings of `waggle keys`.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// What to do
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// What `waggle keys` does.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Print a new key file for --session-keys
    New,
    /// Print what a key file becomes by one rotation: the next key signs, the last one still opens
    Rotate {
        /// The key file of now, as --session-keys has it; it is not changed
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Runs `waggle keys`: the file goes to the standard output, and what to do with it to the standard
/// error.
pub fn run(args: &KeysArgs) -> anyhow::Result<()> {
    let (keys, told) = match &args.command {
        KeysCommand::New => (vec![generate()?, generate()?], NEW),
        KeysCommand::Rotate { file } => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("the key file {}", file.display()))?;
            let keys = parse(&text).with_context(|| file.display().to_string())?;
            let told = if keys.len() == 1 { FIRST_ROTATION } else { ROTATION };
            (rotated(keys, generate()?), told)
        }
    };
    print!("{}", written(&keys));
    eprint!("{told}");
    Ok(())
}

const NEW: &str = "\
Keep it in a file that only you read, make it a secret, and mount that into the controller's service:
  docker secret create session-keys FILE
  docker service update --secret-add session-keys \\
    --env-add WAGGLE_SESSION_KEYS=/run/secrets/session-keys waggle_controller
";

const FIRST_ROTATION: &str = "\
The file had one key. It still signs; the new one only opens, until the next rotation. Give the file
to all controllers, then rotate again.
";

const ROTATION: &str = "\
Give it to all controllers, as a new secret in place of the last one:
  docker secret create session-keys-2 FILE
  docker service update --secret-rm session-keys \\
    --secret-add source=session-keys-2,target=session-keys waggle_controller
No session is lost: what signs now was opened before. Rotate again no earlier than the longest session
lasts: sessions that began before the last rotation end with it.
";

/// The keys after a rotation: the next one signs, the one that signed opens, a `fresh` one is next.
fn rotated(keys: Vec<String>, fresh: String) -> Vec<String> {
    let mut keys = keys.into_iter();
    match (keys.next(), keys.next_back()) {
        (Some(signing), Some(next)) => vec![next, signing, fresh],
        (Some(signing), None) => vec![signing, fresh],
        (None, _) => vec![fresh],
    }
}

/// A key file with these keys.
fn written(keys: &[String]) -> String {
    let mut file = String::from(
        "# Session keys of Waggle. The first signs, all open; the last is the next to sign.\n",
    );
    for key in keys {
        let _infallible = writeln!(file, "{key}");
    }
    file
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
    fn a_key_opens_before_it_signs_and_after() {
        let keys = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (before, after) in [
            (&["a"][..], &["a", "new"][..]),
            (&["a", "b"], &["b", "a", "new"]),
            (&["b", "a", "c"], &["c", "b", "new"]),
        ] {
            let rotated = rotated(keys(before), "new".to_owned());
            assert_eq!(rotated, keys(after), "{before:?}");
            // Whichever of the two files a controller has, it opens what the other signs.
            assert!(before.contains(&after[0]) && after.contains(&before[0]), "{before:?}");
        }
    }

    #[test]
    fn a_printed_key_file_reads_as_it_was_meant() {
        let keys = vec![generate().unwrap(), generate().unwrap()];
        assert_eq!(parse(&written(&keys)), Ok(keys));
    }

    #[test]
    fn two_new_keys_differ() {
        assert_ne!(generate().unwrap(), generate().unwrap());
    }
}
