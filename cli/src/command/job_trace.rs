//! `grid job trace`: where the time of a job's tasks went.

use std::time::Duration;

use wasm_grid::view::{List, TaskTraceView};
use wasm_grid::{Client, JobId, TaskTrace};

use crate::command::cli_error::CliError;
use crate::command::output::Output;
use crate::command::shown::{self, Lines};

/// Width of the bar of a part that took all the time, in columns.
const BAR_COLUMNS: u64 = 20;

/// Prints the traces of a job, or that of one of its tasks.
pub(super) async fn print(
    client: &Client,
    output: &Output,
    job: JobId,
    task: Option<u64>,
) -> Result<(), CliError> {
    let mut traces = client.find_job(job).traces().await?;
    traces.retain(|trace| task.is_none_or(|task| trace.task == task));
    if output.is_json() {
        return output.document(List(traces.iter().map(TaskTraceView::from).collect()));
    }
    if traces.is_empty() {
        let what = match task {
            Some(task) => format!("task {task} was not traced, or is not over yet"),
            None => "no task of it was traced, or none is over yet".to_owned(),
        };
        output.say(&what);
        output.say("of each job the first tasks are, and some of the others, while the manager runs");
        return Ok(());
    }
    traces.iter().try_for_each(|trace| output.raw(lines(trace).as_str().as_bytes()))
}

/// A trace for people: a line for each part.
fn lines(trace: &TaskTrace) -> Lines {
    let (whole, host) = (Duration::from_micros(trace.whole_us), shown::line(&trace.host));
    let mut lines =
        Lines::from(&format!("task {}: {} on {host} in {whole:.1?}", trace.task, trace.ending.label()));
    for part in &trace.parts {
        let share =
            |of: u64| part.us.saturating_mul(of).saturating_add(trace.whole_us / 2) / trace.whole_us.max(1);
        let bar = "█".repeat(usize::try_from(share(BAR_COLUMNS).min(BAR_COLUMNS)).unwrap_or_default());
        let time = match part.us {
            0 => "0".to_owned(),
            us => format!("{:.1?}", Duration::from_micros(us)),
        };
        let name = part.kind.label();
        let percent = share(100);
        let line = format!("{name:<8}{time:>9} {percent:>3} % {bar:<20}  {}", part.kind.meaning());
        lines.push(2, &line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::{PartKind, TracePart};

    #[test]
    fn a_part_has_its_share_of_the_bar() {
        let part = |kind, us| TracePart { kind, us };
        let trace = TaskTrace {
            job: JobId([7; 16]),
            task: 4,
            host: "rack-1".to_owned(),
            ending: grid_protocol::activity::AttemptEnding::Done,
            submitted_unix_us: 300,
            whole_us: 1_000_000,
            parts: vec![part(PartKind::Wait, 0), part(PartKind::Lease, 10_000), part(PartKind::Run, 990_000)],
        };
        let expected = "task 4: done on rack-1 in 1.0s\n\
            \x20 wait            0   0 %                       until a host had room for it\n\
            \x20 lease      10.0ms   1 %                       until its lease was on the manager's disk\n\
            \x20 run       990.0ms  99 % ████████████████████  its guest ran it\n";
        assert_eq!(lines(&trace).as_str(), expected);
    }
}
