//! Where the parts of the virtual machine are, and what to say when one is missing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command that brings what is missing.
const REMEDY: &str = "run tests/vm/prepare";

/// Everything that a virtual machine is made of but its program.
pub(crate) struct Parts {
    /// Where they are, and what a machine says goes.
    pub(crate) place: PathBuf,
    /// The kernel.
    pub(crate) kernel: PathBuf,
    /// Its modules, somewhere below.
    pub(crate) modules: PathBuf,
    /// A static busybox.
    pub(crate) busybox: PathBuf,
    emulator: Emulator,
}

enum Emulator {
    /// The machine has one.
    Installed,
    /// One that is only unpacked: its own libraries and firmware are in the same tree.
    Unpacked(PathBuf),
}

impl Parts {
    /// Finds them, or says what is missing. With `SKEP_REQUIRE_ALL` nothing may be missing.
    pub(crate) fn find() -> Option<Self> {
        match Self::look() {
            Ok(parts) => Some(parts),
            Err(missing) => {
                assert!(env::var_os("SKEP_REQUIRE_ALL").is_none(), "this test needs {missing}");
                eprintln!("SKIP: this test needs {missing}");
                None
            }
        }
    }

    fn look() -> Result<Self, String> {
        let place = target().join("vm");
        let busybox = ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.exists());
        let boot = fs::read_dir(place.join("kernel/boot")).map_err(|_| format!("a kernel: {REMEDY}"))?;
        let is_kernel = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz"));
        Ok(Self {
            kernel: boot.flatten().map(|e| e.path()).find(is_kernel).ok_or(format!("a kernel: {REMEDY}"))?,
            modules: place.join("kernel/lib/modules"),
            busybox: busybox.ok_or("busybox: install busybox-static")?,
            emulator: emulator(&place).ok_or(format!("qemu-system-x86_64: {REMEDY}"))?,
            place,
        })
    }

    /// The emulator's command, still without a machine.
    pub(crate) fn emulator(&self) -> Command {
        match &self.emulator {
            Emulator::Installed => Command::new("qemu-system-x86_64"),
            Emulator::Unpacked(tree) => {
                let mut command = Command::new(tree.join("usr/bin/qemu-system-x86_64"));
                let libraries = ["usr/lib", "lib"].map(|dir| tree.join(dir).join("x86_64-linux-gnu"));
                command.env("LD_LIBRARY_PATH", env::join_paths(libraries).expect("the target's path has no colon"));
                for firmware in ["qemu", "seabios"] {
                    command.arg("-L").arg(tree.join("usr/share").join(firmware));
                }
                command
            }
        }
    }
}

fn emulator(place: &Path) -> Option<Emulator> {
    let tree = place.join("emulator");
    if tree.join("usr/bin/qemu-system-x86_64").exists() {
        return Some(Emulator::Unpacked(tree));
    }
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths).any(|dir| dir.join("qemu-system-x86_64").exists()).then_some(Emulator::Installed)
}

/// Where builds go: `prepare` puts its things beside them.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

/// The runtime's container tests, built if they are not yet. The whole workspace is named, because a part of it would be built
/// with other features, and so all over again.
pub(crate) fn container_tests() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    build.args(["test", "--workspace", "--locked", "--test", "containers", "--no-run", "--message-format=json"]);
    let output = build.output().expect("run cargo");
    assert!(output.status.success(), "build the container tests: {}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut built = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let executable = built.find_map(|message| {
        let ours = message["target"]["name"] == "containers";
        message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    });
    executable.expect("cargo says where the container tests are")
}
