//! `grid events` and `grid audit`: what happened, and who did what.

use wasm_grid::view::{AuditEntryView, FeedEntryView};
use wasm_grid::{Client, Reply, Request};

use crate::command::Common;
use crate::command::cli_error::CliError;
use crate::command::output::{Output, Rows, time};

/// Show what happened on the grid: hosts, jobs, workers, refusals.
#[derive(Debug, clap::Args)]
pub(crate) struct EventsArgs {
    /// Go on as things happen, until Ctrl-C; with --json, a document a line.
    #[arg(short, long)]
    follow: bool,
    /// Show so many of the newest.
    #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
    last: u32,
}

/// Show who changed what, newest first.
#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    /// Show so many of the newest.
    #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
    last: u32,
}

/// Events of one request, and how long it waits for one.
const BATCH: u32 = 1000;
const WAIT_MS: u32 = 20_000;

/// What a request for events gave.
struct Batch {
    events: Vec<FeedEntryView>,
    missed: u64,
    next: u64,
}

async fn ask(client: &Client, after: u64, wait_ms: u32) -> Result<Batch, CliError> {
    match client.request(Request::Feed { after, most: BATCH, wait_ms }).await? {
        Reply::Feed { entries, missed, next } => {
            Ok(Batch { events: entries.iter().map(Into::into).collect(), missed, next })
        }
        _ => Err(CliError::failed("no events", "the manager answered something else")),
    }
}

fn clock(event: &FeedEntryView) -> String {
    time(event.unix_ms / 1000)
}

impl EventsArgs {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let client = common.client()?;
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let batch = ask(&client, after, 0).await?;
            let is_end = batch.next == after || batch.events.is_empty();
            after = batch.next;
            events.extend(batch.events);
            let surplus = events.len().saturating_sub(self.last as usize);
            events.drain(..surplus);
            if is_end {
                break;
            }
        }
        if !self.follow {
            return print(output, events);
        }
        events.iter().try_for_each(|event| line(output, event))?;
        loop {
            let batch = ask(&client, after, WAIT_MS).await?;
            if batch.missed > 0 {
                output.say(&format!("{} events were missed", batch.missed));
            }
            after = batch.next;
            batch.events.iter().try_for_each(|event| line(output, event))?;
        }
    }
}

fn line(output: &Output, event: &FeedEntryView) -> Result<(), CliError> {
    if output.is_json() {
        return output.line(event);
    }
    let text = format!("{}  {}", clock(event), event.text);
    output.one(&text, &event.seq.to_string(), event)
}

fn print(output: &Output, events: Vec<FeedEntryView>) -> Result<(), CliError> {
    let row = |event: FeedEntryView| {
        (vec![event.seq.to_string(), clock(&event), event.kind.to_owned(), event.text.clone()], event)
    };
    output.rows(Rows {
        headings: &["number", "when", "kind", "what"],
        rows: events.into_iter().map(row).collect(),
        empty: "nothing has happened since the manager started",
    })
}

impl AuditArgs {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let client = common.client()?;
        let (mut entries, mut before) = (Vec::new(), 0);
        while entries.len() < self.last as usize {
            let most = self.last - u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let Reply::Audit(page) = client.request(Request::AuditList { before, most }).await? else {
                return Err(CliError::failed("no audit log", "the manager answered something else"));
            };
            let Some(oldest) = page.last().map(|entry| entry.seq) else { break };
            before = oldest;
            entries.extend(page.iter().map(AuditEntryView::from));
            if oldest <= 1 {
                break;
            }
        }
        let row = |entry: AuditEntryView| {
            let outcome =
                entry.refused.as_ref().map_or_else(|| "done".to_owned(), |why| format!("refused: {why}"));
            let cells = vec![
                entry.seq.to_string(),
                time(entry.unix),
                entry.fingerprint.clone(),
                entry.via.clone(),
                entry.action.clone(),
                entry.subject.clone(),
                outcome,
            ];
            (cells, entry)
        };
        output.rows(Rows {
            headings: &["number", "when", "who", "by", "action", "subject", "outcome"],
            rows: entries.into_iter().map(row).collect(),
            empty: "nobody has changed anything",
        })
    }
}
