//! The grid at a glance.

use ratatui::layout::Rect;
use ratatui::widgets::{Sparkline, Widget};

use grid_protocol::activity::Overview;

use crate::command::output::counted;
use crate::command::top::draw::TopCanvas;
use crate::command::top::known::TopKnown;
use crate::command::top::table::per_second;
use crate::command::top::text::{TopLine, TopTone, fit, time_of_day};

/// Seconds over which the present rate is taken.
const RATE_SECONDS: usize = 10;

/// Lines of the graph.
const GRAPH_LINES: u16 = 4;

/// Columns of the left half of the figures.
const HALF_COLUMNS: usize = 38;

/// Draws the figures, the graph, and the last events in what is left.
pub(super) fn draw(canvas: &mut TopCanvas<'_>, known: &TopKnown, area: Rect) {
    let Some(overview) = &known.overview else { return };
    let figures = figures(known, overview, area.width.into());
    canvas.lines(area, &figures);
    let y = area.y + u16::try_from(figures.len()).unwrap_or_default() + 1;
    let mut below = Rect::new(area.x, y, area.width, area.bottom().saturating_sub(y));
    // A short screen has the events, and no graph.
    if below.height >= GRAPH_LINES + 6 {
        let heading = canvas.palette.style(TopTone::Heading);
        let most = graph(overview, below.width.into()).into_iter().max().unwrap_or_default();
        let text = format!("tasks done a second in the last 5 minutes, at most {most}");
        canvas.put(below.x, below.y, below.width, &text, heading);
        let graph_area = Rect::new(below.x, below.y + 1, below.width, GRAPH_LINES);
        let style = canvas.palette.style(TopTone::Good);
        Sparkline::default()
            .data(graph(overview, below.width.into()))
            .max(most.max(1))
            .style(style)
            .render(graph_area.intersection(canvas.buffer.area), canvas.buffer);
        let taken = GRAPH_LINES + 2;
        below = Rect::new(below.x, below.y + taken, below.width, below.height - taken);
    }
    events(canvas, known, below);
}

/// The figures: in two columns if there is room, one below the other if not.
fn figures(known: &TopKnown, overview: &Overview, columns: usize) -> Vec<TopLine> {
    let totals = overview.totals;
    let last = || overview.rates.iter().rev().take(RATE_SECONDS);
    let mean = |sum: u64| sum as f64 / last().count().max(1) as f64;
    let done = mean(last().map(|second| u64::from(second.done)).sum());
    let failed = mean(last().map(|second| u64::from(second.failed)).sum());
    let pending = known.status.as_ref().map_or(0, |status| status.pending_hosts);
    let pairs = [
        (
            (TopTone::Plain, format!("waiting    {}", counted(overview.waiting, "task"))),
            (TopTone::Plain, format!("done       {} since the start", counted(totals.done, "task"))),
        ),
        (
            (TopTone::Plain, format!("with hosts {} ({} begun)", overview.leased, overview.executing)),
            (
                odd(totals.failed),
                format!("failed     {}, {} lost", counted(totals.failed, "attempt"), totals.lost),
            ),
        ),
        (
            (TopTone::Plain, format!("rate       {} done, {} failed", per_second(done), per_second(failed))),
            (bad(totals.dead), format!("for good   {}", counted(totals.dead, "task"))),
        ),
        (
            (odd(pending.into()), format!("approval   {} waiting", counted(pending.into(), "host"))),
            (
                bad(overview.quarantined.into()),
                format!("quarantine {}", counted(overview.quarantined.into(), "host")),
            ),
        ),
    ];
    if columns >= 2 * HALF_COLUMNS {
        // A line has one tone: the worse of the two.
        let line = |((one, left), (other, right)): ((TopTone, String), (TopTone, String))| {
            let tone = if other == TopTone::Plain { one } else { other };
            let left = fit(&left, HALF_COLUMNS - 1);
            TopLine::new(tone, &format!("{left:HALF_COLUMNS$}{right}"))
        };
        return pairs.into_iter().map(line).collect();
    }
    let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    left.into_iter().chain(right).map(|(tone, text)| TopLine::new(tone, &text)).collect()
}

fn odd(number: u64) -> TopTone {
    if number > 0 { TopTone::Odd } else { TopTone::Plain }
}

fn bad(number: u64) -> TopTone {
    if number > 0 { TopTone::Bad } else { TopTone::Plain }
}

/// Tasks done a second, the newest at the right: each column is the mean of as many seconds as it stands for.
fn graph(overview: &Overview, columns: usize) -> Vec<u64> {
    let seconds = overview.rates.len().div_ceil(columns.max(1)).max(1);
    let means = overview.rates.rchunks(seconds).take(columns).map(|seconds| {
        let sum: u64 = seconds.iter().map(|second| u64::from(second.done)).sum();
        sum.div_ceil(seconds.len().max(1) as u64)
    });
    let mut means: Vec<_> = means.collect();
    means.resize(columns, 0);
    means.reverse();
    means
}

/// The last events, the newest at the bottom.
fn events(canvas: &mut TopCanvas<'_>, known: &TopKnown, area: Rect) {
    if area.height < 2 {
        return;
    }
    let heading = canvas.palette.style(TopTone::Heading);
    canvas.put(area.x, area.y, area.width, "last events (UTC)", heading);
    let room = usize::from(area.height - 1);
    let skipped = known.events.len().saturating_sub(room);
    let line = |event: &crate::command::top::known::TopEvent| {
        let tone = if event.bad { TopTone::Bad } else { TopTone::Plain };
        TopLine::new(tone, &format!("{} {}", time_of_day(event.unix_ms), event.text))
    };
    let lines: Vec<_> = known.events.iter().skip(skipped).map(line).collect();
    canvas.lines(Rect::new(area.x, area.y + 1, area.width, area.height - 1), &lines);
}
