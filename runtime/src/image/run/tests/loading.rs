//! Saved images, in every layout that tools write.

use serde_json::{Value, json};

use super::super::super::config::machine;
use super::*;

fn layer(name: &str) -> Vec<u8> {
    Tar::new().file(name, name.as_bytes()).finish()
}

fn config_for(layers: &[&[u8]], architecture: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let config = json!({"architecture": architecture, "os": "linux", "created": "2024-01-02T03:04:05Z", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    config.to_string().into_bytes()
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    config_for(layers, machine())
}

fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).hex().to_owned()
}

/// An OCI layout under construction.
#[derive(Default)]
struct Layout {
    blobs: Vec<Vec<u8>>,
}

impl Layout {
    fn blob(&mut self, bytes: &[u8]) -> Value {
        if !self.blobs.iter().any(|blob| blob == bytes) {
            self.blobs.push(bytes.to_vec());
        }
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
    }

    fn manifest(&mut self, config: &[u8], layers: &[Vec<u8>]) -> Value {
        let layers: Vec<Value> = layers.iter().map(|layer| self.blob(layer)).collect();
        let manifest = json!({"schemaVersion": 2, "config": self.blob(config), "layers": layers});
        self.blob(manifest.to_string().as_bytes())
    }

    fn index(&mut self, manifests: &[Value]) -> Value {
        let mut descriptor = self.blob(json!({"schemaVersion": 2, "manifests": manifests}).to_string().as_bytes());
        descriptor["mediaType"] = "application/vnd.oci.image.index.v1+json".into();
        descriptor
    }

    /// The index first: members may come in any order.
    fn finish(self, top: &[Value]) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": top}).to_string();
        let mut tar = Tar::new().file("index.json", index.as_bytes()).directory("blobs/sha256/", 0o755);
        for blob in &self.blobs {
            tar = tar.file(&format!("blobs/sha256/{}", hex(blob)), blob);
        }
        tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).finish()
    }
}

fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({"io.containerd.image.name": name});
    descriptor
}

fn for_platform(mut descriptor: Value, architecture: &str) -> Value {
    descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
    descriptor
}

fn old_layout(name: Value, config: &[u8], layers: &[&[u8]]) -> Tar {
    let paths: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = json!([{"Config": format!("{}.json", hex(config)), "RepoTags": name, "Layers": paths}]).to_string();
    let tar = Tar::new().file(&format!("{}.json", hex(config)), config).file("manifest.json", manifest.as_bytes());
    let members = paths.iter().zip(layers);
    members.fold(tar, |tar, (path, layer)| tar.file(path, layer)).file("0/VERSION", b"1.0").file("repositories", b"{}")
}

fn load(fixture: &Fixture, tar: &[u8]) -> Result<Vec<Image>, ImageError> {
    fixture.store.load(&mut &tar[..])
}

#[test]
fn old_docker_layout_is_loaded_with_its_names() {
    let fixture = Fixture::new();
    let (a, b) = (layer("a"), layer("b"));
    let config = config(&[&a, &b]);
    let images =
        load(&fixture, &old_layout(json!(["web:1", "docker.io/team/web:2"]), &config, &[&a, &b]).finish()).unwrap();
    assert_eq!(images[0].id, Digest::of(&config).to_string());
    assert_eq!(images[0].references, ["team/web:2", "web:1"]);
    assert_eq!(
        (images[0].created.as_str(), images[0].config.cmd.as_slice()),
        ("2024-01-02T03:04:05Z", &["sh".to_owned()][..])
    );
    assert!(images[0].layers[0].join("a").exists() && images[0].layers[1].join("b").exists());
    assert_eq!(fixture.store.list(), images);
}

#[test]
fn links_between_layers_of_an_archive_are_followed() {
    let fixture = Fixture::new();
    let a = layer("a");
    let config = config(&[&a, &a]);
    let manifest =
        json!([{"Config": "c.json", "RepoTags": null, "Layers": ["1/layer.tar", "2/layer.tar"]}]).to_string();
    let tar = Tar::new().link("1/layer.tar", "../2/layer.tar").file("2/layer.tar", &a).file("c.json", &config);
    let images = load(&fixture, &archives::gzip(&tar.file("manifest.json", manifest.as_bytes()).finish())).unwrap();
    assert_eq!((images[0].layers.len(), images[0].references.len()), (1, 0), "overlayfs takes a directory once");
}

