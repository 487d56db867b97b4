//! What a program needs of its machine: files that survive a power loss, keys that only their owner can read,
//! time and randomness.

#![forbid(unsafe_code)]

mod durable;
mod folder_facts;
mod home;
mod keyfile;
mod lock;
mod machine;
mod reserve;

pub use durable::{DiskError, Staged, read_text, replace, use_folder};
pub use folder_facts::{FolderFacts, folder_facts};
pub use home::home;
pub use keyfile::{KeyFileError, load_key, load_or_make_key, load_or_make_secret, random};
pub use lock::{FolderLock, LockError};
pub use machine::{Machine, SimulatedMachine};
pub use reserve::Reserve;
