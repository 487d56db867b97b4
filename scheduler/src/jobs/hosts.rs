//! The hosts and their indexes: which have room, which are idle, which are open.
//!
//! A host changes in [`Hosts::update`] alone, which brings every index up to date. So a decision about one task looks
//! at the hosts that it is about, however many others there are.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use grid_protocol::digest::Digest;
use grid_protocol::job::{JobId, JobSpec};
use grid_protocol::key::PublicKey;
use grid_protocol::time::Moment;

use super::host::HostIndexed;
use super::host_order::{HostOrder, Standing, Traits};
use super::table::KeyedTable;
use super::work_kinds::{KindBit, WorkKinds};
use super::{ScheduledJob, WorkHost};

/// All hosts.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    table: KeyedTable<PublicKey, WorkHost>,
    pub(super) kinds: WorkKinds,
    /// Those with room, the least loaded first.
    pub(super) ready: HostOrder,
    /// Those that would begin an attempt without delay.
    pub(super) idle: HostOrder,
    /// Those that take tasks, now or when they have done some, by age.
    pub(super) open: HostOrder,
    /// Those among them that have nothing to do with a suspect.
    pub(super) unclaimed: HostOrder,
    /// Those that are kept empty for a suspect, and for which: it will run there as soon as the host is empty.
    pub(super) reserved: BTreeMap<u32, (JobId, u64)>,
    /// Those in quarantine, and until when.
    pub(super) quarantined: BTreeSet<(Moment, u32)>,
    /// Attempts that all hosts together would begin without delay.
    pub(super) idle_slots: u64,
    /// Slots of the hosts that are present.
    pub(super) slots: u64,
    /// Hosts that are present.
    pub(super) present: usize,
    /// Hosts that are present and in quarantine.
    pub(super) present_quarantined: usize,
}

impl Hosts {
    pub(super) fn table(&self) -> &KeyedTable<PublicKey, WorkHost> {
        &self.table
    }

    pub(super) fn get(&self, key: &PublicKey) -> Option<&WorkHost> {
        self.table.get(key)
    }

    pub(super) fn at(&self, place: u32) -> Option<&WorkHost> {
        self.table.at(place)
    }

    pub(super) fn place(&self, key: &PublicKey) -> Option<u32> {
        self.table.place(key)
    }

    /// The host at a place, and its key.
    pub(super) fn entry(&self, place: u32) -> Option<(&PublicKey, &WorkHost)> {
        self.table.entry(place)
    }

    /// Adds a host of which nothing is known.
    pub(super) fn insert(&mut self, key: PublicKey) -> u32 {
        let mut host = WorkHost::default();
        host.traits = self.kinds.traits(&host);
        self.table.insert(key, host)
    }

    /// Forgets a host that is not present.
    pub(super) fn remove(&mut self, key: &PublicKey) {
        if let Some(place) = self.place(key) {
            self.set_quarantine(place, None);
            self.reserve(place, None);
            self.update(place, |host| (host.present, host.slots) = (false, 0));
            self.table.remove(key);
        }
    }

    /// Changes a host; its labels, memory and modules stay, and so do its quarantine and reservation.
    pub(super) fn update<R>(&mut self, place: u32, change: impl FnOnce(&mut WorkHost) -> R) -> Option<R> {
        let host = self.table.at_mut(place)?;
        let result = change(host);
        let (was, is, traits) = (host.indexed, HostIndexed::of(host), host.traits);
        if was != is {
            host.indexed = is;
            self.reindex(place, was, is, traits);
        }
        Some(result)
    }

    /// Gives a host nothing until then, or trusts it again.
    pub(super) fn set_quarantine(&mut self, place: u32, until: Option<Moment>) {
        let was = self.update(place, |host| core::mem::replace(&mut host.quarantine, until)).flatten();
        if let Some(was) = was {
            self.quarantined.remove(&(was, place));
        }
        self.quarantined.extend(until.map(|until| (until, place)));
    }

    /// Keeps a host empty for a suspect, or no longer.
    pub(super) fn reserve(&mut self, place: u32, suspect: Option<(JobId, u64)>) {
        self.update(place, |host| host.is_reserved = suspect.is_some());
        match suspect {
            Some(suspect) => self.reserved.insert(place, suspect),
            None => self.reserved.remove(&place),
        };
    }

    /// Changes what the indexes have nothing to do with: a host's health.
    pub(super) fn health(&mut self, place: u32) -> Option<&mut super::host::Health> {
        Some(&mut self.table.at_mut(place)?.health)
    }

    /// Begins a pass over the hosts with room: true if this one was not looked at in it.
    pub(super) fn look_at(&mut self, place: u32, pass: u64) -> bool {
        let host = self.table.at_mut(place);
        host.is_some_and(|host| core::mem::replace(&mut host.looked_at, pass) != pass)
    }

    /// Changes what a host carries, and whatever else comes with that.
    pub(super) fn update_capacity(&mut self, place: u32, change: impl FnOnce(&mut WorkHost)) {
        self.update(place, |host| host.present = false);
        let Some(host) = self.table.at_mut(place) else {
            return;
        };
        change(host);
        let present = core::mem::replace(&mut host.present, false);
        let traits = self.kinds.traits(host);
        host.traits = traits;
        self.update(place, |host| host.present = present);
    }

