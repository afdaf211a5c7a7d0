//! What an image says about itself: our words for it, and the OCI image configuration that it is read from and written as.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::digest::Digest;

/// What an image says about the programs it holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Program prefix.
    pub entrypoint: Vec<String>,
    /// Default arguments (or the program, without an entrypoint).
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// As in `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Signal that asks it to stop.
    pub stop_signal: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One image, ready to be a container's root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of its configuration, `sha256:…`.
    pub id: String,
    /// Names that lead to it, as in `web:latest`.
    pub references: Vec<String>,
    /// Unpacked layers, lowest first, each a directory for overlayfs.
    pub layers: Vec<PathBuf>,
    /// Defaults for its containers.
    pub config: ImageConfig,
    /// Bytes of all layers, unpacked.
    pub size_bytes: u64,
    /// When it was made, RFC 3339, as its configuration says; empty if it does not.
    pub created: String,
    /// As in `amd64`.
    pub architecture: String,
    /// As in `linux`.
    pub os: String,
}

/// The OCI image configuration, as far as it matters here. Unknown fields stay in the stored bytes, whose digest is the id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) created: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) os: String,
    #[serde(default, deserialize_with = "null_is_default")]
    config: Section,
    pub(crate) rootfs: RootFs,
}

/// The layers of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) diff_ids: Vec<Digest>,
}

impl RootFs {
    /// Whether it is of the only type that there is.
    pub(crate) fn is_of_layers(&self) -> bool {
        self.kind == "layers"
    }
}

/// The part of a configuration that a container takes its defaults from. Docker writes `null` for most empty fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Section {
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    working_dir: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, Value>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    stop_signal: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Document {
    /// Describes an image of one layer for this machine. `created` is RFC 3339.
    pub(crate) fn of_one_layer(config: ImageConfig, diff_id: Digest, created: String) -> Self {
        Self {
            created,
            architecture: machine().to_owned(),
            os: "linux".to_owned(),
            config: Section::from(config),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
        }
    }

    /// The defaults for containers, in our words.
    pub(crate) fn image_config(&self) -> ImageConfig {
        let section = self.config.clone();
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        ImageConfig {
            entrypoint: section.entrypoint,
            cmd: section.cmd,
            env: section.env,
            user: some(section.user),
            working_dir: some(section.working_dir),
            exposed_ports: section.exposed_ports.into_keys().collect(),
            stop_signal: some(section.stop_signal),
            labels: section.labels,
        }
    }

    /// Whether programs of this image run here; one that does not say is believed to.
    pub(crate) fn runs_here(&self) -> bool {
        let fits = |said: &str, here: &str| said.is_empty() || said == here;
        fits(&self.os, "linux") && fits(&self.architecture, machine())
    }
}

impl From<ImageConfig> for Section {
    fn from(config: ImageConfig) -> Self {
        let empty = || Value::Object(serde_json::Map::new());
        Self {
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            env: config.env,
            user: config.user.unwrap_or_default(),
            working_dir: config.working_dir.unwrap_or_default(),
            exposed_ports: config.exposed_ports.into_iter().map(|port| (port, empty())).collect(),
            stop_signal: config.stop_signal.unwrap_or_default(),
            labels: config.labels,
        }
    }
}

/// This machine's architecture in the words of image platforms, which are Go's.
pub(crate) fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// Seconds since 1970 as RFC 3339 in UTC. Years are counted from March, so that the leap day comes last.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march / 146_097, from_march % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, date) in table {
            assert_eq!(rfc3339(seconds), date);
        }
    }

    #[test]
    fn docker_writes_null_for_what_is_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"],"Entrypoint":null,"Env":null,"Labels":null,
            "ExposedPorts":{"80/tcp":{}},"User":"","Volumes":null},"rootfs":{"type":"layers","diff_ids":null},"history":[]}"#;
        let document: Document = serde_json::from_str(text).unwrap();
        let expected = ImageConfig {
            cmd: vec!["sh".to_owned()],
            exposed_ports: vec!["80/tcp".to_owned()],
            ..ImageConfig::default()
        };
        assert_eq!(document.image_config(), expected);
        assert_eq!((document.created.as_str(), document.rootfs.diff_ids.len()), ("", 0));
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let config = ImageConfig {
            entrypoint: vec!["/a".to_owned()],
            user: Some("1:2".to_owned()),
            exposed_ports: vec!["53/udp".to_owned()],
            labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            ..ImageConfig::default()
        };
        let written = Document::of_one_layer(config.clone(), Digest::of(b""), rfc3339(1));
        let read: Document = serde_json::from_slice(&serde_json::to_vec(&written).unwrap()).unwrap();
        assert_eq!(read.image_config(), config);
        assert!(read.runs_here());
    }
}
