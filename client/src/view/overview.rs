//! The grid at a glance, in figures.

use grid_protocol::activity::{Overview, RateSecond, Totals};
use serde::Serialize;

/// What has happened since the manager started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TotalsView {
    /// Tasks that failed for good.
    pub dead: u64,
    /// Tasks that were done.
    pub done: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that were lost with their hosts.
    pub lost: u64,
    /// Tasks that were accepted.
    pub submitted: u64,
}

impl From<Totals> for TotalsView {
    fn from(totals: Totals) -> Self {
        let Totals { done, dead, failed, lost, submitted } = totals;
        Self { dead, done, failed, lost, submitted }
    }
}

/// The grid at a glance, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct OverviewView {
    /// Tasks done in each of the last seconds that are over, oldest first.
    pub done_by_second: Vec<u32>,
    /// Attempts that their hosts have reported as begun.
    pub executing: u32,
    /// Attempts that failed or were lost in each of the last seconds that are over, oldest first.
    pub failed_by_second: Vec<u32>,
    /// Jobs that are not over.
    pub jobs: u32,
    /// Tasks that hosts hold.
    pub leased: u64,
    /// The number of the newest event.
    pub newest_event: u64,
    /// The number of the newest sampled task.
    pub newest_sample: u64,
    /// Hosts in quarantine.
    pub quarantined: u32,
    /// What has happened since the manager started.
    pub totals: TotalsView,
    /// The manager's time, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Tasks that wait, over all jobs.
    pub waiting: u64,
}

impl From<&Overview> for OverviewView {
    fn from(overview: &Overview) -> Self {
        let by_second = |count: fn(&RateSecond) -> u32| overview.rates.iter().map(count).collect();
        Self {
            done_by_second: by_second(|second| second.done),
            executing: overview.executing,
            failed_by_second: by_second(|second| second.failed),
            jobs: overview.jobs,
            leased: overview.leased,
            newest_event: overview.newest_event,
            newest_sample: overview.newest_sample,
            quarantined: overview.quarantined,
            totals: overview.totals.into(),
            unix_ms: overview.unix_ms,
            waiting: overview.waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::json;
    use serde_json::json;

    #[test]
    fn the_figures() {
        let rates = vec![RateSecond { done: 5, failed: 1 }];
        let overview = Overview {
            unix_ms: 1,
            jobs: 2,
            waiting: 3,
            leased: 4,
            executing: 5,
            quarantined: 6,
            totals: Totals::default(),
            rates,
            newest_event: 7,
            newest_sample: 8,
        };
        let view = json(&OverviewView::from(&overview));
        assert_eq!((&view["done_by_second"], &view["failed_by_second"]), (&json!([5]), &json!([1])));
    }
}
