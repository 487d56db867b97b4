//! Bans: revoked keys, and modules of revoked publishers.

use std::collections::{BTreeMap, BTreeSet};

use grid_protocol::digest::Digest;
use grid_protocol::key::PublicKey;

use crate::catalog::Catalog;

/// The revoked keys, and the modules that nobody may run because their publisher is revoked.
#[derive(Debug, Default)]
pub(crate) struct Banned {
    keys: BTreeSet<PublicKey>,
    /// Modules of revoked publishers, with the publisher.
    modules: BTreeMap<Digest, PublicKey>,
}

/// Why an owner may not run a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ban {
    #[error("the key {0} was revoked")]
    Owner(PublicKey),
    #[error("the publisher {0} was revoked")]
    Publisher(PublicKey),
}

impl Ban {
    /// The revoked key.
    pub(crate) fn key(self) -> PublicKey {
        match self {
            Self::Owner(key) | Self::Publisher(key) => key,
        }
    }
}

impl Banned {
    pub(crate) fn new(catalog: &Catalog) -> Self {
        let keys: BTreeSet<_> = catalog.publishers().1.into_iter().collect();
        let modules = catalog.modules().filter(|module| keys.contains(&module.publisher));
        let modules = modules.map(|module| (module.manifest.digest, module.publisher)).collect();
        Self { keys, modules }
    }

    /// True if the key was revoked.
    pub(crate) fn has(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// Why `owner` may not run `module`; `None` if it may.
    pub(crate) fn on(&self, owner: &PublicKey, module: &Digest) -> Option<Ban> {
        let by_owner = self.keys.get(owner).map(|key| Ban::Owner(*key));
        by_owner.or_else(|| self.modules.get(module).map(|key| Ban::Publisher(*key)))
    }
}
