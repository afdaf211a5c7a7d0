//! Archives that want out, or want too much. Each must be refused and leave nothing behind.

use super::*;

fn small() -> Limits {
    Limits {
        layer_bytes: 1 << 20,
        image_bytes: 2 << 20,
        members: 50,
        name_bytes: 10_000,
        ratio: 10,
        bomb_free_bytes: 64 << 10,
        document_bytes: 1_000,
        documents_bytes: 5_000,
        layers: 3,
    }
}

/// What the store says to an archive, after a look that nothing is left of it.
fn refusal(tar: &[u8]) -> Refusal {
    let fixture = Fixture::with(small());
    let error = fixture.import(tar, "web").unwrap_err();
    assert!(fixture.store.list().is_empty());
    assert_eq!((fixture.count("layers"), fixture.count("tmp"), fixture.count("configs")), (0, 0, 0));
    assert!(!fixture.directory.path().join("escaped").exists());
    match error {
        ImageError::Member { refusal, .. } | ImageError::Archive { refusal } => refusal,
        other => panic!("{other}"),
    }
}

#[test]
fn ways_out_of_the_root_are_refused() {
    let table: [(&str, Tar, Refusal); 12] = [
        ("absolute", Tar::new().file("/escaped", b"x"), Refusal::Absolute),
        ("climbing", Tar::new().file("a/../../escaped", b"x"), Refusal::Climbs),
        ("pax path", Tar::new().pax("path", b"../escaped").file("a", b"x"), Refusal::Climbs),
        ("gnu path", Tar::new().member(b"long", b'L', b"/escaped\0", |_| ()).file("a", b"x"), Refusal::Absolute),
        ("symlink out", Tar::new().link("a", "../../escaped"), Refusal::LinkOut),
        ("hard link out", Tar::new().hard_link("a", "../program"), Refusal::LinkOut),
        ("absolute hard link", Tar::new().hard_link("a", "/etc/passwd"), Refusal::LinkOut),
        ("through a symlink", Tar::new().link("a", "/tmp").file("a/escaped", b"x"), Refusal::ThroughLink),
        ("onto a symlink", Tar::new().link("a", "/tmp/escaped").file("a", b"x"), Refusal::Duplicate),
        ("directory onto a symlink", Tar::new().link("a", "/tmp").directory("a/", 0o777), Refusal::Duplicate),
        ("hard link through a symlink", Tar::new().link("a", "/etc").hard_link("b", "a/passwd"), Refusal::ThroughLink),
        ("through a file", Tar::new().file("a", b"x").file("a/b", b"x"), Refusal::ThroughFile),
    ];
    for (what, tar, expected) in table {
        assert_eq!(refusal(&tar.finish()), expected, "{what}");
    }
}

#[test]
fn what_a_layer_must_not_hold_is_refused() {
    let table: [(&str, Tar, Refusal); 11] = [
        ("attribute without a name", Tar::new().pax("SCHILY.xattr.user.", b"v").file("a", b""), Refusal::Attribute),
        ("owner that is nobody", Tar::new().owned("a", b"", 0o644, (u64::from(u32::MAX), 0)), Refusal::Number),
        ("character device", Tar::new().node("null", b'3', 1, 3), Refusal::Device),
        ("block device", Tar::new().node("sda", b'4', 8, 0), Refusal::Device),
        ("twice the same file", Tar::new().file("a", b"1").file("./a", b"2"), Refusal::Duplicate),
        ("hard link to nothing", Tar::new().hard_link("a", "b"), Refusal::LinkTarget),
        ("hard link to a directory", Tar::new().directory("b/", 0o755).hard_link("a", "b"), Refusal::LinkTarget),
        ("sparse file", Tar::new().member(b"a", b'S', b"", |_| ()), Refusal::Kind('S')),
        ("whiteout of the parent", Tar::new().file("a/.wh...", b""), Refusal::BadPath),
        ("file in place of the root", Tar::new().file(".", b""), Refusal::BadPath),
        ("owner beyond the kernel's", Tar::new().owned("a", b"", 0o644, (1 << 33, 0)), Refusal::Number),
    ];
    for (what, tar, expected) in table {
        assert_eq!(refusal(&tar.finish()), expected, "{what}");
    }
}

#[test]
fn damaged_archives_are_refused() {
    let whole = Tar::new().file("a", &[1; 2_000]).finish();
    assert_eq!(refusal(&whole[..1_000]), Refusal::Truncated);
    assert_eq!(refusal(&whole[..300]), Refusal::Truncated);
    assert_eq!(refusal(b""), Refusal::Truncated);
    assert_eq!(refusal(&Tar::new().file("a", b"a").cut()), Refusal::Truncated);
    assert_eq!(refusal(&archives::gzip(&whole)[..60]), Refusal::Truncated);
    assert_eq!(refusal(&[b'x'; 2_000]), Refusal::Header);
    let record = Tar::new().member(b"pax", b'x', b"99 path=a\n", |_| ()).file("a", b"").finish();
    assert_eq!(refusal(&record), Refusal::Extension);
}

#[test]
fn what_cannot_be_decompressed_is_refused() {
    let fixture = Fixture::new();
    let tar = Tar::new().file("a", &[1; 2_000]).finish();
    for packed in [archives::gzip(&tar), archives::zstd(&tar)] {
        let mut damaged = packed.clone();
        let at = damaged.len() - 6;
        damaged[at] ^= 0x55;
        assert!(fixture.import(&damaged, "web").is_err());
    }
    assert_eq!((fixture.count("layers"), fixture.count("tmp")), (0, 0));
}

