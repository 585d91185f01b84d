//! Tells the binary which commit it was built from.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=WAGGLE_COMMIT");
    let head = Path::new("../.git/logs/HEAD");
    if head.exists() {
        println!("cargo::rerun-if-changed={}", head.display());
    }
    let commit = std::env::var("WAGGLE_COMMIT").ok().or_else(from_git);
    println!("cargo::rustc-env=WAGGLE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

fn from_git() -> Option<String> {
    let answer = Command::new("git").args(["rev-parse", "--short=8", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(answer.stdout).ok()?.trim().to_owned();
    (answer.status.success() && !commit.is_empty()).then_some(commit)
}
