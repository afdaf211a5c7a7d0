//! `backup`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use prost::Message as _;
use skep_proto::pb;
use skep_proto::pb::backup_part::Part;

use super::file::Draft;
use super::format::{Header, Sealer};
use super::key::{Secret, derive, draw_salt};
use crate::cli::connect::Daemon;
use crate::cli::format::units::decimal_size;
use crate::cli::json::id_text;
use crate::cli::output::print;
use crate::exit::Exit;

/// Largest part that is taken: one object may be large.
const PART_LEN_MAX: usize = 72 << 20;

/// Flags of `backup`.
#[derive(Args, Clone, Debug)]
pub(crate) struct BackupFlags {
    /// Encrypt with the text in this file, instead of a recovery key that is made up and printed
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(short, long)]
    force: bool,
    /// Print nothing but the recovery key
    #[arg(short, long)]
    quiet: bool,
    /// Where to put the backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Writes everything that the managers keep into one encrypted file.
///
/// # Errors
/// When the managers do not give it, or the disk refuses; no file is left then.
pub(crate) async fn run(daemon: &Daemon, flags: &BackupFlags) -> anyhow::Result<Exit> {
    let (secret, drawn) = match &flags.key_file {
        Some(path) => (Secret::from_file(path)?, None),
        None => {
            let (secret, text) = Secret::draw();
            (secret, Some(text))
        }
    };
    let draft = Draft::begin(&flags.file, flags.force)?;
    let salt = draw_salt();
    let rounds = secret.rounds();
    let key = derive(&secret, &salt, rounds);
    let header = Header { rounds, salt, check: key.check };
    let writing = || format!("write the backup {}", flags.file.display());
    let mut sealer = Sealer::begin(draft, &header, &key).with_context(writing)?;
    let mut control = daemon.control().max_decoding_message_size(PART_LEN_MAX);
    let mut parts = control.get_backup(pb::Empty {}).await?.into_inner();
    let mut taken = Taken::default();
    while let Some(part) = parts.message().await? {
        let is_last = matches!(part.part, Some(Part::End(_)));
        sealer.add(&part.encode_to_vec(), is_last).with_context(writing)?;
        taken.note(part);
    }
    if taken.end.is_none() {
        bail!("take the backup: the leader of the swarm did not give all of it; try again");
    }
    taken.bytes = sealer.finish().finish()?;
    print(&taken.report(flags, drawn.as_deref()))?;
    Ok(Exit::Done)
}

/// What there was.
#[derive(Debug, Default)]
struct Taken {
    about: pb::BackupAbout,
    end: Option<pb::BackupEnd>,
    bytes: u64,
}

impl Taken {
    fn note(&mut self, part: pb::BackupPart) {
        match part.part {
            Some(Part::About(about)) => self.about = about,
            Some(Part::End(end)) => self.end = Some(end),
            _ => {}
        }
    }

    fn report(&self, flags: &BackupFlags, drawn: Option<&str>) -> String {
        let (pb::BackupEnd { nodes, services, tasks }, file) = (self.end.unwrap_or_default(), flags.file.display());
        if flags.quiet {
            return drawn.map(|key| format!("{key}\n")).unwrap_or_default();
        }
        let cluster = id_text(&self.about.cluster_id);
        let size = decimal_size(self.bytes);
        let told = format!(
            "Backup of swarm {cluster}: {nodes} nodes, {services} services, {tasks} tasks; {size} in {file}.\n"
        );
        let key = match drawn {
            Some(key) => format!(
                "\nRecovery key, which is shown only now and without which the backup cannot be read; keep it apart from the \
                 file:\n\n    {key}\n"
            ),
            None => String::new(),
        };
        let way = flags.key_file.as_ref().map(|path| format!(" --key-file {}", path.display())).unwrap_or_default();
        format!(
            "{told}{key}\nTo restore it, on a machine whose daemon is in no swarm:\n\n    skep restore{way} {file}\n\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> BackupFlags {
        BackupFlags { key_file: None, force: false, quiet: false, file: "/x/b".into() }
    }

    #[test]
    fn the_report_says_what_there_is_and_how_to_get_it_back() {
        let end = Some(pb::BackupEnd { nodes: 3, services: 2, tasks: 9 });
        let taken = Taken { end, bytes: 5_000, ..Taken::default() };
        let text = taken.report(&flags(), Some("skepbak-x"));
        for part in ["3 nodes, 2 services, 9 tasks; 5kB in /x/b.", "    skepbak-x\n", "skep restore /x/b\n"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(taken.report(&BackupFlags { quiet: true, ..flags() }, Some("skepbak-x")), "skepbak-x\n");
        let with_file = BackupFlags { key_file: Some("/k".into()), ..flags() };
        let text = taken.report(&with_file, None);
        assert!(!text.contains("Recovery key") && text.contains("skep restore --key-file /k /x/b\n"), "{text}");
    }
}
