//! Files that survive a power loss, and keys that nobody else can read.

#![forbid(unsafe_code)]

mod durable;
mod home;
mod keyfile;

pub use durable::{DiskError, replace, use_folder};
pub use home::home;
pub use keyfile::{KeyFileError, load_key, load_or_make_key, load_or_make_secret, random};
