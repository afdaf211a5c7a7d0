//! Runs a virtual machine and listens to what it says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::archive::Archive;
use crate::modules;
use crate::parts::Parts;

/// Bound on a whole run. On a quiet machine it takes a tenth of that; an emulator on a busy one is slow.
const RUN_MAX: Duration = Duration::from_secs(900);

/// Memory of the machine, MiB. It holds the programs three times over while it boots: archive, first root, and last root.
const MEMORY_MIB: &str = "1024";

/// `quiet` and the level: of the kernel's own messages only a panic, so that nothing falls between the words of a claim.
const KERNEL_WORDS: &str = "console=ttyS0 quiet loglevel=1 panic=-1 cgroup_no_v1=all";

/// What is special in one machine.
pub(crate) struct Guest<'a> {
    /// Names the file beside the machine's parts into which it speaks, for who wants to listen meanwhile.
    pub(crate) name: &'a str,
    /// The program under test and its name in the machine.
    pub(crate) program: (&'a str, &'a Path),
    /// The shell script that makes claims.
    pub(crate) claims: &'a str,
}

/// What the machine said, line by line.
#[derive(Debug)]
pub(crate) struct Transcript(Vec<String>);

/// The emulator's process, which does not outlive its owner.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots, and listens until the machine is off.
pub(crate) fn run(parts: &Parts, guest: &Guest<'_>) -> Transcript {
    let root = tempfile::NamedTempFile::new().expect("make a file");
    write_root(parts, guest, root.reopen().expect("open the file")).expect("write the first root filesystem");
    let mut command = parts.emulator();
    // Without KVM: not every machine that runs tests has one that works, and a different machine would test something else.
    command.args(["-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", MEMORY_MIB]);
    command.args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-append", KERNEL_WORDS]);
    command.arg("-kernel").arg(&parts.kernel).arg("-initrd").arg(root.path());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start the emulator");
    let mut emulator = Emulator(child);
    let record = File::create(parts.place.join(guest.name).with_extension("console")).expect("make the record");
    let transcript = listen(emulator.0.stdout.take().expect("its output is a pipe"), record);
    let status = emulator.0.wait().expect("wait for the emulator");
    assert!(status.success(), "the emulator ended with {status}: {transcript}");
    transcript
}

fn write_root(parts: &Parts, guest: &Guest<'_>, file: File) -> io::Result<()> {
    let mut root = Archive::begin(file)?;
    for directory in ["bin", "guest", "modules"] {
        root.directory(directory)?;
    }
    root.copy("bin/busybox", &parts.busybox)?;
    root.link("bin/sh", "busybox")?;
    let (name, program) = guest.program;
    root.copy(&format!("bin/{name}"), program)?;
    root.program("init", include_bytes!("guest/init"))?;
    root.program("guest/main", include_bytes!("guest/main"))?;
    root.program("guest/claims", guest.claims.as_bytes())?;
    for (number, module) in modules::in_order(&parts.modules).iter().enumerate() {
        root.copy(&format!("modules/{number:03}"), module)?;
    }
    root.finish()
}

/// Reads until the end of the output, which is the end of the emulator.
fn listen(console: impl io::Read + Send + 'static, mut record: File) -> Transcript {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let _ = writeln!(record, "{line}");
            let _ = sender.send(line);
        }
    });
    collect(&lines)
}

fn collect(lines: &Receiver<String>) -> Transcript {
    let deadline = Instant::now() + RUN_MAX;
    let mut transcript = Transcript(Vec::new());
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => transcript.0.push(line),
            Err(RecvTimeoutError::Disconnected) => return transcript,
            Err(RecvTimeoutError::Timeout) => panic!("the machine was not done after {RUN_MAX:?}: {transcript}"),
        }
    }
}

impl Transcript {
    /// What the machine says of itself, `vm: ...`.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|line| line.strip_prefix("vm: "))
    }

    /// The claims, with whether they hold: `test NAME ... ok`.
    pub(crate) fn claims(&self) -> Vec<(&str, bool)> {
        let parse = |line| -> Option<(&str, bool)> {
            let (name, verdict) = str::strip_prefix(line, "test ")?.split_once(" ... ")?;
            Some((name, verdict == "ok"))
        };
        self.0.iter().map(String::as_str).filter_map(parse).collect()
    }
}

impl std::fmt::Display for Transcript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}
