//! The store as a whole, on a real disk.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

mod archives;
mod hostile;
mod loading;
mod mutations;
mod removal;

use archives::{Tar, root_or_skip};

/// A store in a directory of its own.
pub(super) struct Fixture {
    pub(super) directory: TempDir,
    pub(super) store: ImageStore,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(Limits::DEFAULT)
    }

    pub(super) fn with(limits: Limits) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("program"), b"#!program one").unwrap();
        let store = ImageStore::open_with(directory.path(), &directory.path().join("program"), limits).unwrap();
        Self { directory, store }
    }

    pub(super) fn reopen(&mut self) {
        self.store = ImageStore::open(self.directory.path(), &self.directory.path().join("program")).unwrap();
    }

    pub(super) fn import(&self, tar: &[u8], name: &str) -> Result<Image, ImageError> {
        self.store.import(&mut &tar[..], name, ImageConfig::default())
    }

    /// How many entries a folder of the store has.
    pub(super) fn count(&self, folder: &str) -> usize {
        fs::read_dir(self.directory.path().join("images").join(folder)).unwrap().count()
    }
}

/// Waits until the janitor is done.
pub(super) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < 30, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn imported_tree_is_a_layer_directory() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .directory("etc/", 0o750)
        .file("etc/motd", b"hi")
        .link("etc/m", "motd")
        .hard_link("motd2", "etc/motd");
    let config = ImageConfig { cmd: vec!["sh".to_owned()], ..ImageConfig::default() };
    let image = fixture.store.import(&mut &tar.finish()[..], "web", config.clone()).unwrap();
    assert_eq!(
        (image.references.as_slice(), image.size_bytes, &image.config),
        (&["web:latest".to_owned()][..], 2, &config)
    );
    let layer = &image.layers[0];
    assert_eq!(fs::read(layer.join("motd2")).unwrap(), b"hi");
    assert_eq!(fs::read_link(layer.join("etc/m")).unwrap(), PathBuf::from("motd"));
    let (etc, motd) = (fs::metadata(layer.join("etc")).unwrap(), fs::metadata(layer.join("etc/motd")).unwrap());
    assert_eq!((etc.permissions().mode() & 0o7777, etc.mtime()), (0o750, archives::MTIME));
    assert_eq!((motd.nlink(), motd.mtime()), (2, archives::MTIME));
}

#[test]
fn import_undoes_gzip_and_zstd() {
    let fixture = Fixture::new();
    let tar = Tar::new().file("a", &[7; 100_000]).finish();
    let plain = fixture.import(&tar, "plain").unwrap();
    let gzip = fixture.import(&archives::gzip(&tar), "gzip").unwrap();
    let zstd = fixture.import(&archives::zstd(&tar), "zstd").unwrap();
    assert_eq!(plain.layers, gzip.layers);
    assert_eq!(plain.layers, zstd.layers);
    assert_eq!(fixture.count("layers"), 1);
}

#[test]
fn images_are_found_by_name_id_and_prefix() {
    let fixture = Fixture::new();
    let image = fixture.import(&Tar::new().file("a", b"a").finish(), "team/web:1").unwrap();
    let hex = image.id.strip_prefix("sha256:").unwrap();
    for text in ["docker.io/team/web:1", &image.id, hex, &hex[..2], &image.id[..20], &format!("any@{}", image.id)] {
        assert_eq!(fixture.store.get(text).unwrap().id, image.id, "{text}");
    }
    for text in ["team/web", &hex[..1], "nothing", "", "sha256:"] {
        assert!(matches!(fixture.store.get(text), Err(ImageError::NotFound { .. })), "{text}");
    }
}

#[test]
fn store_survives_reopening_and_clears_what_was_half_made() {
    let mut fixture = Fixture::new();
    let image = fixture.import(&Tar::new().file("a", b"a").finish(), "web").unwrap();
    let images = fixture.directory.path().join("images");
    fs::create_dir_all(images.join("tmp/9/layer/etc")).unwrap();
    fs::create_dir_all(images.join("layers").join("f".repeat(64)).join("etc")).unwrap();
    fs::write(images.join("configs").join("e".repeat(64)), b"{}").unwrap();
    fixture.reopen();
    assert_eq!(fixture.store.list(), [image]);
    assert_eq!((fixture.count("layers"), fixture.count("configs")), (1, 1));
    wait_until("tmp is empty", || fixture.count("tmp") == 0);
}

