//! What a saved image's JSON says: Docker's `manifest.json`, and the index and manifests of an OCI layout.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::archive::{MemberPath, Refusal, names};
use super::config::machine;
use super::digest::Digest;
use super::error::{ImageError, shown};
use super::reference::Reference;

/// Full name as containerd and Docker annotate it.
const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// Name or bare tag, as the OCI layout specification has it.
const REF_NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";

/// One image that an archive promises.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Promise {
    pub(crate) config: Blob,
    /// Lowest first.
    pub(crate) layers: Vec<Blob>,
    /// Names in familiar form.
    pub(crate) names: Vec<String>,
    /// Digest of the manifest, in an OCI layout.
    pub(crate) manifest: Option<Digest>,
}

/// A member that a manifest names, with the digest that it must have, if the manifest says one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Blob {
    pub(crate) path: MemberPath,
    pub(crate) digest: Option<Digest>,
}

/// One entry of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// An OCI index: `index.json`, or one nested in it for the platforms of one image.
#[derive(Debug, Deserialize)]
pub(crate) struct OciIndex {
    pub(crate) manifests: Vec<Descriptor>,
}

/// An OCI manifest.
#[derive(Debug, Deserialize)]
pub(crate) struct OciManifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// A pointer to a blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    media_type: String,
    pub(crate) digest: Digest,
    pub(crate) platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What a manifest was built for.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
}

impl Platform {
    pub(crate) fn is_this_machine(&self) -> bool {
        self.os == "linux" && self.architecture == machine()
    }

    /// As in `linux/amd64`, fit for a message.
    pub(crate) fn text(&self) -> String {
        shown(format!("{}/{}", self.os, self.architecture).as_bytes())
    }
}

impl Blob {
    /// The blob of an OCI layout with that digest.
    pub(crate) fn of(digest: &Digest) -> Self {
        let path = MemberPath::of(&[b"blobs", b"sha256", digest.hex().as_bytes()]);
        Self { path, digest: Some(digest.clone()) }
    }

    /// A member that `manifest.json` names. Its name says its digest if it is a blob of a layout, and if it is a configuration.
    fn named(path: &str, is_config: bool) -> Result<Self, ImageError> {
        let refused = |refusal: Refusal| ImageError::member(path.as_bytes(), refusal);
        let path = MemberPath::parse(path.as_bytes()).map_err(refused)?;
        let name = path.split().map(|(_, name)| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
        let hex = if is_config { name.strip_suffix(".json").unwrap_or(&name) } else { &name };
        let digest = Digest::from_hex(hex).ok().filter(|_| is_config || is_blob(&path));
        Ok(Self { path, digest })
    }
}

/// Whether a path is that of a blob in an OCI layout, whose name is its digest.
pub(crate) fn is_blob(path: &MemberPath) -> bool {
    path.split().is_some_and(|(parents, _)| parents == b"blobs/sha256")
}

impl Descriptor {
    /// Whether it leads to an index rather than to a manifest.
    pub(crate) fn is_index(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json"
        )
    }

    /// The name that it gives the image, in familiar form. A bare word is taken for a name: it is how most tools write one.
    ///
    /// # Errors
    /// When the name is malformed.
    pub(crate) fn name(&self) -> Result<Option<String>, ImageError> {
        let annotation = self.annotations.get(NAME_ANNOTATION).or_else(|| self.annotations.get(REF_NAME_ANNOTATION));
        annotation.map_or(Ok(None), |text| tagged(text))
    }
}

/// The familiar form of a name; nothing for one with a digest, which is no tag.
fn tagged(text: &str) -> Result<Option<String>, ImageError> {
    let reference = Reference::parse(text)?;
    Ok(reference.digest().is_none().then(|| reference.familiar()))
}

impl Saved {
    /// What this entry promises.
    ///
    /// # Errors
    /// When a path or name in it is malformed.
    pub(crate) fn promise(self) -> Result<Promise, ImageError> {
        let layers = self.layers.unwrap_or_default();
        let names = self.repo_tags.unwrap_or_default();
        Ok(Promise {
            config: Blob::named(&self.config, true)?,
            layers: layers.iter().map(|path| Blob::named(path, false)).collect::<Result<_, _>>()?,
            names: names.iter().filter_map(|name| tagged(name).transpose()).collect::<Result<_, _>>()?,
            manifest: None,
        })
    }
}

impl OciManifest {
    /// What this manifest promises.
    pub(crate) fn promise(self, digest: Digest, name: Option<String>) -> Promise {
        Promise {
            config: self.config(),
            layers: self.layers.iter().map(|layer| Blob::of(&layer.digest)).collect(),
            names: name.into_iter().collect(),
            manifest: Some(digest),
        }
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> Blob {
        Blob::of(&self.config.digest)
    }
}

/// Where a link within a saved image leads: from its own directory, as links do, but never out of the archive.
pub(crate) fn link_target(link: &MemberPath, target: &[u8]) -> Result<MemberPath, Refusal> {
    let mut names: Vec<&[u8]> = link.split().map(|(parents, _)| names(parents).collect()).unwrap_or_default();
    if target.first() == Some(&b'/') {
        return Err(Refusal::LinkOut);
    }
    for name in target.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop().ok_or(Refusal::LinkOut)?),
            _ => names.push(name),
        }
    }
    Ok(MemberPath::of(&names))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn old_and_new_paths_say_their_digest() {
        let digest = |path: &str, is_config| Blob::named(path, is_config).unwrap().digest.is_some();
        assert!(digest(&format!("{HEX}.json"), true) && digest(&format!("blobs/sha256/{HEX}"), true));
        assert!(digest(&format!("blobs/sha256/{HEX}"), false));
        assert!(!digest(&format!("{HEX}/layer.tar"), false) && !digest("config.json", true));
        assert!(Blob::named("../x", false).is_err());
    }

    #[test]
    fn names_are_read_from_either_annotation() {
        let name = |annotations: &str| {
            let text = format!(r#"{{"digest":"sha256:{HEX}","annotations":{annotations}}}"#);
            serde_json::from_str::<Descriptor>(&text).unwrap().name()
        };
        let both = r#"{"io.containerd.image.name":"docker.io/library/web:1","org.opencontainers.image.ref.name":"1"}"#;
        assert_eq!(name(both).unwrap().unwrap(), "web:1");
        assert_eq!(name(r#"{"org.opencontainers.image.ref.name":"team/web"}"#).unwrap().unwrap(), "team/web:latest");
        assert_eq!(name(&format!(r#"{{"io.containerd.image.name":"web@sha256:{HEX}"}}"#)).unwrap(), None);
        assert_eq!(name("{}").unwrap(), None);
        assert!(name(r#"{"io.containerd.image.name":"../x"}"#).is_err());
    }

    #[test]
    fn links_stay_within_the_archive() {
        let link = MemberPath::parse(b"a/layer.tar").unwrap();
        assert_eq!(link_target(&link, b"../b/layer.tar").unwrap().joined(), b"b/layer.tar");
        assert_eq!(link_target(&link, b"../../b").unwrap_err(), Refusal::LinkOut);
        assert_eq!(link_target(&link, b"/b").unwrap_err(), Refusal::LinkOut);
    }
}
