//! Tables: the columns of each resource, and its rows, filtered and sorted.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use wasm_grid::view::{HostView, JobView, ModuleView, WorkerView};
use wasm_grid::{
    Digest, HostInfo, HostState, JobInfo, JobState, ModuleInfo, PublicKey, WorkerInfo, WorkerState,
};

use crate::command::output::{bytes, time};
use crate::command::top::known::{TopEvent, TopKnown};
use crate::command::top::resource::TopResource;
use crate::command::top::text::{TopTone, clock, harmless, time_of_day};
use crate::command::top::thing::{TopThing, short};

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopColumn {
    pub(crate) title: &'static str,
    /// Columns of the screen that it takes; 0 for those that the others leave.
    width: u16,
    /// How wide the screen must be for it to be shown.
    from: u16,
    /// True for numbers.
    pub(crate) right: bool,
}

const fn left(title: &'static str, width: u16, from: u16) -> TopColumn {
    TopColumn { title, width, from, right: false }
}

const fn right(title: &'static str, width: u16, from: u16) -> TopColumn {
    TopColumn { title, width, from, right: true }
}

const HOSTS: &[TopColumn] = &[
    left("NAME", 0, 0),
    left("STATE", 8, 0),
    right("WORKERS", 7, 0),
    right("MEMORY", 10, 60),
    left("PLATFORM", 14, 100),
    left("LABELS", 16, 140),
    left("ADDRESS", 21, 70),
    right("SENT", 10, 110),
    left("FINGERPRINT", 24, 130),
];

const JOBS: &[TopColumn] = &[
    left("JOB", 9, 0),
    left("NAME", 0, 0),
    left("STATE", 8, 0),
    right("TASKS", 7, 48),
    right("DONE", 7, 0),
    right("FAILED", 6, 56),
    right("RUNNING", 7, 76),
    right("RATE", 7, 80),
    right("LEFT", 7, 70),
    left("MODULE", 12, 110),
    left("MADE", 20, 120),
];

const WORKERS: &[TopColumn] = &[
    left("WORKER", 9, 0),
    left("MODULE", 0, 0),
    left("HOST", 14, 0),
    left("STATE", 8, 0),
    right("UNANSWERED", 10, 70),
    right("UNCOLLECTED", 11, 90),
    left("DEPLOYMENT", 10, 100),
    left("END", 14, 80),
];

const MODULES: &[TopColumn] = &[
    left("NAME", 0, 0),
    left("VERSION", 8, 66),
    left("KIND", 18, 50),
    right("SIZE", 10, 0),
    left("DIGEST", 12, 0),
    left("EXPIRES", 20, 100),
    left("PUBLISHER", 24, 120),
];

const EVENTS: &[TopColumn] = &[left("TIME", 8, 0), left("KIND", 16, 70), left("WHAT", 0, 0)];

/// Columns between two columns of a table.
const GAP: u16 = 1;

/// The columns of a resource.
pub(crate) fn columns(resource: TopResource) -> &'static [TopColumn] {
    match resource {
        TopResource::Overview => &[],
        TopResource::Hosts => HOSTS,
        TopResource::Jobs => JOBS,
        TopResource::Workers => WORKERS,
        TopResource::Modules => MODULES,
        TopResource::Events => EVENTS,
    }
}

/// A column that is shown: its number, where it begins, and how wide it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopPlaced {
    pub(crate) number: usize,
    pub(crate) x: u16,
    pub(crate) width: u16,
}

/// Where the columns of a resource are on a screen that is so wide.
pub(crate) fn placed(resource: TopResource, screen: u16) -> Vec<TopPlaced> {
    let shown = columns(resource).iter().enumerate().filter(|(_, column)| column.from <= screen);
    let shown: Vec<_> = shown.collect();
    let fixed: u16 = shown.iter().map(|(_, column)| column.width + GAP).sum();
    // A margin of a column at the left, and one at the right, which is the last column's gap.
    let rest = screen.saturating_sub(1 + fixed);
    let mut x = 1;
    let place = |(number, column): (usize, &TopColumn)| {
        let width = if column.width == 0 { rest } else { column.width };
        let placed = TopPlaced { number, x, width };
        x += width + GAP;
        placed
    };
    shown.into_iter().map(place).collect()
}

