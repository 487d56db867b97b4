//! Roles: what a key may do.

use core::fmt;
use core::str::FromStr;

use crate::codec::{Decode, Encode};

/// One role of a key. Variants are numbered by position on the wire: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[non_exhaustive]
pub enum Role {
    /// Runs workers.
    Host,
    /// Spawns workers, and exchanges messages with its own.
    Client,
    /// Signs and uploads modules.
    Publisher,
    /// Changes roles, and sees everybody's workers.
    Admin,
    /// Sees what the grid does, whoever it does it for, but no inputs, results, messages or arguments; changes nothing.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Host, Self::Client, Self::Publisher, Self::Admin, Self::Viewer];

    /// The role's name, as people type it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Client => "client",
            Self::Publisher => "publisher",
            Self::Admin => "admin",
            Self::Viewer => "viewer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text does not name a role; whoever typed it must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of: host, client, publisher, admin, viewer")]
pub struct ParseRoleError;

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, ParseRoleError> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(ParseRoleError)
    }
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Roles(u8);

impl Roles {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Every role.
    pub const ALL: Self = Self(0b1_1111);

    /// What both sets have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The role with those that are granted with it: a publisher becomes a client, too; an admin, a client and a publisher.
    pub fn of(role: Role) -> Self {
        let set = Self::NONE.with(role);
        match role {
            Role::Publisher => set.with(Role::Client),
            Role::Admin => set.with(Role::Client).with(Role::Publisher),
            Role::Host | Role::Client | Role::Viewer => set,
        }
    }

    /// What either set has.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if the set lets its bearer see what the grid does for others.
    pub fn sees_all(self) -> bool {
        self.has(Role::Viewer) || self.has(Role::Admin)
    }

    /// This set with `role` added.
    #[must_use]
    pub fn with(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u8)
    }

    /// True if the set contains `role`.
    pub fn has(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// The roles in the set, in the order of [`Role::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, role) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(role.name())?;
        }
        Ok(())
    }
}
