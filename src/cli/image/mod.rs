//! `skep image`, and the short forms `images`, `load`, `import` and `rmi`: what containers are made from. Images live on one
//! machine: these commands speak to the daemon of the socket only.

mod command;
mod import;
mod list;
mod load;
mod upload;

pub(crate) use command::{ImageCommand, RemoveFlags, remove, run};
pub(crate) use import::{ImportFlags, run as import};
pub(crate) use list::{ImagesFlags, created_at, run as list};
pub(crate) use load::{LoadFlags, run as load};
