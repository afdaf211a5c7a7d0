//! `version`.

use clap::Args;
use serde_json::{Value, json};
use skep_proto::pb;

use super::connect::Daemon;
use super::format::inspect::{InspectFormat, render};
use super::output::print;
use crate::exit::Exit;

/// Flags of `version`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct VersionFlags {
    /// Format the output: 'json' or a template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Prints both versions; ours also when no daemon answers.
///
/// # Errors
/// When no daemon answers, after ours was printed.
pub(crate) async fn run(host: &str, flags: &VersionFlags) -> anyhow::Result<Exit> {
    let format = InspectFormat::parse(flags.format.as_deref())?;
    let server = server(host).await;
    let shown = versions(server.as_ref().ok());
    match format {
        InspectFormat::Array => print(&page(&shown))?,
        _ => print(&render(&[shown], &format)?)?,
    }
    server.map(|_| Exit::Done)
}

async fn server(host: &str) -> anyhow::Result<pb::InfoReply> {
    let daemon = Daemon::connect(host).await?;
    Ok(daemon.local().info(pb::InfoRequest {}).await?.into_inner())
}

fn versions(server: Option<&pb::InfoReply>) -> Value {
    let client = json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Os": std::env::consts::OS,
        "Arch": std::env::consts::ARCH,
    });
    let server = server.map(|info| {
        let platform = info.platform.clone().unwrap_or_default();
        json!({
            "Version": info.version,
            "Os": platform.os,
            "Arch": platform.architecture,
            "KernelVersion": info.kernel,
        })
    });
    json!({"Client": client, "Server": server})
}

fn page(versions: &Value) -> String {
    let line = |name: &str, value: String| format!(" {:<18}{value}\n", format!("{name}:"));
    let os = |part: &Value| format!("{}/{}", text(&part["Os"]), text(&part["Arch"]));
    let client = &versions["Client"];
    let mut page = format!("Client:\n{}{}", line("Version", text(&client["Version"])), line("OS/Arch", os(client)));
    let server = &versions["Server"];
    if !server.is_null() {
        page.push_str("\nServer:\n");
        page.push_str(&line("Version", text(&server["Version"])));
        page.push_str(&line("OS/Arch", os(server)));
        page.push_str(&line("Kernel", text(&server["KernelVersion"])));
    }
    page
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_shown_without_a_server() {
        let page = page(&versions(None));
        assert!(page.starts_with("Client:\n Version:          ") && !page.contains("Server"), "{page}");
    }

    #[test]
    fn both_are_shown_when_there_are_both() {
        let info = pb::InfoReply { version: "9.9".into(), kernel: "6.1".into(), ..Default::default() };
        let shown = versions(Some(&info));
        assert!(page(&shown).contains("\nServer:\n Version:          9.9\n"));
        assert_eq!(shown["Server"]["KernelVersion"], "6.1");
    }
}
