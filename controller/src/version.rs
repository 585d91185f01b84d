//! What this build calls itself.

/// `waggle/<version> (<commit>) <os>/<arch>`: the value of `x-server-info`, in the form that
/// Interlock's users know.
pub fn server_info() -> String {
    format!(
        "waggle/{} ({}) {}/{}",
        env!("CARGO_PKG_VERSION"),
        env!("WAGGLE_COMMIT"),
        std::env::consts::OS,
        docker_architecture(std::env::consts::ARCH),
    )
}

/// Docker's name of an architecture.
fn docker_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
