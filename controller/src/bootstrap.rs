//! stub
/// stub
#[derive(Debug, clap::Args)]
pub struct BootstrapArgs {}
/// stub
pub fn bootstrap(_: &BootstrapArgs) -> String {
    String::new()
}
