//! Kinds of work: what jobs need of a host, each as one bit of the hosts' [`Traits`].
//!
//! Jobs that need the same labels and memory and run the same module are of one kind. There are bits for 63 kinds at a
//! time; the jobs of all further kinds share the last bit, which every host has: for them hosts are looked at that
//! will not do, which costs time and changes no decision.

use alloc::vec::Vec;

use grid_protocol::digest::Digest;
use grid_protocol::host::Label;
use grid_protocol::job::JobSpec;

use super::WorkHost;
use super::host_order::{KINDS_MAX, OTHER_KINDS, Traits};

/// All kinds of work that jobs are of.
#[derive(Debug, Default)]
pub(super) struct WorkKinds {
    kinds: Vec<WorkKind>,
    /// Jobs of other kinds that have tasks which any host may take that suits.
    others_offering: u64,
    /// The bits of kinds of which a job has such tasks.
    offered: u64,
}

#[derive(Debug)]
struct WorkKind {
    labels: Vec<Label>,
    memory_bytes: u64,
    module: Digest,
    /// Jobs of this kind; its bit is given to another once there is none.
    jobs: u64,
    /// Jobs of this kind that have tasks which any host may take that suits.
    jobs_offering: u64,
    /// Hosts that are present and suit it.
    hosts: usize,
}

impl WorkKind {
    fn is_of(&self, spec: &JobSpec) -> bool {
        self.module == spec.module && self.memory_bytes == spec.memory_bytes && self.labels == spec.labels
    }

    fn suits(&self, host: &WorkHost) -> bool {
        self.memory_bytes <= host.memory_bytes && self.labels.iter().all(|label| host.labels.contains(label))
    }
}

/// The bit that a job's kind has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KindBit {
    /// It had it before.
    Known(u64),
    /// It is new: no host has it yet, and those that suit must get it.
    New(u64),
}

impl WorkKinds {
    /// Counts a job to its kind.
    pub(super) fn join(&mut self, spec: &JobSpec) -> KindBit {
        if let Some((number, kind)) = self.kinds.iter_mut().enumerate().find(|(_, kind)| kind.is_of(spec)) {
            kind.jobs += 1;
            return KindBit::Known(1 << number);
        }
        let (labels, memory_bytes, module) = (spec.labels.clone(), spec.memory_bytes, spec.module);
        let kind = WorkKind { labels, memory_bytes, module, jobs: 1, jobs_offering: 0, hosts: 0 };
        if self.kinds.len() < KINDS_MAX {
            self.kinds.push(kind);
            return KindBit::New(1 << (self.kinds.len() - 1));
        }
        match self.kinds.iter_mut().enumerate().find(|(_, kind)| kind.jobs == 0) {
            Some((number, unused)) => {
                *unused = kind;
                KindBit::New(1 << number)
            }
            None => KindBit::Known(OTHER_KINDS),
        }
    }

    /// A job of the kind is forgotten.
    pub(super) fn leave(&mut self, bit: u64) {
        if let Some(kind) = self.kind_mut(bit) {
            kind.jobs = kind.jobs.saturating_sub(1);
        }
    }

    /// A job of the kind has tasks now that any host may take that suits, or has none any more.
    pub(super) fn note_offering(&mut self, bit: u64, offers: bool) {
        let count = match self.kind_mut(bit) {
            Some(kind) => &mut kind.jobs_offering,
            None => &mut self.others_offering,
        };
        *count = if offers { *count + 1 } else { count.saturating_sub(1) };
        self.offered = if *count > 0 { self.offered | bit } else { self.offered & !bit };
    }

    /// The bits of kinds of which a job has tasks that any host may take that suits.
    pub(super) fn offered(&self) -> u64 {
        self.offered
    }

    /// What a host is good for.
    pub(super) fn traits(&self, host: &WorkHost) -> Traits {
        let mut traits = Traits { suits: OTHER_KINDS, holds: OTHER_KINDS };
        for (number, kind) in self.kinds.iter().enumerate().filter(|(_, kind)| kind.suits(host)) {
            traits.suits |= 1 << number;
            traits.holds |= u64::from(host.modules.contains(&kind.module)) << number;
        }
        traits
    }

    /// What a host is good for, the kind of `bit` looked at anew.
    pub(super) fn traits_with(&self, host: &WorkHost, bit: u64) -> Traits {
        let mut traits = Traits { suits: host.traits.suits & !bit, holds: host.traits.holds & !bit };
        if let Some(kind) = self.kinds.get(bit.trailing_zeros() as usize).filter(|kind| kind.suits(host)) {
            traits.suits |= bit;
            traits.holds |= if host.modules.contains(&kind.module) { bit } else { 0 };
        }
        traits
    }

    /// Counts a host that is present, or is not any more, to the kinds that it suits.
    pub(super) fn count(&mut self, traits: Traits, is_present: bool) {
        for (number, kind) in self.kinds.iter_mut().enumerate() {
            if traits.suits >> number & 1 == 1 {
                kind.hosts = if is_present { kind.hosts + 1 } else { kind.hosts.saturating_sub(1) };
            }
        }
    }

    /// Says how many hosts are present that suit a new kind.
    pub(super) fn set_hosts(&mut self, bit: u64, hosts: usize) {
        if let Some(kind) = self.kind_mut(bit) {
            kind.hosts = hosts;
        }
    }

    /// Hosts that are present and suit the kind; `None` if that is not counted.
    pub(super) fn hosts(&self, bit: u64) -> Option<usize> {
        self.kinds.get(bit.trailing_zeros() as usize).map(|kind| kind.hosts)
    }

    fn kind_mut(&mut self, bit: u64) -> Option<&mut WorkKind> {
        self.kinds.get_mut(bit.trailing_zeros() as usize)
    }
}
