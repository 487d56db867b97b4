//! Errors of the command line: what went wrong, why, what to type, and the exit code for scripts.

use std::fmt::Display;

use serde::Serialize;
use wasm_grid::{
    ClientError, ConnectError, Denial, DenialCode, JoinRefusal, KnownManagersError, PublishError, ReachError,
    SendError,
};

/// Why a command failed; in JSON with the exit code.
#[derive(Debug, Serialize)]
pub(crate) struct CliError {
    pub(crate) cause: Option<String>,
    pub(crate) code: u8,
    pub(crate) help: Option<String>,
    /// True if it was printed already.
    #[serde(skip)]
    pub(crate) told: bool,
    pub(crate) what: String,
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const NOT_ALLOWED: u8 = 4;
const NOT_FOUND: u8 = 5;
const MODULE_REJECTED: u8 = 6;
const NO_CAPACITY: u8 = 7;
const SOME_FAILED: u8 = 8;
const TIMED_OUT: u8 = 124;
const INTERRUPTED: u8 = 130;

impl CliError {
    fn new(code: u8, what: impl Display) -> Self {
        Self { code, what: what.to_string(), cause: None, help: None, told: false }
    }

    pub(crate) fn failed(what: impl Display, cause: impl Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(FAILED, what) }
    }

    /// Standard output or a file of results cannot be written. If the reader has closed the pipe, as `head` does, the
    /// command ends without a message.
    pub(crate) fn unwritten(what: impl Display, error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self { told: true, ..Self::new(0, "the reader has gone") },
            _ => Self::failed(what, error).help("make room there, or write elsewhere"),
        }
    }

    pub(crate) fn usage(what: String) -> Self {
        Self::new(USAGE, what).help("`grid --help` explains the commands")
    }

    pub(crate) fn not_found(what: String) -> Self {
        Self::new(NOT_FOUND, what)
    }

    pub(crate) fn rejected(what: impl Display, cause: impl Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(MODULE_REJECTED, what) }
    }

    pub(crate) fn some_failed(what: String) -> Self {
        Self::new(SOME_FAILED, what)
    }

    pub(crate) fn timed_out(what: String) -> Self {
        Self::new(TIMED_OUT, what)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(INTERRUPTED, "interrupted")
    }

    /// A failure that the command's own output says.
    pub(crate) fn told_already() -> Self {
        Self { told: true, ..Self::new(FAILED, "something fails") }
    }

    /// True if the manager could not be reached.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    pub(crate) fn help(self, help: &str) -> Self {
        Self { help: (!help.is_empty()).then(|| help.to_owned()), ..self }
    }
}

impl From<Denial> for CliError {
    fn from(denial: Denial) -> Self {
        let code = match denial.code {
            DenialCode::BadRequest => USAGE,
            DenialCode::NotAllowed => NOT_ALLOWED,
            DenialCode::NotFound => NOT_FOUND,
            DenialCode::ModuleRejected => MODULE_REJECTED,
            DenialCode::NoCapacity => NO_CAPACITY,
            _ => FAILED,
        };
        let fault = Self {
            cause: Some(denial.why),
            ..Self::new(code, format!("the manager says no: {}", denial.what))
        };
        fault.help(&denial.help)
    }
}

impl From<PublishError> for CliError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Denied(denial) => denial.into(),
            error => {
                Self::rejected("the module is rejected", error).help("`grid module check FILE` explains it")
            }
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Address(error) => Self::usage(error.to_string()),
            ClientError::Connect(error) => error.into(),
            ClientError::KnownManagers(error) => ConnectError::Reach(ReachError::Stranger(error)).into(),
            error => Self::failed("your key cannot be used", error),
        }
    }
}

impl From<ConnectError> for CliError {
    fn from(error: ConnectError) -> Self {
        let changed = "if the manager was set up anew, remove its line from the file of known managers; if not, somebody stands in its place";
        match &error {
            ConnectError::Unreachable(_) | ConnectError::Reach(ReachError::Silent(_)) => Self {
                cause: Some(error.to_string()),
                ..Self::new(UNREACHABLE, "the manager cannot be reached")
            }
            .help("check the address, and that `grid up` runs there and its UDP port is open"),
            ConnectError::Refused(
                refusal @ (JoinRefusal::Malformed { .. } | JoinRefusal::Version { .. }),
            ) => Self {
                cause: Some(refusal.to_string()),
                ..Self::new(NOT_ALLOWED, "the manager does not understand this program")
            }
            .help("upgrade the older of the two: `grid --version`, and `grid status` on the manager"),
            ConnectError::Refused(refusal) => Self {
                cause: Some(refusal.to_string()),
                ..Self::new(NOT_ALLOWED, "the manager does not let this key in")
            }
            .help("ask an admin for a ticket: `grid ticket new --role client`"),
            ConnectError::Reach(ReachError::Stranger(KnownManagersError::Changed { .. })) => {
                Self::new(NOT_ALLOWED, &error).help(changed)
            }
            ConnectError::Reach(ReachError::WrongKey(_)) => {
                Self::new(NOT_ALLOWED, &error).help("use a ticket of this manager, or check the address")
            }
            _ => Self::failed("no connection can be made", &error),
        }
    }
}

impl From<SendError> for CliError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Gone(_) => Self::new(NOT_FOUND, error).help("`grid worker ls` lists them"),
            SendError::Full(_) => Self::new(NO_CAPACITY, error).help("take its answers: `grid msg collect`"),
            error => Self::new(USAGE, error),
        }
    }
}
