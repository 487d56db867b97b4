//! What a host and its executor processes tell each other, besides the mail of the guests.
//!
//! Both ends are the same program, so nothing here needs to meet an older form of itself. An executor runs code of
//! strangers: the host decodes what it sends as it decodes what comes over the network.

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Decode, Encode};

/// How a new executor process is to set itself up.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ExecutorSetup {
    /// True if guests share threads and are interrupted by epochs; false if there is one guest, which is not.
    pub shared: bool,
    /// Address space for each memory, in bytes, as the code was compiled for.
    pub reservation_bytes: u64,
    /// Guests that may run concurrently.
    pub guests_max: u32,
    /// Threads for guests.
    pub threads: u32,
    /// The most that a guest may be given.
    pub limits: GuestLimits,
    /// True if it must have namespaces of its own, because its host tells that executors have.
    pub namespaces: bool,
}

/// The limits of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct GuestLimits {
    /// Linear memory, in bytes.
    pub memory_bytes: u64,
    /// Elements of each table.
    pub table_elements: u64,
    /// Length of one message, in bytes.
    pub message_bytes: u64,
    /// Processor time of one call, in microseconds.
    pub call_us: u64,
    /// Processor time before the first message, in microseconds.
    pub start_us: u64,
    /// Processor time of the call of `stop`, in microseconds.
    pub stop_us: u64,
    /// Bytes of log in one burst.
    pub log_burst_bytes: u32,
    /// Bytes of log per second after a burst.
    pub log_bytes_per_s: u32,
}

/// A guest to be started.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StartGuest {
    /// Its limits.
    pub limits: GuestLimits,
    /// The bytes that its `init` receives.
    pub arguments: Vec<u8>,
}

/// The module of an executor, whose compiled code comes beside this as a file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ExecutorModule {
    /// The module's name, by its manifest.
    pub name: String,
    /// True if its manifest asks for a folder of its own.
    pub files: bool,
    /// How it is called, in the host's own notation.
    pub entry_point: u32,
}
