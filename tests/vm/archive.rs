//! Writes the archive that the kernel unpacks as its first root filesystem. *Source:* the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`, format `newc`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CONSOLE: u32 = 0o020_600;

/// Entries and their padding begin at multiples of this.
const ALIGNMENT: usize = 4;

/// An archive being written.
pub(crate) struct Archive {
    file: File,
    length: usize,
    entries: u32,
}

/// What one entry's header says.
struct Entry<'a> {
    name: &'a str,
    mode: u32,
    size: usize,
    device: (u32, u32),
}

impl Archive {
    /// Begins an archive in `file`, with the console, without which the first process could say nothing.
    pub(crate) fn begin(file: File) -> io::Result<Self> {
        let mut archive = Self { file, length: 0, entries: 0 };
        archive.directory("dev")?;
        archive.header(&Entry { name: "dev/console", mode: CONSOLE, size: 0, device: (5, 1) })?;
        Ok(archive)
    }

    /// An empty directory.
    pub(crate) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.header(&Entry { name, mode: DIRECTORY, size: 0, device: (0, 0) })
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, name: &str, to: &str) -> io::Result<()> {
        self.entry(name, LINK, to.as_bytes())
    }

    /// A file that may be executed.
    pub(crate) fn program(&mut self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.entry(name, PROGRAM, contents)
    }

    /// A copy of a file of this machine.
    pub(crate) fn copy(&mut self, name: &str, from: &Path) -> io::Result<()> {
        self.program(name, &fs::read(from)?)
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.header(&Entry { name: "TRAILER!!!", mode: 0, size: 0, device: (0, 0) })?;
        self.file.flush()
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) -> io::Result<()> {
        self.header(&Entry { name, mode, size: contents.len(), device: (0, 0) })?;
        self.write(contents)?;
        self.pad()
    }

    fn header(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.entries += 1;
        let Entry { name, mode, size, device: (major, minor) } = entry;
        let name_size = name.len() + 1;
        let (number, links) = (self.entries, 1);
        let text = format!(
            "070701{number:08x}{mode:08x}{0:08x}{0:08x}{links:08x}{0:08x}{size:08x}{0:08x}{0:08x}{major:08x}{minor:08x}{name_size:08x}{0:08x}",
            0
        );
        self.write(text.as_bytes())?;
        self.write(name.as_bytes())?;
        self.write(&[0])?;
        self.pad()
    }

    fn pad(&mut self) -> io::Result<()> {
        let missing = self.length.next_multiple_of(ALIGNMENT) - self.length;
        self.write(&[0; ALIGNMENT][..missing])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len();
        self.file.write_all(bytes)
    }
}