#[test]
fn new_docker_layout_with_both_indexes_is_loaded_once() {
    let fixture = Fixture::new();
    let a = layer("a");
    let config = config(&[&a]);
    let mut layout = Layout::default();
    let descriptor = named(layout.manifest(&config, std::slice::from_ref(&a)), "docker.io/library/web:1");
    let manifest = json!([{"Config": format!("blobs/sha256/{}", hex(&config)), "RepoTags": ["web:1"],
        "Layers": [format!("blobs/sha256/{}", hex(&a))]}]);
    let mut tar = layout.finish(&[descriptor]);
    tar.truncate(tar.len() - 1024);
    tar.extend(Tar::new().file("manifest.json", manifest.to_string().as_bytes()).finish());
    assert_eq!(load(&fixture, &tar).unwrap()[0].references, ["web:1"]);
    assert_eq!(fixture.store.list().len(), 1);
}

#[test]
fn compressed_layers_of_an_oci_layout_are_loaded() {
    let fixture = Fixture::new();
    let (a, b, c) = (layer("a"), layer("b"), layer("c"));
    let mut layout = Layout::default();
    let manifest = layout.manifest(&config(&[&a, &b, &c]), &[archives::gzip(&a), archives::zstd(&b), c.clone()]);
    let digest = manifest["digest"].as_str().unwrap().to_owned();
    let images = load(&fixture, &layout.finish(&[named(manifest, "docker.io/library/web:1")])).unwrap();
    assert_eq!((images[0].layers.len(), images[0].references.as_slice()), (3, &["web:1".to_owned()][..]));
    assert_eq!(fixture.store.get(&format!("web@{digest}")).unwrap(), images[0]);
}

#[test]
fn this_machines_platform_is_picked_from_a_nested_index() {
    let fixture = Fixture::new();
    let (a, b) = (layer("a"), layer("b"));
    let mut layout = Layout::default();
    let other = for_platform(layout.manifest(&config_for(&[&b], "s390x"), &[b]), "s390x");
    let ours = for_platform(layout.manifest(&config(&[&a]), &[a]), machine());
    let index = named(layout.index(&[other, ours]), "web");
    let images = load(&fixture, &layout.finish(&[index])).unwrap();
    assert_eq!((images.len(), images[0].architecture.as_str()), (1, machine()));
    assert_eq!(fixture.count("layers"), 1, "the other platform's layer is gone");
}

#[test]
fn missing_platform_lists_what_is_there() {
    let fixture = Fixture::new();
    let a = layer("a");
    let mut layout = Layout::default();
    let first = for_platform(layout.manifest(&config_for(&[&a], "s390x"), std::slice::from_ref(&a)), "s390x");
    let second = layout.manifest(&config_for(&[&a], "riscv64"), &[a]);
    let index = layout.index(&[first, second]);
    let error = load(&fixture, &layout.finish(&[index])).unwrap_err();
    assert!(error.to_string().ends_with("the archive has only linux/riscv64, linux/s390x"), "{error}");
    assert_eq!((fixture.count("layers"), fixture.count("tmp"), fixture.count("configs")), (0, 0, 0));
}

#[test]
fn layers_are_shared_between_images_and_loads() {
    let fixture = Fixture::new();
    let (a, b, c) = (layer("a"), layer("b"), layer("c"));
    let first = load(&fixture, &old_layout(json!(["one"]), &config(&[&a, &b]), &[&a, &b]).finish()).unwrap();
    let mut layout = Layout::default();
    let manifest = layout.manifest(&config(&[&a, &c]), &[a.clone(), c]);
    let second = load(&fixture, &layout.finish(&[named(manifest, "two")])).unwrap();
    assert_eq!(first[0].layers[0], second[0].layers[0]);
    assert_eq!(fixture.count("layers"), 3);
}

#[test]
fn content_that_does_not_fit_its_digest_is_refused() {
    let (a, b) = (layer("a"), layer("b"));
    let wrong = |error: ImageError| assert!(matches!(error, ImageError::WrongDigest { .. }), "{error}");
    let fixture = Fixture::new();
    wrong(load(&fixture, &old_layout(json!(["web"]), &config(&[&a]), &[&b]).finish()).unwrap_err());
    for kind in 0..3 {
        let mut layout = Layout::default();
        let manifest = layout.manifest(&config(&[&a]), std::slice::from_ref(&a));
        let tar = layout.finish(&[named(manifest, "web")]);
        wrong(load(&fixture, &tampered(&tar, kind)).unwrap_err());
    }
    assert!(fixture.store.list().is_empty());
    assert_eq!((fixture.count("layers"), fixture.count("tmp"), fixture.count("configs")), (0, 0, 0));
}

