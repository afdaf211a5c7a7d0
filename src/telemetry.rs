//! The daemon's log: on standard error, as text for people or JSON for machines; `SKEP_LOG` chooses what is said.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// Installs the log for the whole process. `SKEP_LOG` takes the usual directives, as in `skep_manager=debug`; the default is
/// `info`.
pub(crate) fn install(format: LogFormat) {
    let filter = EnvFilter::try_from_env("SKEP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}
