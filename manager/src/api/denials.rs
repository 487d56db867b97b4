//! Denials: why a request is refused, and what the client can do about it.

use grid_protocol::client::{Denial, DenialCode, Reply};
use grid_protocol::key::PublicKey;
use grid_protocol::role::Role;

use crate::catalog::CatalogError;
use crate::catalog::banned::Ban;

pub(crate) fn found(found: bool, what: &str, help: &str) -> Result<Reply, Denial> {
    if found {
        Ok(Reply::Done)
    } else {
        Err(deny(DenialCode::NotFound, what, "there is none of that name", help))
    }
}

/// The denial of a request to run something that a ban forbids.
pub(crate) fn banned(ban: Ban) -> Denial {
    let help = format!("an admin can type `grid key trust {} --role publisher`", ban.key());
    deny(DenialCode::ModuleRejected, "module", ban, &help)
}

pub(crate) fn not_allowed(what: &str, key: PublicKey, role: Role) -> Denial {
    let why = format!("the key {key} has not the role {role}");
    let help = format!("an admin can type `grid key trust {key} --role {role}`");
    deny(DenialCode::NotAllowed, what, why, &help)
}

pub(crate) fn fault(error: CatalogError) -> Denial {
    let code = match error {
        CatalogError::Full { .. } => DenialCode::NoCapacity,
        _ => DenialCode::ManagerFault,
    };
    deny(code, "the manager", error, "see the manager's log; look at its disk")
}

pub(crate) fn deny(code: DenialCode, what: &str, why: impl std::fmt::Display, help: &str) -> Denial {
    Denial { code, what: what.to_owned(), why: why.to_string(), help: help.to_owned() }
}
