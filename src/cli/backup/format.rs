//! The file: a header, then sealed frames.
//!
//! The header names the format and holds what the key is derived with and a check of the key, so that a wrong key is told from damage.
//! Each frame is sealed with AES-256-GCM under a key that only this file has, with its ordinal as the nonce and the header authenticated beside
//! it; the last one says that it is the last. So whatever is changed, missing, doubled or moved is seen.

use std::io::{ErrorKind, Read, Write};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::key::{Derived, SALT_LEN};

const MAGIC: &[u8; 8] = b"skepbkup";

/// The format that is written; older ones are read.
const VERSION: u32 = 1;

/// Magic, version, a checksum of these; rounds, salt, check; a checksum of all.
const HEADER_LEN: usize = 72;

/// Longest frame: far above what one object takes.
const FRAME_LEN_MAX: usize = 80 << 20;

/// Rounds of the derivation that are believed; more would take minutes.
const ROUNDS_MAX: u32 = 10_000_000;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatError {
    /// It does not begin as one does.
    #[error("it is not a backup of skep")]
    Foreign,
    /// A format of the future.
    #[error("it was written by a newer skep (format {0}); use that version, or a newer one")]
    Newer(u32),
    /// It was sealed with another key.
    #[error("the key is not the one that it was made with")]
    Key,
    /// Something was changed.
    #[error("it is damaged near byte {0}")]
    Damaged(u64),
    /// Something is missing at its end.
    #[error("it was cut short: after byte {0} the rest is missing")]
    Cut(u64),
    /// The disk refuses.
    #[error("the file cannot be read")]
    Read(#[source] std::io::Error),
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Rounds of the derivation.
    pub(super) rounds: u32,
    /// What the key is derived with besides the secret.
    pub(super) salt: [u8; SALT_LEN],
    /// Tells the right key from another.
    pub(super) check: [u8; 16],
}

impl Header {
    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.rounds.to_le_bytes());
        bytes[20..52].copy_from_slice(&self.salt);
        bytes[52..68].copy_from_slice(&self.check);
        let crc = crc32fast::hash(&bytes[..68]);
        bytes[68..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads it from the file's beginning.
    ///
    /// # Errors
    /// When it is none, or one of the future, or damaged.
    pub(super) fn read(from: &mut impl Read) -> Result<Self, FormatError> {
        let mut bytes = [0; HEADER_LEN];
        let len = fill(from, &mut bytes)?;
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if len < 16 || bytes[..8] != *MAGIC {
            return Err(FormatError::Foreign);
        }
        if word(12) != crc32fast::hash(&bytes[..12]) {
            return Err(FormatError::Damaged(8));
        }
        if word(8) > VERSION {
            return Err(FormatError::Newer(word(8)));
        }
        if len < HEADER_LEN {
            return Err(FormatError::Cut(len as u64));
        }
        if word(68) != crc32fast::hash(&bytes[..68]) || !(1..=ROUNDS_MAX).contains(&word(16)) {
            return Err(FormatError::Damaged(16));
        }
        let part = |from: usize, to: usize| &bytes[from..to];
        Ok(Self {
            rounds: word(16),
            salt: part(20, 52).try_into().expect("32 bytes"),
            check: part(52, 68).try_into().expect("16 bytes"),
        })
    }
}

/// Writes frames.
pub(super) struct Sealer<W> {
    to: W,
    key: LessSafeKey,
    header: [u8; HEADER_LEN],
    ordinal: u64,
}

impl<W: Write> Sealer<W> {
    /// Begins a file with its header.
    pub(super) fn begin(mut to: W, header: &Header, key: &Derived) -> std::io::Result<Self> {
        let header = header.encode();
        to.write_all(&header)?;
        Ok(Self { to, key: cipher(key), header, ordinal: 0 })
    }

    /// Adds a frame.
    pub(super) fn add(&mut self, content: &[u8], is_last: bool) -> std::io::Result<()> {
        let mut body = Vec::with_capacity(content.len() + 1 + AES_256_GCM.tag_len());
        body.push(u8::from(is_last));
        body.extend_from_slice(content);
        if body.len() + AES_256_GCM.tag_len() > FRAME_LEN_MAX {
            return Err(std::io::Error::new(ErrorKind::FileTooLarge, "one object is larger than a backup takes"));
        }
        self.key
            .seal_in_place_append_tag(nonce(self.ordinal), Aad::from(&self.header), &mut body)
            .expect("a frame is far shorter than what GCM takes");
        self.ordinal += 1;
        self.to.write_all(&u32::try_from(body.len()).expect("a frame is at most 80 MiB").to_le_bytes())?;
        self.to.write_all(&body)
    }

    /// What was written to.
    pub(super) fn finish(self) -> W {
        self.to
    }
}

/// Reads them back.
pub(super) struct Opener<R> {
    from: R,
    key: LessSafeKey,
    header: [u8; HEADER_LEN],
    ordinal: u64,
    offset: u64,
    ended: bool,
}

impl<R: Read> Opener<R> {
    /// Goes on behind a header, with the key that was derived by it.
    ///
    /// # Errors
    /// When it is not the file's.
    pub(super) fn begin(from: R, header: &Header, key: &Derived) -> Result<Self, FormatError> {
        if key.check != header.check {
            return Err(FormatError::Key);
        }
        let header = header.encode();
        Ok(Self { from, key: cipher(key), header, ordinal: 0, offset: HEADER_LEN as u64, ended: false })
    }

    /// The next frame; `None` after the last.
    ///
    /// # Errors
    /// When it was changed, or is missing.
    pub(super) fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, FormatError> {
        let mut len = [0; 4];
        let read = fill(&mut self.from, &mut len)?;
        if self.ended {
            return if read == 0 { Ok(None) } else { Err(FormatError::Damaged(self.offset)) };
        }
        let len = match read {
            4 => u32::from_le_bytes(len) as usize,
            _ => return Err(FormatError::Cut(self.offset)),
        };
        if !(1..=FRAME_LEN_MAX).contains(&len) {
            return Err(FormatError::Damaged(self.offset));
        }
        let mut body = Zeroizing::new(Vec::new());
        let taken = (&mut self.from).take(len as u64).read_to_end(&mut body).map_err(FormatError::Read)?;
        if taken < len {
            return Err(FormatError::Cut(self.offset));
        }
        let opened = self.key.open_in_place(nonce(self.ordinal), Aad::from(&self.header), &mut body);
        let plain = opened.map_err(|_| FormatError::Damaged(self.offset))?.len();
        body.truncate(plain);
        self.ordinal += 1;
        self.offset += 4 + len as u64;
        self.ended = match body.first() {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(FormatError::Damaged(self.offset)),
        };
        body.remove(0);
        Ok(Some(body))
    }
}

fn cipher(key: &Derived) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key.key).expect("the key has the cipher's length"))
}