/// A cell: what is shown, and what it is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopCell {
    text: String,
    /// For numbers.
    number: Option<u64>,
}

impl TopCell {
    fn text(text: &str) -> Self {
        Self { text: harmless(text), number: None }
    }

    fn number(number: u64) -> Self {
        // A number that is cut at its end would be another one.
        let text = match number {
            0..10_000_000 => number.to_string(),
            10_000_000..10_000_000_000 => format!("{:.1}M", number as f64 / 1e6),
            _ => format!("{:.1}G", number as f64 / 1e9),
        };
        Self { text, number: Some(number) }
    }

    fn sorted_by(text: &str, number: u64) -> Self {
        Self { text: harmless(text), number: Some(number) }
    }

    /// The text, which moves no cursor.
    pub(crate) fn shown(&self) -> &str {
        &self.text
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number).then_with(|| self.text.to_lowercase().cmp(&other.text.to_lowercase()))
    }
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopRow {
    pub(crate) thing: TopThing,
    pub(crate) cells: Vec<TopCell>,
    pub(crate) tone: TopTone,
}

/// How a table is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopOrder {
    /// The number of the column.
    pub(crate) column: usize,
    /// True if the greatest is first.
    pub(crate) reversed: bool,
}

impl TopOrder {
    /// How a resource is sorted before somebody says otherwise: jobs by age, the youngest first.
    pub(crate) fn of(resource: TopResource) -> Self {
        match resource {
            TopResource::Jobs => Self { column: JOBS.len() - 1, reversed: true },
            _ => Self { column: 0, reversed: false },
        }
    }
}

/// The rows of a resource that contain `filter` in one of their cells, in order.
pub(crate) fn rows(known: &TopKnown, resource: TopResource, filter: &str, order: TopOrder) -> Vec<TopRow> {
    let modules = || known.modules.iter().map(|module| (module.digest, module.name.as_str())).collect();
    let hosts = || known.hosts.iter().map(|host| (host.key, host.capacity.name.as_str())).collect();
    let mut rows: Vec<TopRow> = match resource {
        TopResource::Overview => Vec::new(),
        TopResource::Hosts => known.hosts.iter().map(host).collect(),
        TopResource::Jobs => {
            let modules = modules();
            known.jobs.iter().map(|info| job(known, &modules, info)).collect()
        }
        TopResource::Workers => {
            let (modules, hosts) = (modules(), hosts());
            known.workers.iter().map(|info| worker(&modules, &hosts, info)).collect()
        }
        TopResource::Modules => known.modules.iter().map(module).collect(),
        TopResource::Events => known.events.iter().map(event).collect(),
    };
    let filter = filter.to_lowercase();
    rows.retain(|row| row.cells.iter().any(|cell| cell.text.to_lowercase().contains(&filter)));
    // Stable, so that equal rows keep the manager's order.
    rows.sort_by(|one, other| match (one.cells.get(order.column), other.cells.get(order.column)) {
        (Some(one), Some(other)) if order.reversed => other.compare(one),
        (Some(one), Some(other)) => one.compare(other),
        _ => Ordering::Equal,
    });
    rows
}

fn host(info: &HostInfo) -> TopRow {
    let view = HostView::from(info);
    let tone = match info.state {
        HostState::Pending | HostState::Draining => TopTone::Odd,
        HostState::Away => TopTone::Bad,
        HostState::Gone => TopTone::Quiet,
        _ => TopTone::Plain,
    };
    let cells = vec![
        TopCell::text(&view.name),
        TopCell::text(view.state),
        TopCell::sorted_by(&format!("{}/{}", view.workers, view.slots), view.workers.into()),
        TopCell::sorted_by(&bytes(view.memory_bytes), view.memory_bytes),
        TopCell::text(&view.platform),
        TopCell::text(&view.labels.join(",")),
        TopCell::text(&view.address),
        TopCell::sorted_by(&bytes(view.module_bytes_sent), view.module_bytes_sent),
        TopCell::text(&view.fingerprint),
    ];
    TopRow { thing: TopThing::Host(info.key), cells, tone }
}

