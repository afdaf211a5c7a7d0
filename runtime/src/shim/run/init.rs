//! The container's init until it becomes the program: carries out [`stages::INIT`].

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Mode, Uid};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;

use super::nursery::Heritage;
use crate::rootfs::{self, RootView};
use crate::security::{self, Identity, user};
use crate::shim::protocol::{Bundle, Failure};
use crate::shim::stages::{self, Stage};
use crate::shim::sys;

/// Largest passwd or group file that is looked at, bytes; users beyond it are not found.
const USERS_MAX: u64 = 1 << 20;

/// What the init starts with.
pub(super) struct Init {
    pub(super) bundle: Bundle,
    pub(super) heritage: Heritage,
    /// Files to write `0` to.
    pub(super) joins: Vec<File>,
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
    /// Where to report; closed by `execve`, which is the report that it worked.
    pub(super) status: OwnedFd,
    /// Where the word to start comes from.
    pub(super) go: OwnedFd,
    /// The generated files, opened outside the root and attached inside.
    pub(super) files: Vec<OwnedFd>,
}

impl Init {
    /// Becomes the program, or reports why not and returns the exit code.
    pub(super) fn run(mut self: Box<Self>) -> ExitCode {
        let _ = rustix::thread::set_name(c"skep:init");
        let mut identity = Identity { uid: 0, gid: 0, groups: Vec::new(), home: "/".to_owned() };
        for stage in stages::INIT {
            if let Err(e) = self.perform(stage, &mut identity) {
                return self.report(format!("{}: {e}", stage.text()), None);
            }
        }
        let (text, code) = self.execute(&identity);
        self.report(text, Some(code))
    }

    fn report(&self, text: String, code: Option<i32>) -> ExitCode {
        let message = [&b"F"[..], &Failure { text, code }.encode()].concat();
        let _ = rustix::io::write(&self.status, &message);
        ExitCode::from(code.and_then(|c| u8::try_from(c).ok()).unwrap_or(1))
    }

    fn perform(&mut self, stage: Stage, identity: &mut Identity) -> io::Result<()> {
        let capabilities = self.bundle.capabilities;
        match stage {
            Stage::JoinCgroups => self.joins.iter().try_for_each(|mut file| file.write_all(b"0")),
            Stage::HideCgroups => Ok(sys::unshare(UnshareFlags::NEWCGROUP)?),
            Stage::Detach => self.detach(),
            Stage::DieWithShim | Stage::DieWithShimAgain => {
                Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
            }
            Stage::Hostname => Ok(nix::unistd::sethostname(&self.bundle.hostname)?),
            Stage::EnterRoot => self.enter_root(),
            Stage::Furnish => self.furnish(),
            Stage::FindUser => self.find_user(identity),
            Stage::HandOverStreams => self.hand_over_streams(identity),
            Stage::EnterWorkdir => rootfs::sys::enter_workdir(&self.bundle.workdir, (identity.uid, identity.gid)),
            Stage::FreezeRoot if self.bundle.read_only => rootfs::sys::freeze_root(),
            Stage::FreezeRoot => Ok(()),
            Stage::LimitBounding => security::sys::limit_bounding_set(capabilities),
            Stage::LoadFilter => security::sys::load_filter(&self.heritage.filter(capabilities)),
            Stage::BecomeUser => security::sys::become_user(identity),
            Stage::LimitCapabilities => security::sys::limit_capabilities(capabilities),
            Stage::AwaitStart => self.await_start(),
        }
    }

    /// Standard streams of its own; everything else is closed by `execve`.
    fn detach(&self) -> io::Result<()> {
        rustix::process::setsid()?;
        sys::heed_signals();
        if self.heritage.is_protected {
            // The container must not be.
            fs::write("/proc/self/oom_score_adj", "0")?;
        }
        let null = OpenOptions::new().read(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        nix::unistd::dup2_stdout(&self.out)?;
        nix::unistd::dup2_stderr(&self.err)?;
        sys::close_on_exec();
        Ok(())
    }

    fn enter_root(&mut self) -> io::Result<()> {
        rootfs::sys::make_private()?;
        self.files = rootfs::sys::make_files(&self.bundle.overlay.target, &self.bundle.files)?;
        rootfs::sys::enter(&self.bundle.overlay)
    }

    /// Without a umask, so that nodes and directories get exactly the mode that the plan says; then with the usual one.
    fn furnish(&self) -> io::Result<()> {
        rustix::process::umask(Mode::empty());
        let view = RootView { read_only: self.bundle.read_only, groups: &self.bundle.groups };
        for step in rootfs::plan(&view) {
            rootfs::sys::perform(&step, &self.files).map_err(|e| io::Error::other(format!("{step}: {e}")))?;
        }
        rustix::process::umask(Mode::from_raw_mode(0o022));
        Ok(())
    }

    fn find_user(&self, identity: &mut Identity) -> io::Result<()> {
        let read = |path| rootfs::sys::read_text(path, USERS_MAX);
        let found = user::resolve(&self.bundle.user, &read("/etc/passwd"), &read("/etc/group"));
        *identity = found.map_err(io::Error::other)?;
        Ok(())
    }

    fn hand_over_streams(&self, identity: &Identity) -> io::Result<()> {
        nix::unistd::dup2_stdin(rootfs::sys::open_input()?)?;
        let owner = Some(Uid::from_raw(identity.uid));
        [&self.out, &self.err].into_iter().try_for_each(|pipe| Ok(rustix::fs::fchown(pipe, owner, None)?))
    }

    fn await_start(&self) -> io::Result<()> {
        rustix::io::write(&self.status, b"R")?;
        let mut word = [0];
        match rustix::io::read(&self.go, &mut word)? {
            0 => Err(io::Error::other("the shim is gone")),
            _ => Ok(()),
        }
    }

    /// Tries the program's candidates. Returns only if none could be executed: what to say, and the exit code.
    fn execute(&self, identity: &Identity) -> (String, i32) {
        let program = self.bundle.command.first().map_or("", String::as_str);
        let path = self.bundle.env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("");
        let mut env = self.bundle.env.clone();
        if !env.iter().any(|e| e.starts_with("HOME=")) {
            env.push(format!("HOME={}", identity.home));
        }
        let (Some(args), Some(env)) = (c_strings(&self.bundle.command), c_strings(&env)) else {
            return stages::exec_failure(program, libc::EINVAL, false);
        };
        let (candidates, mut worst) = (stages::candidates(program, path), libc::ENOENT);
        for name in candidates.iter().filter_map(|candidate| CString::new(candidate.as_str()).ok()) {
            let Err(e) = nix::unistd::execve(&name, &args, &env);
            // A found but forbidden program says more than a directory without it.
            if !matches!(e as i32, libc::ENOENT | libc::ENOTDIR) {
                worst = e as i32;
            }
        }
        let found = candidates.iter().any(|candidate| Path::new(candidate).is_file());
        stages::exec_failure(program, worst, found)
    }
}

fn c_strings(texts: &[String]) -> Option<Vec<CString>> {
    texts.iter().map(|t| CString::new(t.as_str()).ok()).collect()
}
