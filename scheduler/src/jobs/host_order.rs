//! Hosts in an order, which can be asked for the first that has a trait.
//!
//! A list of sorted runs of a few dozen hosts. Of each run the union of its hosts' [`Traits`] is kept, so that runs in
//! which no host is wanted are passed over without a look at them: of 10 000 hosts that is at most 300 comparisons, and
//! most often one.

use alloc::vec::Vec;

use grid_protocol::key::PublicKey;

/// What a host is good for: a bit for each kind of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// The kinds for which it carries what they need.
    pub(super) suits: u64,
    /// The kinds among them whose module it has, too.
    pub(super) holds: u64,
}

impl Traits {
    /// True if both have one in common.
    pub(super) fn meets(self, other: Self) -> bool {
        self.suits & other.suits | self.holds & other.holds != 0
    }

    fn union(self, other: Self) -> Self {
        Self { suits: self.suits | other.suits, holds: self.holds | other.holds }
    }
}

/// Kinds of work that have bits of their own.
pub(super) const KINDS_MAX: usize = 63;

/// The bit of all other kinds, which every host has.
pub(super) const OTHER_KINDS: u64 = 1 << KINDS_MAX;

/// Where a host stands: by a number, and by its key where that is the same. The last is its place in the table.
pub(super) type Standing = (u64, PublicKey, u32);

/// Hosts in a run, at the most: a run that has more is cut in two.
const RUN_MAX: usize = 64;

/// Two neighbours that have no more hosts together than that become one.
const RUN_MERGED_MAX: usize = 24;

/// Hosts in the order of their [`Standing`].
#[derive(Debug, Default)]
pub(super) struct HostOrder {
    runs: Vec<Run>,
    /// The union of the traits of each run.
    unions: Vec<Traits>,
}

#[derive(Debug, Default)]
struct Run {
    /// Those of the run's last host, here so that finding the run touches no other memory.
    last: Option<Standing>,
    hosts: Vec<Standing>,
    traits: Vec<Traits>,
}

impl HostOrder {
    pub(super) fn insert(&mut self, host: Standing, traits: Traits) {
        if self.runs.is_empty() {
            self.runs.push(Run::default());
            self.unions.push(Traits::default());
        }
        // Behind all others, it goes to the last run.
        let at = self.run_of(&host).min(self.runs.len() - 1);
        let Some(run) = self.runs.get_mut(at) else {
            return;
        };
        let Err(within) = run.hosts.binary_search(&host) else {
            return;
        };
        run.hosts.insert(within, host);
        run.traits.insert(within, traits);
        run.last = run.hosts.last().copied();
        if run.hosts.len() > RUN_MAX {
            let half = run.hosts.len() / 2;
            let (hosts, rest) = (run.hosts.split_off(half), run.traits.split_off(half));
            run.last = run.hosts.last().copied();
            let second = Run { last: hosts.last().copied(), hosts, traits: rest };
            self.unions.insert(at + 1, second.union());
            self.runs.insert(at + 1, second);
            self.sum_up(at);
        } else if let Some(union) = self.unions.get_mut(at) {
            *union = union.union(traits);
        }
    }

    pub(super) fn remove(&mut self, host: &Standing) {
        let at = self.run_of(host);
        let Some(run) = self.runs.get_mut(at) else {
            return;
        };
        let Ok(within) = run.hosts.binary_search(host) else {
            return;
        };
        run.hosts.remove(within);
        run.traits.remove(within);
        run.last = run.hosts.last().copied();
        if run.hosts.is_empty() && self.runs.len() > 1 {
            self.runs.remove(at);
            self.unions.remove(at);
            return;
        }
        self.sum_up(at);
        self.merge(at);
    }

    /// The host has other traits now.
    pub(super) fn set_traits(&mut self, host: &Standing, traits: Traits) {
        let at = self.run_of(host);
        if let Some(run) = self.runs.get_mut(at)
            && let Ok(within) = run.hosts.binary_search(host)
            && let Some(known) = run.traits.get_mut(within)
        {
            *known = traits;
            self.sum_up(at);
        }
    }

    /// All hosts have other traits now.
    pub(super) fn set_all_traits(&mut self, traits: impl Fn(u32) -> Traits) {
        for (run, union) in self.runs.iter_mut().zip(&mut self.unions) {
            for ((_, _, place), known) in run.hosts.iter().zip(&mut run.traits) {
                *known = traits(*place);
            }
            *union = run.union();
        }
    }

    /// The first host behind `after` that has one of the traits `wanted`.
    pub(super) fn next(&self, after: Option<&Standing>, wanted: Traits) -> Option<Standing> {
        let (mut at, mut within) = match after {
            None => (0, 0),
            Some(after) => {
                let at = self.run_of(after);
                (at, self.runs.get(at)?.hosts.partition_point(|host| host <= after))
            }
        };
        loop {
            let ahead = self.unions.get(at..)?.iter();
            let passed = ahead.take_while(|union| !union.meets(wanted)).count();
            if passed > 0 {
                (at, within) = (at + passed, 0);
            }
            let run = self.runs.get(at)?;
            let found = run.traits.get(within..)?.iter().position(|traits| traits.meets(wanted));
            if let Some(found) = found {
                return run.hosts.get(within + found).copied();
            }
            (at, within) = (at + 1, 0);
        }
    }

    /// All hosts that have one of the traits `wanted`, in order.
    pub(super) fn all(&self, wanted: Traits) -> impl Iterator<Item = u32> {
        let runs = self.runs.iter().zip(&self.unions).filter(move |(_, union)| union.meets(wanted));
        runs.flat_map(move |(run, _)| {
            let hosts = run.hosts.iter().zip(&run.traits).filter(move |(_, traits)| traits.meets(wanted));
            hosts.map(|((_, _, place), _)| *place)
        })
    }

    /// The first run whose last host is not before `host`.
    fn run_of(&self, host: &Standing) -> usize {
        self.runs.partition_point(|run| run.last.as_ref().is_some_and(|last| last < host))
    }

    fn sum_up(&mut self, at: usize) {
        if let (Some(union), Some(run)) = (self.unions.get_mut(at), self.runs.get(at)) {
            *union = run.union();
        }
    }

    fn merge(&mut self, at: usize) {
        let len = |at: usize| self.runs.get(at).map_or(RUN_MAX, |run| run.hosts.len());
        if len(at).saturating_add(len(at + 1)) > RUN_MERGED_MAX {
            return;
        }
        let second = self.runs.remove(at + 1);
        self.unions.remove(at + 1);
        if let Some(run) = self.runs.get_mut(at) {
            run.hosts.extend(second.hosts);
            run.traits.extend(second.traits);
            run.last = run.hosts.last().copied();
        }
        self.sum_up(at);
    }

    /// Every host and its traits, in order, for checks.
    #[cfg(test)]
    pub(super) fn entries(&self) -> Vec<(Standing, Traits)> {
        for (run, union) in self.runs.iter().zip(&self.unions) {
            assert_eq!((run.union(), run.hosts.last().copied()), (*union, run.last));
            assert_eq!(run.hosts.len(), run.traits.len());
        }
        let entry = |run: &Run| run.hosts.iter().copied().zip(run.traits.clone()).collect::<Vec<_>>();
        self.runs.iter().flat_map(entry).collect()
    }
}

impl Run {
    fn union(&self) -> Traits {
        self.traits.iter().fold(Traits::default(), |union, traits| union.union(*traits))
    }
}
