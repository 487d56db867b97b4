//! Descriptions of jobs and their tasks.

use grid_protocol::activity::{JobSummary, TaskInfo};
use wasm_grid::view::{AttemptView, JobSummaryView, JobView, TaskView};
use wasm_grid::{JobInfo, JobState};

use crate::command::output::{bytes, counted, time};
use crate::command::top::description::TopWriter;
use crate::command::top::known::TopKnown;
use crate::command::top::table::per_second;
use crate::command::top::text::{TopTone, clock, span};

/// Columns of a bar of progress.
const BAR_COLUMNS: u64 = 30;

pub(super) fn lines(
    writer: &mut TopWriter,
    known: &TopKnown,
    info: &JobInfo,
    summary: &JobSummary,
    explained: &[String],
) {
    let (view, summary) = (JobView::from(info), JobSummaryView::from(summary));
    writer.field("job", &view.id);
    writer.field("name", &view.name);
    match &info.state {
        JobState::GivenUp { why } => writer.toned("state", TopTone::Bad, &format!("{}: {why}", view.state)),
        _ => writer.field("state", view.state),
    }
    writer.field("module", &format!("{} {}", info.spec.module.short(), known.module_name(&info.spec.module)));
    writer.field("owner", &info.owner.fingerprint());
    writer.field("made", &time(view.created));
    let over = view.done + view.dead;
    writer.field(
        "progress",
        &format!("{} {} of {} done", bar(over, view.submitted), view.done, view.submitted),
    );
    let tone = if view.dead > 0 { TopTone::Bad } else { TopTone::Plain };
    writer.toned("failed", tone, &format!("{} for good, {} retried", view.dead, view.retried));
    let (leased, hosts) = (counted(view.leased, "task"), counted(view.hosts.into(), "host"));
    writer.field("with hosts", &format!("{leased} with {hosts}, {} begun", info.executing));
    writer.field("waiting", &counted(view.waiting, "task"));
    let (rate, left) = known.forecast(info);
    if let Some(rate) = rate {
        let left = left.map_or_else(String::new, |left| format!(", {} left", clock(left)));
        writer.field("rate", &format!("{}{left}", per_second(rate)));
    }
    if let Some(mean) = summary.ran_us.checked_div(summary.done) {
        writer.field("mean time", &format!("{} a task", span(mean)));
    }
    reasons(writer, &summary);
    let slow = |slow: &wasm_grid::view::SlowTaskView| {
        format!("task {} on {}: {}", slow.task, slow.host, span(slow.ran_us))
    };
    writer.list("slowest tasks", &summary.slowest.iter().map(slow).collect::<Vec<_>>());
    writer.list("why it is as it is", explained);
}

fn bar(over: u64, all: u64) -> String {
    let full = over.saturating_mul(BAR_COLUMNS).checked_div(all).unwrap_or_default().min(BAR_COLUMNS);
    let percent = over.saturating_mul(100).checked_div(all).unwrap_or_default();
    let (full, empty) = (usize::try_from(full), usize::try_from(BAR_COLUMNS - full));
    let (full, empty) = (full.unwrap_or_default(), empty.unwrap_or_default());
    format!("[{}{}] {percent:3} %", "#".repeat(full), ".".repeat(empty))
}

fn reasons(writer: &mut TopWriter, summary: &JobSummaryView) {
    if summary.reasons.is_empty() {
        return;
    }
    writer.heading("why attempts failed");
    for reason in &summary.reasons {
        let times = counted(reason.count, "attempt");
        let (kind, message, task, host) = (&reason.kind, &reason.message, reason.task, &reason.host);
        let text = format!("{times}: {kind}: {message}; the last was task {task} on {host}");
        writer.item(TopTone::Bad, &text);
    }
    if summary.other_failures > 0 {
        let times = counted(summary.other_failures, "attempt");
        writer.item(TopTone::Bad, &format!("{times} for other reasons"));
    }
}

pub(super) fn task_lines(writer: &mut TopWriter, info: &TaskInfo, explained: &[String]) {
    let view = TaskView::from(info);
    writer.field("task", &view.task.to_string());
    writer.field("job", &view.job);
    let tone = if view.why.is_some() { TopTone::Bad } else { TopTone::Plain };
    let why = view.why.as_deref().map_or_else(String::new, |why| format!(": {why}"));
    writer.toned("state", tone, &format!("{}{why}", view.state));
    if let (Some(host), Some(us)) = (&view.host, view.ran_us) {
        writer.field("ran", &format!("{} on {host}", span(us)));
    }
    if let Some(results) = &view.results {
        let lengths: Vec<_> = results.iter().map(|length| bytes(*length)).collect();
        writer.field("results", &format!("{} ({})", results.len(), lengths.join(", ")));
    }
    for held in &view.held {
        let runs = held.running_ms.map_or_else(
            || "has not begun".to_owned(),
            |ms| format!("has run for {}", span(ms.saturating_mul(1000))),
        );
        writer.field("with", &format!("{} as attempt {}, {runs}", held.host, held.attempt));
    }
    let failures: Vec<_> = view.failures.iter().map(failure).collect();
    writer.list("attempts that failed (l shows what they wrote)", &failures);
    writer.list("why it is as it is", explained);
}

fn failure(attempt: &AttemptView) -> String {
    let AttemptView { host, kind, .. } = attempt;
    match &attempt.message {
        Some(message) => format!("on {host} after {}: {kind}: {message}", span(attempt.ran_us)),
        None => format!("on {host}: the host was lost"),
    }
}

/// What the failed attempts at a task wrote last.
pub(super) fn task_log(writer: &mut TopWriter, info: &TaskInfo) {
    for attempt in &TaskView::from(info).failures {
        writer.item(TopTone::Heading, &failure(attempt));
        attempt
            .backtrace
            .iter()
            .flatten()
            .for_each(|frame| writer.item(TopTone::Quiet, &format!("  at {frame}")));
        attempt.log.iter().for_each(|line| writer.item(TopTone::Plain, &format!("  it wrote: {line}")));
    }
}