fn nonce(ordinal: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&ordinal.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Reads as much as there is, at most the buffer.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize, FormatError> {
    let mut len = 0;
    while len < buffer.len() {
        match from.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(FormatError::Read(error)),
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::super::key::{Secret, derive};
    use super::*;

    fn key(text: &str, salt: u8) -> Derived {
        derive(&Secret::new(text), &[salt; SALT_LEN], 1)
    }

    fn written(frames: &[&[u8]]) -> Vec<u8> {
        let key = key("a secret of some length", 7);
        let header = Header { rounds: 1, salt: [7; SALT_LEN], check: key.check };
        let mut sealer = Sealer::begin(Vec::new(), &header, &key).unwrap();
        for (place, frame) in frames.iter().enumerate() {
            sealer.add(frame, place + 1 == frames.len()).unwrap();
        }
        sealer.finish()
    }

    fn read(bytes: &[u8], secret: &str) -> Result<Vec<Vec<u8>>, FormatError> {
        let mut from = bytes;
        let header = Header::read(&mut from)?;
        let key = derive(&Secret::new(secret), &header.salt, header.rounds);
        let mut opener = Opener::begin(from, &header, &key)?;
        let mut frames = Vec::new();
        while let Some(frame) = opener.next()? {
            frames.push(frame.to_vec());
        }
        Ok(frames)
    }

    const SECRET: &str = "a secret of some length";

    #[test]
    fn what_was_written_is_read_back_and_does_not_stand_there_in_clear() {
        let bytes = written(&[b"first part", b"", b"last part"]);
        let frames = read(&bytes, SECRET).unwrap();
        assert_eq!(frames, [b"first part".to_vec(), Vec::new(), b"last part".to_vec()]);
        assert!(!bytes.windows(5).any(|part| part == b"first"));
    }

    #[test]
    fn any_byte_that_was_changed_and_any_that_is_missing_is_seen() {
        let bytes = written(&[b"first part", b"last part"]);
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(read(&changed, SECRET).is_err(), "byte {place}");
            assert!(read(&bytes[..place], SECRET).is_err(), "cut at {place}");
        }
        assert!(read(&[&bytes[..], b"x"].concat(), SECRET).is_err());
    }

    #[test]
    fn each_trouble_has_its_sentence() {
        let bytes = written(&[b"first part", b"last part"]);
        let say = |bytes: &[u8], secret: &str| read(bytes, secret).unwrap_err().to_string();
        assert!(say(b"", SECRET).contains("not a backup"));
        assert!(say(b"PK\x03\x04 some other kind of file", SECRET).contains("not a backup"));
        assert!(say(&bytes, "another secret of length").contains("not the one"));
        assert!(say(&bytes[..bytes.len() - 1], SECRET).contains("cut short"));
        assert!(say(&bytes[..40], SECRET).contains("cut short"));
        let mut damaged = bytes.clone();
        damaged[HEADER_LEN + 8] ^= 1;
        assert!(say(&damaged, SECRET).contains("damaged near byte 72"));
        let mut newer = bytes.clone();
        newer[8] = 2;
        let crc = crc32fast::hash(&newer[..12]);
        newer[12..16].copy_from_slice(&crc.to_le_bytes());
        assert!(say(&newer, SECRET).contains("newer skep (format 2)"));
        let mut swapped = bytes;
        swapped[20] ^= 1;
        assert!(say(&swapped, SECRET).contains("damaged"));
    }

    #[test]
    fn frames_cannot_change_places() {
        let bytes = written(&[b"aaaa", b"bbbb", b"cccc"]);
        let frame = 4 + 1 + 4 + 16;
        let (first, second) = (HEADER_LEN, HEADER_LEN + frame);
        let mut swapped = bytes.clone();
        swapped[first..second].copy_from_slice(&bytes[second..second + frame]);
        swapped[second..second + frame].copy_from_slice(&bytes[first..second]);
        assert!(matches!(read(&swapped, SECRET), Err(FormatError::Damaged(_))));
    }
}
