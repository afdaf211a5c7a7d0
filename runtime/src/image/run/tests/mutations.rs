//! Archives damaged at random, or by somebody who knows what checksums are. Whatever they say, the store stays whole: it takes an
//! image that it then has, or it says why not and has nothing of it.

use std::error::Error;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::config::machine;
use super::*;

/// How often each claim is tried: some seconds in all, for a debug build.
const CASES: u32 = 64;

fn limits() -> Limits {
    Limits {
        layer_bytes: 1 << 20,
        image_bytes: 4 << 20,
        members: 200,
        name_bytes: 20_000,
        ratio: 50,
        bomb_free_bytes: 256 << 10,
        document_bytes: 20_000,
        documents_bytes: 100_000,
        layers: 5,
    }
}

/// One thing done to an archive's bytes; places are shares of its length.
#[derive(Clone, Debug)]
enum Damage {
    Byte(f64, u8),
    Cut(f64),
    Zeros(f64, usize),
    /// Copies a block of 512 bytes over another.
    Block(f64, f64),
    /// Puts a block of 512 bytes in once more.
    Again(f64),
    /// Writes into a header and makes its checksum right again.
    Header(f64, usize, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let words = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..12),
        proptest::sample::select(vec![
            b"../../escaped\0".to_vec(),
            b"/escaped\0".to_vec(),
            b"77777777777\0".to_vec(),
            b"-0000000001\0".to_vec(),
            b"\x80\0\0\0\0\0\0\x01\0\0\0\0".to_vec(),
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            b".wh..wh..opq\0".to_vec(),
        ]),
    ];
    // Name, owner, size, kind with the link's name, and the rest of a header.
    let places = prop_oneof![Just(0_usize), Just(108), Just(124), 156..160_usize, 0..500_usize];
    prop_oneof![
        (0.0..1.0, any::<u8>()).prop_map(|(at, bits)| Damage::Byte(at, bits)),
        (0.0..1.0).prop_map(Damage::Cut),
        (0.0..1.0, 1..2_000_usize).prop_map(|(at, length)| Damage::Zeros(at, length)),
        (0.0..1.0, 0.0..1.0).prop_map(|(from, to)| Damage::Block(from, to)),
        (0.0..1.0).prop_map(Damage::Again),
        (0.0..1.0, places, words).prop_map(|(at, place, words)| Damage::Header(at, place, words)),
    ]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share")]
fn place(share: f64, length: usize) -> usize {
    (share * length as f64) as usize
}

fn block(share: f64, length: usize) -> std::ops::Range<usize> {
    let start = place(share, (length / 512).max(1)) * 512;
    start.min(length)..(start + 512).min(length)
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        match self {
            _ if length == 0 => {}
            Self::Byte(at, bits) => bytes[place(*at, length)] ^= bits,
            Self::Cut(at) => bytes.truncate(place(*at, length)),
            Self::Zeros(at, count) => {
                let at = place(*at, length);
                bytes[at..(at + count).min(length)].fill(0);
            }
            Self::Block(from, to) => {
                let (from, to) = (bytes[block(*from, length)].to_vec(), block(*to, length));
                let count = from.len().min(to.len());
                bytes[to.start..to.start + count].copy_from_slice(&from[..count]);
            }
            Self::Again(at) => {
                let range = block(*at, length);
                let copy = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, copy);
            }
            Self::Header(at, within, words) => write_header(&mut bytes[block(*at, length)], *within, words),
        }
    }
}

fn write_header(block: &mut [u8], within: usize, words: &[u8]) {
    let Some(target) = block.get_mut(within..(within + words.len()).min(512)) else { return };
    target.copy_from_slice(&words[..target.len()]);
    if let Ok(block) = <&mut [u8; 512]>::try_from(block) {
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}

fn layer() -> Vec<u8> {
    let tar =
        Tar::new().directory("a/", 0o755).file("a/b", &[7; 700]).link("a/c", "b").hard_link("a/d", "a/b").fifo("e");
    let tar = tar.file(".wh.f", b"").file("g/.wh..wh..opq", b"").pax("path", b"a/long").file("h", b"x");
    tar.pax("SCHILY.xattr.user.k", b"v").directory("i/", 0o700).node("j", b'3', 0, 0).finish()
}

fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).hex().to_owned()
}

/// An archive of `docker save`, its documents as given.
fn saved(layer: &[u8], config: &Value, manifest: impl FnOnce(&str) -> Value) -> Vec<u8> {
    let config = config.to_string().into_bytes();
    let name = format!("{}.json", hex(&config));
    let manifest = manifest(&name).to_string();
    let tar = Tar::new().file("l/layer.tar", layer).file(&name, &config);
    tar.file("manifest.json", manifest.as_bytes()).finish()
}

fn config(layer: &[u8]) -> Value {
    json!({"architecture": machine(), "os": "linux", "created": "2024-01-02T03:04:05Z",
        "config": {"Cmd": ["sh"], "Env": ["A=b"], "User": "x", "ExposedPorts": {"80/tcp": {}}, "Labels": {"k": "v"}},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer).to_string()]}})
}

fn manifest(config: &str) -> Value {
    json!([{"Config": config, "RepoTags": ["web:1"], "Layers": ["l/layer.tar"]}])
}