    /// A host has the module of a job, or will have it soon, because it is given tasks of it.
    pub(super) fn note_module_of(&mut self, place: u32, job: &ScheduledJob) {
        if !self.at(place).is_some_and(|host| host.is_known_to_hold(job)) {
            self.note_module(place, job.spec.module);
        }
    }

    /// A host has a module, or will have it soon.
    pub(super) fn note_module(&mut self, place: u32, module: Digest) {
        let Some(host) = self.table.at_mut(place) else {
            return;
        };
        if host.note_module(module) {
            host.traits = self.kinds.traits(host);
            let (ranks, traits) = (host.indexed.ranks(host.joined), host.traits);
            for (order, rank) in self.orders().into_iter().zip(ranks) {
                rank.iter().for_each(|rank| order.set_traits(Standing::new(*rank, place), traits));
            }
        }
    }

    /// Counts a job to its kind; the kind's bit.
    pub(super) fn join_kind(&mut self, spec: &JobSpec) -> u64 {
        let bit = match self.kinds.join(spec) {
            KindBit::Known(bit) => return bit,
            KindBit::New(bit) => bit,
        };
        let mut hosts = 0;
        for host in self.table.values_mut() {
            host.traits = self.kinds.traits_with(host, bit);
            hosts += usize::from(host.present && host.traits.suits & bit != 0);
        }
        self.kinds.set_hosts(bit, hosts);
        let Self { table, ready, idle, open, unclaimed, .. } = self;
        let traits = |place| table.at(place).map(|host| host.traits).unwrap_or_default();
        for order in [ready, idle, open, unclaimed] {
            order.set_all_traits(traits);
        }
        bit
    }

    /// The hosts that are open and carry what a job needs, by age.
    pub(super) fn open_for(&self, job: &ScheduledJob) -> impl Iterator<Item = (&PublicKey, &WorkHost)> {
        self.suiting(&self.open, job).map(|(_, host)| host)
    }

    /// Those among them that have nothing to do with a suspect, by age: where each is, and its key.
    pub(super) fn unclaimed_for(&self, job: &ScheduledJob) -> impl Iterator<Item = (u32, &PublicKey)> {
        self.suiting(&self.unclaimed, job).map(|(place, (key, _))| (place, key))
    }

    /// The hosts that would begin a task of a job without delay: where each is, and its key.
    pub(super) fn idle_for(&self, job: &ScheduledJob) -> impl Iterator<Item = (u32, &PublicKey)> {
        self.suiting(&self.idle, job).map(|(place, (key, _))| (place, key))
    }

    /// Those among them that have its module.
    pub(super) fn idle_with_module(
        &self,
        job: &ScheduledJob,
    ) -> impl Iterator<Item = (&PublicKey, &WorkHost)> {
        let places = self.idle.all(Traits { suits: 0, holds: job.kind() });
        let hosts = places.filter_map(|place| self.table.entry(place));
        hosts.filter(|(_, host)| host.suits(&job.spec) && host.has_module_of(job))
    }

    fn suiting<'a>(
        &'a self,
        order: &'a HostOrder,
        job: &ScheduledJob,
    ) -> impl Iterator<Item = (u32, (&'a PublicKey, &'a WorkHost))> {
        let places = order.all(Traits { suits: job.kind(), holds: 0 });
        let hosts = places.filter_map(|place| Some((place, self.table.entry(place)?)));
        // Jobs of many kinds share the last bit.
        let spec = Arc::clone(&job.spec);
        hosts.filter(move |(_, (_, host))| host.suits(&spec))
    }

    /// How many hosts are present and carry what a job needs.
    pub(super) fn able(&self, spec: &JobSpec, bit: u64) -> usize {
        let count = || self.table.values().filter(|host| host.present && host.suits(spec)).count();
        self.kinds.hosts(bit).unwrap_or_else(count)
    }

    fn orders(&mut self) -> [&mut HostOrder; 4] {
        [&mut self.ready, &mut self.idle, &mut self.open, &mut self.unclaimed]
    }

    fn reindex(&mut self, place: u32, was: HostIndexed, is: HostIndexed, traits: Traits) {
        let Some(joined) = self.at(place).map(|host| host.joined) else {
            return;
        };
        let ranks = was.ranks(joined).into_iter().zip(is.ranks(joined));
        for (order, (before, now)) in self.orders().into_iter().zip(ranks) {
            if before != now {
                before.iter().for_each(|before| order.remove(Standing::new(*before, place)));
                now.iter().for_each(|now| order.insert(Standing::new(*now, place), traits));
            }
        }
        self.idle_slots = self.idle_slots - u64::from(was.idle) + u64::from(is.idle);
        if was.present != is.present {
            self.kinds.count(traits, is.present);
        }
        self.slots = self.slots - was.present_slots() + is.present_slots();
        let quarantined = |of: HostIndexed| usize::from(of.present && of.is_quarantined);
        self.present = self.present - usize::from(was.present) + usize::from(is.present);
        self.present_quarantined = self.present_quarantined - quarantined(was) + quarantined(is);
    }
}
