//! Who asks: a key, the way by which its request came, and what it may do at most on this way.

use grid_protocol::key::PublicKey;
use grid_protocol::role::Roles;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The key that owns what the request makes.
    pub key: PublicKey,
    /// What it may do at most, whatever roles the key has.
    pub at_most: Roles,
    /// The way by which the request came.
    pub via: Via,
}

/// The way by which a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// A client's connection.
    Client,
    /// The program that the manager is part of.
    Program,
    /// The page in a browser.
    Page,
    /// The HTTP API, by a token.
    Token,
}

impl Via {
    /// The way in a word, for the audit log.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Program => "manager",
            Self::Page => "page",
            Self::Token => "token",
        }
    }
}

impl Asker {
    /// A client that has shown its key.
    pub(crate) fn client(key: PublicKey) -> Self {
        Self { key, at_most: Roles::ALL, via: Via::Client }
    }
}