/// Swaps a byte of the content of the given blob.
fn tampered(tar: &[u8], blob: usize) -> Vec<u8> {
    let mut tar = tar.to_vec();
    let names: Vec<usize> = (0..tar.len() / 512)
        .map(|block| block * 512)
        .filter(|at| tar[*at..].starts_with(b"blobs/sha256/") && tar[*at + 13] != 0)
        .collect();
    let content = names[blob] + 512;
    // A layer's first member starts with its name, a document with a brace and a key.
    let at = if tar[content] == b'{' { content + 2 } else { content + 512 };
    tar[at] ^= 1;
    tar
}

#[test]
fn manifest_that_names_what_is_not_there_is_refused() {
    let fixture = Fixture::new();
    let a = layer("a");
    let config = config(&[&a]);
    let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["gone.tar"]}]).to_string();
    let tar = Tar::new().file("manifest.json", manifest.as_bytes()).file("c.json", &config).finish();
    assert!(matches!(load(&fixture, &tar), Err(ImageError::MissingMember { name }) if name == "gone.tar"));
    assert!(matches!(load(&fixture, &a), Err(ImageError::NotAnImage)));
    let broken = Tar::new().file("manifest.json", b"[{]").finish();
    assert!(matches!(load(&fixture, &broken), Err(ImageError::Document { .. })));
}

#[test]
fn nesting_without_end_is_refused() {
    let fixture = Fixture::new();
    let mut layout = Layout::default();
    let mut index = layout.index(&[]);
    for _ in 0..4 {
        index = layout.index(&vec![index; 20]);
    }
    assert!(matches!(load(&fixture, &layout.finish(&[index])), Err(ImageError::Contradiction { .. })));
    let mut layout = Layout::default();
    let index = (0..500).fold(layout.index(&[]), |index, _| layout.index(&[index]));
    assert!(matches!(load(&fixture, &layout.finish(&[index])), Err(ImageError::Contradiction { .. })));
}

#[test]
fn archive_without_an_image_is_refused() {
    let fixture = Fixture::new();
    let empty = Tar::new().file("manifest.json", b"[]").finish();
    assert!(matches!(load(&fixture, &empty), Err(ImageError::Contradiction { why: "it names no image", .. })));
}

#[test]
fn packed_archive_is_checked_to_its_last_byte() {
    let fixture = Fixture::new();
    let a = layer("a");
    let tar = old_layout(json!(["web"]), &config(&[&a]), &[&a]).finish();
    for packed in [archives::gzip(&tar), archives::zstd(&tar)] {
        let mut wrong = packed.clone();
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        assert!(load(&fixture, &wrong).is_err());
        let cut = load(&fixture, &packed[..packed.len() - 1]);
        assert!(matches!(cut, Err(ImageError::Archive { refusal: Refusal::Truncated })), "{cut:?}");
        assert!(load(&fixture, &packed).is_ok());
    }
}

#[test]
fn only_names_of_the_archive_are_told_each_once() {
    let fixture = Fixture::new();
    let a = layer("a");
    load(&fixture, &old_layout(json!(["old"]), &config(&[&a]), &[&a]).finish()).unwrap();
    let manifest = json!([{"Config": "c.json", "RepoTags": ["new", "newer"], "Layers": ["a.tar"]},
        {"Config": "c.json", "RepoTags": ["newest"], "Layers": ["a.tar"]}]);
    let tar = Tar::new().file("c.json", &config(&[&a])).file("a.tar", &a);
    let images = load(&fixture, &tar.file("manifest.json", manifest.to_string().as_bytes()).finish()).unwrap();
    let names: Vec<&[String]> = images.iter().map(|image| image.references.as_slice()).collect();
    assert_eq!(names, [["new:latest", "newer:latest", "newest:latest"]]);
    assert_eq!(fixture.store.list()[0].references.len(), 4);
}

#[test]
fn hostile_layer_is_refused_with_its_member() {
    let fixture = Fixture::new();
    let a = Tar::new().file("../x", b"x").finish();
    let error = load(&fixture, &old_layout(json!(["web"]), &config(&[&a]), &[&a]).finish()).unwrap_err();
    assert!(matches!(error, ImageError::Member { refusal: Refusal::Climbs, .. }), "{error}");
    assert_eq!((fixture.count("layers"), fixture.count("tmp"), fixture.count("configs")), (0, 0, 0));
}
