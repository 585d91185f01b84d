//! Bytes that fuzzing found worth keeping (`make fuzz`), and some that were made by hand: what holds
//! for any bytes holds for each of these.

use std::fs;
use std::path::{Path, PathBuf};

use waggle_filter::token::Token;

#[path = "../fuzz/src/lib.rs"]
pub mod invariants;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The files of a corpus, and what they hold.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = corpora().join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|it| panic!("{}: {it}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

fn replay(name: &str, holds: fn(&[u8])) {
    for (file, bytes) in corpus(name) {
        // Shown where it fails.
        println!("{}: {}", file.display(), bytes.escape_ascii());
        holds(&bytes);
    }
}

#[test]
fn from_any_cookie_lines_our_pairs_are_taken_and_nothing_else() {
    replay("cookie", invariants::cookie);
}

#[test]
fn any_set_cookie_lines_are_read_as_what_is_written() {
    replay("set_cookie", invariants::set_cookie);
}

#[test]
fn any_value_opens_as_a_token_of_ours_or_not_at_all() {
    replay("token", invariants::token);
}

#[test]
fn any_map_is_read_up_to_what_does_not_fit() {
    replay("pairs", invariants::pairs);
}

#[test]
fn any_cache_control_lines_become_private() {
    replay("cache_control", invariants::cache_control);
}

#[test]
fn every_corpus_is_replayed() {
    let mut folders: Vec<_> =
        fs::read_dir(corpora()).unwrap().map(|it| it.unwrap().file_name()).collect();
    folders.sort();
    assert_eq!(folders, ["cache_control", "cookie", "pairs", "set_cookie", "token"]);
}

#[test]
fn the_corpus_of_tokens_holds_one_that_opens() {
    let ring = invariants::ring();
    let opens = |value: &[u8]| Token::open(&ring, invariants::COOKIE, value).is_some();
    let fresh = invariants::seal(b"\x12\x0b10.0.0.1:80\x18\x80\xe2\xcf\xaa\x06");
    assert!(opens(fresh.as_bytes()), "the seal is not that of the filter: {fresh}");
    assert!(corpus("token").iter().any(|(_, value)| opens(value)), "one that opens: {fresh}");
}
