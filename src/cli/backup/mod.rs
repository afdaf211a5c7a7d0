//! `backup` and `restore`: all that the managers keep, in one encrypted file.
//!
//! The daemon gives a backup part by part, in clear, over its own socket; what lies in a file is encrypted here, so that no daemon ever has the
//! secret. [`format`] is the file, [`key`] the secret, [`take`] and [`restore`] the commands. A file is written beside its name and renamed when it is
//! whole and on the disk. A restore changes nothing before the last part has been read, found good, and taken.

mod file;
mod format;
mod key;
mod restore;
mod take;

pub(crate) use restore::{RestoreFlags, run as restore};
pub(crate) use take::{BackupFlags, run as take};