#[test]
fn hello_is_made_when_asked_for_and_again_when_the_program_changed() {
    let Some(()) = root_or_skip("hello belongs to root") else { return };
    let fixture = Fixture::new();
    assert!(fixture.store.list().is_empty());
    let first = fixture.store.pin("skep/hello", "c1").unwrap();
    assert_eq!(first.config.entrypoint, ["/skep", "hello"]);
    assert_eq!(fs::read(first.layers[0].join("skep")).unwrap(), b"#!program one");
    assert_eq!(fs::metadata(first.layers[0].join("skep")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(first.layers[0].join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
    assert_eq!(fixture.store.get("docker.io/skep/hello:latest").unwrap(), first);
    fs::write(fixture.directory.path().join("program"), b"#!program number two").unwrap();
    let second = fixture.store.pin("skep/hello", "c2").unwrap();
    assert_ne!(first.id, second.id);
    assert!(first.layers[0].join("skep").exists(), "a container still uses it");
    fs::write(fixture.directory.path().join("program"), b"#!program number three").unwrap();
    fixture.store.unpin("c2");
    fixture.store.get("skep/hello").unwrap();
    assert!(!second.layers[0].exists(), "nobody uses it");
}

#[test]
fn digest_of_hello_is_that_of_its_tar() {
    let Some(()) = root_or_skip("hello belongs to root") else { return };
    let fixture = Fixture::new();
    let image = fixture.store.get("skep/hello").unwrap();
    let hex = image.layers[0].file_name().unwrap().to_str().unwrap().to_owned();
    let mtime = fs::metadata(fixture.directory.path().join("program")).unwrap().mtime();
    let passwd = fs::read(image.layers[0].join("etc/passwd")).unwrap();
    let group = fs::read(image.layers[0].join("etc/group")).unwrap();
    let tar = Tar::at(mtime).directory("./", 0o755).directory("etc/", 0o755).directory("tmp/", 0o1777);
    let tar = tar.file("etc/passwd", &passwd).file("etc/group", &group).file_mode("skep", b"#!program one", 0o755);
    assert_eq!(hex, Digest::of(&tar.finish()).hex());
}

#[test]
fn layer_that_someone_deleted_is_named() {
    let fixture = Fixture::new();
    let image = fixture.import(&Tar::new().file("a", b"a").finish(), "web").unwrap();
    fs::remove_dir_all(&image.layers[0]).unwrap();
    assert!(
        matches!(fixture.store.pin("web", "c"), Err(ImageError::MissingLayer { path, .. }) if path == image.layers[0])
    );
}

#[test]
fn owners_rights_and_attributes_are_kept() {
    let Some(()) = root_or_skip("owners can be given away by root alone") else { return };
    let fixture = Fixture::new();
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::new().owned("bin/su", b"su", 0o4755, (5, 6)).pax("SCHILY.xattr.security.capability", &capability);
    let tar =
        tar.file("bin/ping", b"ping").owned_directory("shared/", 0o2775, (7, 8)).file("shared/x", b"").fifo("pipe");
    let layer = fixture.import(&tar.finish(), "web").unwrap().layers[0].clone();
    let su = fs::metadata(layer.join("bin/su")).unwrap();
    assert_eq!((su.uid(), su.gid(), su.permissions().mode() & 0o7777), (5, 6, 0o4755));
    assert_eq!(xattr(&layer.join("bin/ping"), "security.capability"), capability);
    let shared = fs::metadata(layer.join("shared")).unwrap();
    assert_eq!((shared.uid(), shared.gid(), shared.permissions().mode() & 0o7777), (7, 8, 0o2775));
    assert_eq!(fs::metadata(layer.join("shared/x")).unwrap().gid(), 0, "the set-group bit comes last");
    assert!(fs::metadata(layer.join("pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn whiteouts_become_those_of_overlayfs() {
    let Some(()) = root_or_skip("devices can be made by root alone") else { return };
    let fixture = Fixture::new();
    let tar =
        Tar::new().file(".wh.gone", b"").file("dir/.wh..wh..opq", b"").file("dir/new", b"").file(".wh..wh.plnk", b"");
    let tar = tar
        .file(".wh.again", b"")
        .file("again", b"x")
        .file(".wh.deep", b"")
        .file("deep/x", b"x")
        .node("made", b'3', 0, 0);
    let layer = fixture.import(&tar.finish(), "web").unwrap().layers[0].clone();
    for name in ["gone", "made"] {
        let gone = fs::symlink_metadata(layer.join(name)).unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0, "{name}");
    }
    assert_eq!(xattr(&layer.join("dir"), "trusted.overlay.opaque"), b"y");
    assert_eq!(xattr(&layer.join("deep"), "trusted.overlay.opaque"), b"y");
    assert!(fs::metadata(layer.join("again")).unwrap().is_file());
    assert_eq!(fs::read_dir(&layer).unwrap().count(), 5, "nothing is left of the driver's book-keeping");
}

#[test]
fn many_threads_import_the_same_layer_at_once() {
    let fixture = Fixture::new();
    let tar = Tar::new().file("a", &[1; 300_000]).finish();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (fixture, tar) = (&fixture, &tar);
            scope.spawn(move || fixture.import(tar, &format!("web:{number}")).unwrap());
        }
    });
    let names: usize = fixture.store.list().iter().map(|image| image.references.len()).sum();
    assert_eq!((names, fixture.count("layers"), fixture.count("tmp")), (8, 1, 0));
}

/// A reader that looks into the store halfway through.
struct Nosy<'a> {
    tar: &'a [u8],
    store: &'a ImageStore,
}

impl Read for Nosy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        assert!(self.store.get("first").is_ok());
        self.store.tag("first", "second").unwrap();
        self.tar.read(buffer)
    }
}

#[test]
fn neither_readers_nor_writers_wait_for_an_import() {
    let fixture = Fixture::new();
    let tar = Tar::new().file("a", b"a").finish();
    fixture.import(&tar, "first").unwrap();
    let mut nosy = Nosy { tar: &tar, store: &fixture.store };
    fixture.store.import(&mut nosy, "third", ImageConfig::default()).unwrap();
    assert!(fixture.store.get("second").is_ok() && fixture.store.get("third").is_ok());
}

pub(super) fn xattr(path: &Path, name: &str) -> Vec<u8> {
    let mut value = [0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
    value[..length].to_vec()
}

#[test]
fn an_image_may_be_imported_without_a_name() {
    let fixture = Fixture::new();
    let image = fixture.import(&Tar::new().file("a", b"a").finish(), "").unwrap();
    assert!(image.references.is_empty());
    assert_eq!(fixture.store.get(&image.id).unwrap().id, image.id);
    assert!(fixture.import(&Tar::new().finish(), "BAD").is_err());
}
