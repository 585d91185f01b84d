//! Images for an engine that reaches no registry: files of this machine, under the names that the
//! examples use.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Engine;
use crate::sandbox::run;

/// Where Cargo puts static programs, so that an image needs nothing else. What is measured is what
/// users run; tests take what is built in half the time.
const STATIC: &str = if cfg!(debug_assertions) {
    "x86_64-unknown-linux-musl/quick"
} else {
    "x86_64-unknown-linux-musl/release"
};

/// An image to be imported.
#[derive(Debug, Clone)]
pub struct Image {
    name: &'static str,
    /// Where a file is in the image, and where it comes from.
    files: BTreeMap<PathBuf, PathBuf>,
    /// Lines of a Dockerfile.
    settings: Vec<&'static str>,
    /// How to make the files.
    made_by: &'static str,
}

impl Image {
    /// The name of [`Image::traefik`].
    pub const TRAEFIK: &'static str = "traefik:v3.7.15";

    /// `waggle/demo`: the demo application.
    pub fn demo() -> Self {
        Self {
            name: "waggle/demo",
            files: [("/waggle-demo".into(), built(&format!("{STATIC}/waggle-demo")))].into(),
            settings: vec!["ENTRYPOINT [\"/waggle-demo\"]", "EXPOSE 8080"],
            made_by: "make static static-quick",
        }
    }

    /// `waggle/controller`: what `controller/Dockerfile` makes.
    pub fn controller() -> Self {
        let module = "wasm32-wasip1/release/waggle_filter.wasm";
        Self {
            name: "waggle/controller",
            files: [
                ("/waggle".into(), built(&format!("{STATIC}/waggle"))),
                ("/waggle_filter.wasm".into(), built(module)),
            ]
            .into(),
            settings: vec![
                "ENTRYPOINT [\"/waggle\",\"serve\"]",
                "ENV WAGGLE_FILTER=/waggle_filter.wasm",
            ],
            made_by: "make programs static static-quick",
        }
    }

    /// `envoyproxy/envoy:v1.40.0`: an Envoy binary and what `examples/stack.yml` uses of the real
    /// image beside it, with the libraries that they are linked to.
    ///
    /// # Errors
    ///
    /// If `ldd` does not read a binary.
    pub fn envoy(binary: &Path) -> Result<Self> {
        let mut files: BTreeMap<PathBuf, PathBuf> =
            [("/usr/local/bin/envoy".into(), binary.into())].into();
        for program in ["sh", "bash", "sleep", "rm"] {
            let path = Path::new("/bin").join(program);
            files.insert(path.clone(), path);
        }
        let programs: Vec<PathBuf> = files.values().cloned().collect();
        // `libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`;
        // of several programs also each one's path, with a colon
        for word in run(Command::new("ldd").args(programs))?.split_whitespace() {
            if word.starts_with('/') && !word.ends_with(':') {
                files.insert(word.into(), word.into());
            }
        }
        Ok(Self {
            name: "envoyproxy/envoy:v1.40.0",
            files,
            settings: vec!["CMD [\"envoy\"]"],
            made_by: "tests/tools.sh envoy",
        })
    }

    /// A Traefik binary, which is linked to nothing.
    pub fn traefik(binary: &Path) -> Self {
        Self {
            name: Self::TRAEFIK,
            files: [("/traefik".into(), binary.into())].into(),
            settings: vec!["ENTRYPOINT [\"/traefik\"]"],
            made_by: "tests/tools.sh traefik",
        }
    }

    /// Its name, with the tag where that is not `latest`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn import(&self, engine: &Engine) -> Result<()> {
        let folder = tempfile::tempdir_in("/run")?;
        let root = folder.path().join("root");
        for (target, source) in &self.files {
            let target = root.join(target.strip_prefix("/")?);
            fs::create_dir_all(target.parent().context("a file has a folder")?)?;
            fs::copy(source, &target)
                .with_context(|| format!("{} is missing: {}", source.display(), self.made_by))?;
        }
        let archive = folder.path().join("image.tar");
        run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."))?;
        let mut import = engine.client();
        import.arg("import");
        for setting in &self.settings {
            import.args(["--change", setting]);
        }
        run(import.arg(archive).arg(self.name))?;
        Ok(())
    }
}

/// A file that Cargo has built.
fn built(path: &str) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"),
        PathBuf::from,
    );
    target.join(path)
}