#[test]
fn limits_stop_what_is_too_large() {
    let limits = small();
    let zeros = vec![0; 900 << 10];
    let bomb = archives::gzip(&Tar::new().file("zeros", &zeros).finish());
    assert_eq!(refusal(&bomb), Refusal::Bomb(limits.ratio));
    let noise = Tar::new().file("a", &zeros).file("b", &zeros).finish();
    assert_eq!(refusal(&noise), Refusal::TooManyBytes(limits.layer_bytes));
    let absurd = Tar::new().member(b"a", b'0', b"", |header| header.set_size(1 << 50)).finish();
    assert_eq!(refusal(&absurd), Refusal::TooManyBytes(limits.layer_bytes));
    let largest = Tar::new().pax("size", b"18446744073709551615").file("a", b"").finish();
    assert!(matches!(refusal(&largest), Refusal::TooManyBytes(_) | Refusal::Number));
    let extension = Tar::new().member(b"pax", b'x', b"", |header| header.set_size(1 << 30)).finish();
    assert_eq!(refusal(&extension), Refusal::Extension);
}

#[test]
fn limits_stop_what_is_too_many() {
    let limits = small();
    let many = (0..60).fold(Tar::new(), |tar, number| tar.file(&number.to_string(), b""));
    assert_eq!(refusal(&many.finish()), Refusal::TooManyMembers(limits.members));
    let implied = Tar::new().file(&format!("{}x", "d/".repeat(49)), b"").file(&format!("{}x", "e/".repeat(49)), b"");
    assert_eq!(refusal(&implied.finish()), Refusal::TooManyMembers(limits.members));
    let deep = Tar::new().pax("path", "d/".repeat(1_000).as_bytes()).file("a", b"");
    assert_eq!(refusal(&deep.finish()), Refusal::BadPath);
}

#[test]
fn limits_stop_what_has_to_be_remembered() {
    let limits = small();
    let value = [b'v'; 3_000];
    let heavy = (0..4).fold(Tar::new(), |tar, number| {
        tar.pax("SCHILY.xattr.user.heavy", &value).directory(&format!("{number}/"), 0o755)
    });
    assert_eq!(refusal(&heavy.finish()), Refusal::TooMuchMetadata(limits.name_bytes));
    let again = (0..4).fold(Tar::new(), |tar, _| tar.pax("SCHILY.xattr.user.heavy", &value).directory("a/", 0o755));
    assert_eq!(refusal(&again.finish()), Refusal::TooMuchMetadata(limits.name_bytes));
    let fixture = Fixture::with(limits.clone());
    let links = (0..4).fold(Tar::new(), |tar, number| {
        tar.pax("linkpath", "l/".repeat(1_500).as_bytes()).link(&number.to_string(), "x")
    });
    let error = fixture.store.load(&mut &links.finish()[..]).unwrap_err();
    assert!(matches!(error, ImageError::Member { refusal: Refusal::TooMuchMetadata(10_000), .. }), "{error}");
}

#[test]
fn refused_layers_count_against_the_limit_of_all() {
    let limits = small();
    let fixture = Fixture::with(limits.clone());
    let bad = Tar::new().file("a", &vec![1; 900 << 10]).file("../x", b"").finish();
    let store = &fixture.store;
    let mut budget = Budget::new(&limits);
    for _ in 0..2 {
        assert!(store.stage(&bad[..], &mut budget).is_err());
    }
    assert!(budget.layer_bytes() < limits.image_bytes - (1_800 << 10), "{}", budget.layer_bytes());
}

#[test]
fn documents_beyond_the_limit_are_refused_when_needed() {
    let fixture = Fixture::with(small());
    let large = format!("[{}]", " ".repeat(2_000));
    let tar = Tar::new().file("manifest.json", large.as_bytes()).finish();
    let error = fixture.store.load(&mut &tar[..]).unwrap_err();
    assert!(matches!(error, ImageError::Member { refusal: Refusal::TooMuchMetadata(1_000), .. }), "{error}");
}

#[test]
fn names_that_are_not_text_are_kept() {
    let fixture = Fixture::new();
    let tar = Tar::new().member(b"a\xff\xfe", b'0', b"x", |_| ()).finish();
    let layer = fixture.import(&tar, "web").unwrap().layers[0].clone();
    let names: Vec<_> =
        fs::read_dir(layer).unwrap().map(|entry| entry.unwrap().file_name().into_encoded_bytes()).collect();
    assert_eq!(names, [b"a\xff\xfe"]);
}

#[test]
fn full_disk_leaves_nothing_behind() {
    let Some(()) = root_or_skip("a small file system can be mounted by root alone") else { return };
    let directory = TempDir::new().unwrap();
    let mounted = SmallDisk::new(directory.path());
    let store = ImageStore::open(directory.path(), Path::new("/nonexistent")).unwrap();
    let tar = Tar::new().file("a", &vec![7; 4 << 20]).finish();
    let error = store.import(&mut &tar[..], "web", ImageConfig::default()).unwrap_err();
    assert!(matches!(error, ImageError::NoSpace { .. }), "{error}");
    assert_eq!(fs::read_dir(directory.path().join("images/tmp")).unwrap().count(), 0);
    let small = Tar::new().file("a", b"a").finish();
    store.import(&mut &small[..], "web", ImageConfig::default()).unwrap();
    drop(mounted);
}

/// A file system of 1 MiB, unmounted at the end.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn new(path: &'a Path) -> Self {
        let options = c"size=1m";
        rustix::mount::mount("skep-image-test", path, "tmpfs", rustix::mount::MountFlags::empty(), options).unwrap();
        Self(path)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}