fn job(known: &TopKnown, modules: &BTreeMap<Digest, &str>, info: &JobInfo) -> TopRow {
    let view = JobView::from(info);
    let tone = match info.state {
        JobState::GivenUp { .. } => TopTone::Bad,
        _ if info.counts.dead > 0 => TopTone::Odd,
        JobState::Finished | JobState::Cancelled => TopTone::Quiet,
        _ => TopTone::Plain,
    };
    let (rate, left) = known.forecast(info);
    let module = modules
        .get(&info.spec.module)
        .map_or_else(|| info.spec.module.short().to_string(), |name| (*name).to_owned());
    #[expect(clippy::cast_possible_truncation, reason = "for sorting alone")]
    let rate =
        rate.map_or(TopCell::text("-"), |rate| TopCell::sorted_by(&per_second(rate), (rate * 1e3) as u64));
    let cells = vec![
        TopCell::text(&short(info.id)),
        TopCell::text(&view.name),
        TopCell::text(view.state),
        TopCell::number(view.submitted),
        TopCell::number(view.done),
        TopCell::number(view.dead),
        TopCell::number(view.leased),
        rate,
        left.map_or(TopCell::text("-"), |left| TopCell::sorted_by(&clock(left), left)),
        TopCell::text(&module),
        TopCell::sorted_by(&time(view.created), view.created),
    ];
    TopRow { thing: TopThing::Job(info.id), cells, tone }
}

/// A rate for people.
pub(crate) fn per_second(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") }
}

fn worker(modules: &BTreeMap<Digest, &str>, hosts: &BTreeMap<PublicKey, &str>, info: &WorkerInfo) -> TopRow {
    let view = WorkerView::from(info);
    let tone = match &info.state {
        WorkerState::Ended(end) if end.is_accident() => TopTone::Bad,
        WorkerState::Ended(_) => TopTone::Quiet,
        WorkerState::Away | WorkerState::Stopping => TopTone::Odd,
        _ => TopTone::Plain,
    };
    let module =
        modules.get(&info.module).map_or_else(|| info.module.short().to_string(), |name| (*name).to_owned());
    let host = hosts.get(&info.host).map_or_else(|| info.host.fingerprint(), |name| (*name).to_owned());
    let cells = vec![
        TopCell::sorted_by(&view.worker, info.id.as_u64()),
        TopCell::text(&module),
        TopCell::text(&host),
        TopCell::text(view.state),
        TopCell::number(view.unanswered.into()),
        TopCell::number(view.uncollected.into()),
        TopCell::text(view.deployment.as_deref().unwrap_or("-")),
        TopCell::text(view.end.unwrap_or("-")),
    ];
    TopRow { thing: TopThing::Worker(info.id), cells, tone }
}

fn module(info: &ModuleInfo) -> TopRow {
    let view = ModuleView::from(info);
    let expires = if view.expires == 0 { "never".to_owned() } else { time(view.expires) };
    let cells = vec![
        TopCell::text(&view.name),
        TopCell::text(&view.version),
        TopCell::text(&view.entry_point),
        TopCell::sorted_by(&bytes(view.bytes), view.bytes),
        TopCell::text(&info.digest.short().to_string()),
        TopCell::sorted_by(&expires, if view.expires == 0 { u64::MAX } else { view.expires }),
        TopCell::text(&info.publisher.fingerprint()),
    ];
    TopRow { thing: TopThing::Module(info.digest), cells, tone: TopTone::Plain }
}

fn event(event: &TopEvent) -> TopRow {
    let cells = vec![
        TopCell::sorted_by(&time_of_day(event.unix_ms), event.number),
        TopCell::text(event.kind),
        TopCell::text(&event.text),
    ];
    let tone = if event.bad { TopTone::Bad } else { TopTone::Plain };
    TopRow { thing: TopThing::Event(event.number), cells, tone }
}
