//! Hosts in an order, which can be asked for the first that has a trait.
//!
//! A list of sorted runs of a few dozen hosts. Of each run the union of its hosts' [`Traits`] is kept, so that runs in
//! which no host is wanted are passed over without a look at them: of 10 000 hosts that is at most 300 comparisons, and
//! most often one.

use alloc::vec::Vec;

use super::table::index;

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

/// Where a host stands: by its rank, and by its place in the table where that is the same.
///
/// One word, so that a run is a few lines of the processor's cache. Ranks from 2³² on are all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing(u64);

impl Standing {
    pub(super) fn new(rank: u64, place: u32) -> Self {
        Self(rank.min(u32::MAX.into()) << 32 | u64::from(place))
    }

    /// The host's place in the table.
    pub(super) fn place(self) -> u32 {
        index(self.0 & u64::from(u32::MAX))
    }
}

/// Hosts in a run, at the most: a run that has more is cut in two.
const RUN_MAX: usize = 64;

/// Two neighbours that have no more hosts together than that become one.
const RUN_MERGED_MAX: usize = 24;

/// Hosts in the order of their [`Standing`].
#[derive(Debug, Default)]
pub(super) struct HostOrder {
    runs: Vec<Run>,
    /// What finding a run needs of each, side by side.
    summaries: Vec<HostRunSummary>,
}

#[derive(Debug, Default)]
struct Run {
    hosts: Vec<Standing>,
    traits: Vec<Traits>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct HostRunSummary {
    /// Its last host; `None` if it has none.
    last: Option<Standing>,
    /// The union of its hosts' traits.
    union: Traits,
}

impl HostOrder {
    pub(super) fn insert(&mut self, host: Standing, traits: Traits) {
        if self.runs.is_empty() {
            self.runs.push(Run::default());
            self.summaries.push(HostRunSummary::default());
        }
        // Behind all others, it goes to the last run.
        let at = self.run_of(host).min(self.runs.len() - 1);
        let (Some(run), Some(summary)) = (self.runs.get_mut(at), self.summaries.get_mut(at)) else {
            return;
        };
        let Err(within) = run.hosts.binary_search(&host) else {
            return;
        };
        run.hosts.insert(within, host);
        run.traits.insert(within, traits);
        *summary = HostRunSummary { last: summary.last.max(Some(host)), union: summary.union.union(traits) };
        if run.hosts.len() > RUN_MAX {
            let half = run.hosts.len() / 2;
            let second = Run { hosts: run.hosts.split_off(half), traits: run.traits.split_off(half) };
            *summary = run.summary();
            self.summaries.insert(at + 1, second.summary());
            self.runs.insert(at + 1, second);
        }
    }

    pub(super) fn remove(&mut self, host: Standing) {
        let (at, is_only) = (self.run_of(host), self.runs.len() == 1);
        let (Some(run), Some(summary)) = (self.runs.get_mut(at), self.summaries.get_mut(at)) else {
            return;
        };
        let Ok(within) = run.hosts.binary_search(&host) else {
            return;
        };
        run.hosts.remove(within);
        let traits = run.traits.remove(within);
        if run.hosts.is_empty() && !is_only {
            self.runs.remove(at);
            self.summaries.remove(at);
            return;
        }
        // Most often its neighbour has the same traits, and the union stays.
        let neighbour = run.traits.get(within.saturating_sub(1));
        let union = if neighbour == Some(&traits) { summary.union } else { run.union() };
        *summary = HostRunSummary { last: run.hosts.last().copied(), union };
        self.merge(at);
    }

    /// The host has other traits now.
    pub(super) fn set_traits(&mut self, host: Standing, traits: Traits) {
        let at = self.run_of(host);
        if let (Some(run), Some(summary)) = (self.runs.get_mut(at), self.summaries.get_mut(at))
            && let Ok(within) = run.hosts.binary_search(&host)
            && let Some(known) = run.traits.get_mut(within)
        {
            *known = traits;
            summary.union = run.union();
        }
    }

    /// All hosts have other traits now.
    pub(super) fn set_all_traits(&mut self, traits: impl Fn(u32) -> Traits) {
        for (run, summary) in self.runs.iter_mut().zip(&mut self.summaries) {
            for (host, known) in run.hosts.iter().zip(&mut run.traits) {
                *known = traits(host.place());
            }
            summary.union = run.union();
        }
    }

    /// The first host behind `after` that has one of the traits `wanted`.
    pub(super) fn next(&self, after: Option<Standing>, wanted: Traits) -> Option<Standing> {
        let (mut at, mut within) = match after {
            None => (0, 0),
            Some(after) => {
                let at = self.run_of(after);
                (at, self.runs.get(at)?.hosts.partition_point(|host| *host <= after))
            }
        };
        loop {
            let ahead = self.summaries.get(at..)?.iter();
            let passed = ahead.take_while(|summary| !summary.union.meets(wanted)).count();
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
        let runs = self.runs.iter().zip(&self.summaries);
        let runs = runs.filter(move |(_, summary)| summary.union.meets(wanted));
        runs.flat_map(move |(run, _)| {
            let hosts = run.hosts.iter().zip(&run.traits).filter(move |(_, traits)| traits.meets(wanted));
            hosts.map(|(host, _)| host.place())
        })
    }

    /// The first run whose last host is not before `host`.
    fn run_of(&self, host: Standing) -> usize {
        self.summaries.partition_point(|summary| summary.last.is_some_and(|last| last < host))
    }

    fn merge(&mut self, at: usize) {
        let len = |at: usize| self.runs.get(at).map_or(RUN_MAX, |run| run.hosts.len());
        if len(at).saturating_add(len(at + 1)) > RUN_MERGED_MAX {
            return;
        }
        let second = self.runs.remove(at + 1);
        self.summaries.remove(at + 1);
        if let (Some(run), Some(summary)) = (self.runs.get_mut(at), self.summaries.get_mut(at)) {
            run.hosts.extend(second.hosts);
            run.traits.extend(second.traits);
            *summary = run.summary();
        }
    }

    /// Every host and its traits, in order, for checks.
    #[cfg(test)]
    pub(super) fn entries(&self) -> Vec<(Standing, Traits)> {
        assert!(self.runs.iter().map(Run::summary).eq(self.summaries.iter().copied()));
        assert!(self.runs.iter().all(|run| run.hosts.len() == run.traits.len()));
        let entry = |run: &Run| run.hosts.iter().copied().zip(run.traits.clone()).collect::<Vec<_>>();
        self.runs.iter().flat_map(entry).collect()
    }
}

impl Run {
    fn summary(&self) -> HostRunSummary {
        HostRunSummary { last: self.hosts.last().copied(), union: self.union() }
    }

    fn union(&self) -> Traits {
        self.traits.iter().fold(Traits::default(), |union, traits| union.union(*traits))
    }
}
