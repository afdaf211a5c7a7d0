//! The image store's hands: reading archives, unpacking layers, keeping the index.
//!
//! [`inflate`] tells and undoes compression, [`tally`] counts and hashes what streams by, [`members`] reads the tar format,
//! [`tree`] writes below one directory and nowhere else, [`unpack`] joins these to "blob in, layer directory out",

pub(crate) mod builtin;
pub(crate) mod home;
pub(crate) mod inflate;
pub(crate) mod janitor;
pub(crate) mod members;
pub(crate) mod tally;
pub(crate) mod tree;
pub(crate) mod unpack;
