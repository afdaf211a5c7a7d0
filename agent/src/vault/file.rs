//! The form of `lock.json`.

use serde_json::{Value, json};
use skep_proto::model::{KeyId, UnlockKey};
use skep_proto::seal::{self, CHANCE_LEN, NodeKey};

/// The only format there is.
const FORMAT: u64 = 1;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockFile {
    /// Of the managers' change that was followed last.
    pub version: u64,
    /// The node key, while autolock is on.
    pub sealed: Option<SealedKey>,
}

/// The node key, sealed with an unlock key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    /// With which.
    pub by: KeyId,
    /// Sealed.
    pub bytes: Vec<u8>,
}

impl SealedKey {
    /// Seals the node key.
    #[must_use]
    pub fn new(node_key: &NodeKey, unlock_key: &UnlockKey, chance: [u8; CHANCE_LEN]) -> Self {
        let bytes = seal::seal(unlock_key.as_bytes(), PURPOSE, chance, node_key.as_bytes());
        Self { by: unlock_key.id(), bytes }
    }

    /// Opens it; `None` with another key, or when it was changed.
    #[must_use]
    pub fn open(&self, unlock_key: &UnlockKey) -> Option<NodeKey> {
        let bytes = seal::open(unlock_key.as_bytes(), PURPOSE, &self.bytes)?;
        bytes.as_slice().try_into().ok().map(NodeKey::new)
    }
}

/// What an unlock key seals.
const PURPOSE: &str = "skep node key";

impl LockFile {
    /// As it is written.
    ///
    /// # Panics
    /// Never: it is always JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut value = json!({ "format": FORMAT, "version": self.version });
        if let Some(SealedKey { by, bytes }) = &self.sealed {
            value["unlock_key"] = json!(by.to_string());
            value["node_key"] = json!(hex(bytes));
        }
        serde_json::to_vec_pretty(&value).expect("numbers and texts are always JSON")
    }

    /// Reads it back.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let value: Value = serde_json::from_slice(bytes).map_err(|_| "it is damaged")?;
        match value["format"].as_u64() {
            Some(FORMAT) => {}
            Some(_) => return Err("it was written by a newer skep"),
            None => return Err("it is damaged"),
        }
        let version = value["version"].as_u64().ok_or("it has no version")?;
        let sealed = match (value["unlock_key"].as_str(), value["node_key"].as_str()) {
            (None, None) => None,
            (Some(by), Some(bytes)) => {
                let by = by.parse().map_err(|_| "the id of its unlock key is damaged")?;
                Some(SealedKey { by, bytes: unhex(bytes).ok_or("its key is damaged")? })
            }
            _ => return Err("half of it is missing"),
        };
        Ok(Self { version, sealed })
    }
}

/// Bytes as text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads them back.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> LockFile {
        let sealed = SealedKey::new(&NodeKey::new([1; 32]), &UnlockKey::new([2; 32]), [3; CHANCE_LEN]);
        LockFile { version: 7, sealed: Some(sealed) }
    }

    #[test]
    fn what_is_written_is_read_and_only_its_key_opens_it() {
        for file in [file(), LockFile { version: 8, sealed: None }, LockFile::default()] {
            assert_eq!(LockFile::decode(&file.encode()), Ok(file));
        }
        let sealed = file().sealed.unwrap();
        assert_eq!(sealed.open(&UnlockKey::new([2; 32])), Some(NodeKey::new([1; 32])));
        assert_eq!(sealed.open(&UnlockKey::new([9; 32])), None);
        let text = String::from_utf8(file().encode()).unwrap();
        assert!(!text.contains(&hex(&[1; 32])) && text.contains(&UnlockKey::new([2; 32]).id().to_string()), "{text}");
    }

    #[test]
    fn damage_is_told_and_never_a_panic() {
        let cases = [
            ("{", "damaged"),
            ("{}", "damaged"),
            (r#"{"format":2}"#, "newer"),
            (r#"{"format":1}"#, "no version"),
            (r#"{"format":1,"version":1,"node_key":"00"}"#, "half"),
            (r#"{"format":1,"version":1,"unlock_key":"0000000g","node_key":"00"}"#, "id"),
            (r#"{"format":1,"version":1,"unlock_key":"00000000","node_key":"0"}"#, "key is damaged"),
        ];
        for (text, words) in cases {
            let problem = LockFile::decode(text.as_bytes()).unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn bytes_and_text_are_one(bytes: Vec<u8>, text in "\\PC{0,20}") {
            prop_assert_eq!(unhex(&hex(&bytes)), Some(bytes));
            let _ = unhex(&text);
            let _ = LockFile::decode(text.as_bytes());
        }
    }
}
