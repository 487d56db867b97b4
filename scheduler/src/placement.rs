//! Placement: which host gets a worker, and why the others do not.

use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

use grid_protocol::key::PublicKey;

use crate::roster::{Presence, RosterHost};
use crate::spec::Spec;

/// Why a host cannot take a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlacementError {
    /// It is draining and takes no more workers.
    Draining,
    /// Its connection is lost.
    Away,
    /// It lacks a label, or has another value for it.
    Label {
        /// The label's name.
        name: alloc::string::String,
    },
    /// All its slots are taken.
    Slots {
        /// Number of slots it has.
        slots: u32,
    },
    /// Too little of its memory is free.
    Memory {
        /// Free memory, in bytes.
        free: u64,
    },
    /// Fewer workers fit on it than were asked for, by its slots or its memory.
    Few {
        /// Workers that fit.
        room: u32,
    },
    /// The scheduler does not know the host.
    Unknown,
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("is draining"),
            Self::Away => f.write_str("is not connected"),
            Self::Label { name } => {
                write!(f, "lacks the label `{name}`, or has another value for it")
            }
            Self::Slots { slots } => write!(f, "has all of its {slots} slots taken"),
            Self::Memory { free } => write!(f, "has {free} bytes of memory left"),
            Self::Few { room } => write!(f, "has room for {room} of them"),
            Self::Unknown => f.write_str("is not on the roster"),
        }
    }
}

/// Why a request cannot be met now. Nothing was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRoom {
    /// Workers asked for.
    pub asked: u32,
    /// Workers for which there is room.
    pub room: u32,
    /// Hosts that cannot take a worker, and why; at most [`Self::REASONS_MAX`] of them.
    pub reasons: Vec<(PublicKey, PlacementError)>,
}

impl NoRoom {
    /// Hosts that an answer names; a person reads no more.
    pub const REASONS_MAX: usize = 8;
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is room for {} of {} workers", self.room, self.asked)?;
        if self.reasons.is_empty() && self.room == 0 {
            f.write_str("; no host is connected")?;
        }
        for (key, reason) in &self.reasons {
            write!(f, "; host {} {reason}", key.fingerprint())?;
        }
        Ok(())
    }
}

/// Checks whether `host` can take one more worker of `spec`.
pub(crate) fn fit(host: &RosterHost, spec: &Spec) -> Result<(), PlacementError> {
    match host.presence {
        Presence::Ready => {}
        Presence::Draining => return Err(PlacementError::Draining),
        Presence::Away { .. } => return Err(PlacementError::Away),
    }
    if let Some(missing) = spec.labels.iter().find(|label| !host.capacity.labels.contains(label)) {
        return Err(PlacementError::Label { name: missing.name.clone() });
    }
    if host.free_slots() == 0 {
        return Err(PlacementError::Slots { slots: host.capacity.slots });
    }
    if host.free_memory() < spec.memory_bytes {
        return Err(PlacementError::Memory { free: host.free_memory() });
    }
    Ok(())
}

/// Number of further workers of `spec` that `host` can take.
pub(crate) fn capacity(host: &RosterHost, spec: &Spec) -> u32 {
    if fit(host, spec).is_err() {
        return 0;
    }
    let by_memory = host.free_memory().checked_div(spec.memory_bytes).unwrap_or(u64::MAX);
    host.free_slots().min(u32::try_from(by_memory).unwrap_or(u32::MAX))
}

/// Chooses hosts for `count` workers, one entry per worker. Each worker goes where most further workers fit, so that
/// work spreads; equal hosts are taken in the order of their keys, so that a run can be repeated.
///
/// # Errors
///
/// [`NoRoom`], with the reasons, if not all of them fit.
pub(crate) fn spread(
    hosts: &BTreeMap<PublicKey, RosterHost>,
    spec: &Spec,
    count: u32,
) -> Result<Vec<PublicKey>, NoRoom> {
    let mut rooms: BinaryHeap<(u32, Reverse<PublicKey>)> = hosts
        .iter()
        .map(|(key, host)| (capacity(host, spec), Reverse(*key)))
        .filter(|(room, _)| *room > 0)
        .collect();
    let room = rooms.iter().fold(0u32, |sum, (room, _)| sum.saturating_add(*room));
    if room < count {
        let reasons = hosts.iter().filter_map(|(key, host)| Some((*key, fit(host, spec).err()?)));
        return Err(NoRoom { asked: count, room, reasons: reasons.take(NoRoom::REASONS_MAX).collect() });
    }
    let mut chosen = Vec::new();
    for _ in 0..count {
        let Some((room, key)) = rooms.pop() else {
            break;
        };
        chosen.push(key.0);
        if room > 1 {
            rooms.push((room - 1, key));
        }
    }
    Ok(chosen)
}
