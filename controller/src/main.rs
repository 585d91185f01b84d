//! The `waggle` binary: settings, telemetry, connect, spawn, wait, drain.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use waggle_controller::settings::{Cli, Command, LoadError};
use waggle_controller::{bootstrap, check, keys, serve};

/// musl's own, of the static program, takes twice as long over a big Swarm (`docs/decisions.md`, 53).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::load() {
        Ok(cli) => cli,
        Err(LoadError::CommandLine(error)) => error.exit(),
        Err(error) => {
            error.to_string().lines().for_each(|line| eprintln!("waggle: {line}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = match cli.command {
        Command::Serve(settings) if settings.print_config => {
            settings.warnings.iter().for_each(|warning| eprintln!("waggle: {warning}"));
            print!("{}", settings.print_config());
            Ok(())
        }
        Command::Serve(settings) => {
            tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::new(&settings.log))
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .init();
            match shutdown_on_signal() {
                Ok(shutdown) => serve::serve(*settings, shutdown).await,
                Err(error) => Err(error.into()),
            }
        }
        Command::Bootstrap(args) => {
            print!("{}", bootstrap::bootstrap(&args));
            Ok(())
        }
        Command::Keys(args) => keys::run(&args),
        Command::Check(args) => return check::check(&args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waggle: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A token that the first SIGTERM or SIGINT cancels.
fn shutdown_on_signal() -> std::io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        token.cancel();
    });
    Ok(shutdown)
}