/// A layout of one image, its documents as given.
fn layout(
    layer: &[u8],
    config: &Value,
    in_manifest: impl FnOnce(&mut Value),
    in_index: impl FnOnce(&mut Value),
) -> Vec<u8> {
    let descriptor = |bytes: &[u8]| json!({"digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let config = config.to_string().into_bytes();
    let mut index = json!({"schemaVersion": 2, "manifests": []});
    let mut manifest = json!({"schemaVersion": 2, "config": descriptor(&config), "layers": [descriptor(layer)]});
    in_manifest(&mut manifest);
    let manifest = manifest.to_string().into_bytes();
    let mut top = descriptor(&manifest);
    top["annotations"] = json!({"org.opencontainers.image.ref.name": "web:1"});
    index["manifests"] = json!([top]);
    in_index(&mut index);
    let blobs = [layer, &config, &manifest];
    let tar = Tar::new().file("index.json", index.to_string().as_bytes());
    blobs.iter().fold(tar, |tar, blob| tar.file(&format!("blobs/sha256/{}", hex(blob)), blob)).finish()
}

/// Either images that are whole, or one short sentence and nothing changed.
fn check(fixture: &Fixture, outcome: Result<Vec<Image>, ImageError>) {
    match outcome {
        Ok(images) => images.iter().for_each(|image| {
            assert!(image.layers.iter().all(|layer| layer.is_dir()));
            assert_eq!(fixture.store.get(&image.id).unwrap().layers, image.layers);
        }),
        Err(error) => {
            let sentence = sentence(&error);
            assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
            assert!(fixture.store.list().is_empty());
            assert_eq!((fixture.count("layers"), fixture.count("configs")), (0, 0), "{sentence}");
        }
    }
    assert_eq!(fixture.count("tmp"), 0);
    let beside: Vec<_> = fs::read_dir(fixture.directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(beside.len(), 2, "images and the program: {beside:?}");
}

fn sentence(error: &ImageError) -> String {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

/// Puts something else in the place of one of the values in a document, counted from the outside.
fn replace(document: &mut Value, mut at: usize, with: &Value) {
    fn walk(value: &mut Value, at: &mut usize, with: &Value) {
        if *at == 0 {
            *value = with.clone();
        }
        *at = at.wrapping_sub(1);
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, at, with)),
            Value::Object(fields) => fields.values_mut().for_each(|field| walk(field, at, with)),
            _ => {}
        }
    }
    walk(document, &mut at, with);
}

fn odd_value() -> impl Strategy<Value = Value> {
    let nested = (0..100).fold(Value::Null, |inner, _| json!([inner]));
    let digest = format!("sha256:{}", "0".repeat(64));
    let fixed = vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e308),
        json!({}),
        json!([]),
        json!(["a\u{0}b"]),
        json!("../../etc/passwd"),
        json!("/etc/passwd"),
        json!("\u{1b}[2J\r\n"),
        json!("x".repeat(3_000)),
        json!(digest),
        json!("sha512:00"),
        json!([digest, digest, digest, digest, digest, digest]),
        json!({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest}),
        nested,
    ];
    prop_oneof![proptest::sample::select(fixed), "\\PC{0,40}".prop_map(Value::String)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn damaged_root_filesystems_change_nothing(damages in proptest::collection::vec(damage(), 1..4), packed in 0..3) {
        let fixture = Fixture::with(limits());
        let mut tar = layer();
        match packed {
            0 => {}
            1 => tar = archives::gzip(&tar),
            _ => tar = archives::zstd(&tar),
        }
        damages.iter().for_each(|damage| damage.apply(&mut tar));
        check(&fixture, fixture.import(&tar, "web").map(|image| vec![image]));
    }

    #[test]
    fn damaged_saved_images_change_nothing(damages in proptest::collection::vec(damage(), 1..4), kind in 0..4) {
        let fixture = Fixture::with(limits());
        let layer = layer();
        let mut tar = match kind {
            0 => saved(&layer, &config(&layer), manifest),
            1 => layout(&layer, &config(&layer), |_| (), |_| ()),
            2 => archives::gzip(&layout(&layer, &config(&layer), |_| (), |_| ())),
            _ => archives::zstd(&saved(&layer, &config(&layer), manifest)),
        };
        damages.iter().for_each(|damage| damage.apply(&mut tar));
        check(&fixture, fixture.store.load(&mut &tar[..]));
    }

    #[test]
    fn well_packed_nonsense_changes_nothing(document in 0..5, at in 0..25_usize, with in odd_value()) {
        let fixture = Fixture::with(limits());
        let layer = layer();
        let mut odd = config(&layer);
        replace(&mut odd, at, &with);
        let tar = match document {
            0 => saved(&layer, &odd, manifest),
            1 => layout(&layer, &odd, |_| (), |_| ()),
            2 => saved(&layer, &config(&layer), |name| {
                let mut manifest = manifest(name);
                replace(&mut manifest, at % 8, &with);
                manifest
            }),
            3 => layout(&layer, &config(&layer), |manifest| replace(manifest, at % 10, &with), |_| ()),
            _ => layout(&layer, &config(&layer), |_| (), |index| replace(index, at % 9, &with)),
        };
        check(&fixture, fixture.store.load(&mut &tar[..]));
    }
}
