//! The program and its settings: what it takes, what it says, and how it ends.

use std::path::Path;
use std::process::{Command, Output};

/// `waggle serve` with these arguments, in the folder of the files, with no variable but these.
fn serve(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waggle"))
        .arg("serve")
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/settings"))
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it prints with `--print-config`: the settings, then the warnings.
fn printed(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = serve(&[&["--print-config"], arguments].concat(), variables);
    assert!(output.status.success(), "{}", text(&output.stderr));
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn without_anything_the_defaults_hold() {
    insta::assert_snapshot!(printed(&[], &[]));
}

#[test]
fn the_file_of_ucp_is_taken_with_one_warning_for_each_key_without_effect() {
    insta::assert_snapshot!(printed(&["--config", "ucp.toml"], &[]));
}

#[test]
fn the_smallest_file_that_interlock_takes_is_taken() {
    insta::assert_snapshot!(printed(&["--config", "minimal.toml"], &[]));
}

#[test]
fn two_extensions_are_two_clusters() {
    insta::assert_snapshot!(printed(&[], &[("WAGGLE_CONFIG", "clusters.toml")]));
}

#[test]
fn what_is_printed_is_a_file_that_gives_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("printed.toml");
    let arguments =
        ["--print-config", "--config", "ucp.toml", "--tls-ciphers", "AES128-SHA", "AES256-SHA"];
    let values = |settings: &[u8]| -> Vec<String> {
        let text = text(settings);
        let value = |line: &str| line.rsplit_once('#').map(|(value, _)| value.trim().to_owned());
        text.lines().filter_map(value).filter(|value| !value.is_empty()).collect()
    };
    let first = serve(&arguments, &[]).stdout;
    std::fs::write(&file, &first).expect("a file");
    let second = serve(&["--print-config", "--config", &file.display().to_string()], &[]);
    assert_eq!(values(&second.stdout), values(&first), "{}", text(&second.stderr));
    assert!(second.stderr.is_empty(), "{}", text(&second.stderr));
    assert!(values(&first).len() > 20);
}

#[test]
fn a_bad_file_ends_the_program_and_tells_every_fault() {
    let output = serve(&["--config", "bad.toml"], &[("WAGGLE_TRUSTED_HOPS", "many")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    insta::assert_snapshot!(text(&output.stderr));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = serve(&["--config", "none.toml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.starts_with("waggle: --config none.toml: No such file"), "{told}");
}

#[test]
fn a_bad_flag_says_what_was_expected() {
    let output = serve(&["--http-port", "http"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(
        told.contains("'http' for '--http-port <PORT>': expected a port from 1 to 65535"),
        "{told}"
    );
}

#[test]
fn no_secret_is_printed() {
    let key = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI=";
    for (variable, value, secret) in [
        ("WAGGLE_SESSION_KEYS", key, key),
        ("WAGGLE_XDS_TLS_KEY", "-----BEGIN PRIVATE KEY-----\nsecret", "secret"),
        ("WAGGLE_DOCKER", "tcp://user:secret@proxy:2375", "secret"),
        ("WAGGLE_DOCKER", "user:secret@proxy", "secret"),
    ] {
        let output = serve(&["--print-config"], &[(variable, value)]);
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(told.contains("not shown"), "{variable}={value}: {told}");
        assert!(!told.contains(secret), "{variable}={value}: {told}");
    }
}
