//! `grid msg`.

use std::io::{Read, Write};
use std::time::Duration;

use wasm_grid::view::EventView;
use wasm_grid::{Bytes, Client, DenialCode, End, Event, WorkerId, WorkerInfo, WorkerState};

use crate::command::cli_error::CliError;
use crate::command::output::{Output, counted};
use crate::command::shown;
use crate::command::{Common, worker};
use wasm_grid::from_json;

/// Messages to workers and from them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum MsgSubcommand {
    /// Send a message and wait until the worker has handled it.
    Send {
        /// The worker's id.
        worker: WorkerId,
        #[command(flatten)]
        content: Content,
    },
    /// Send a message to all of your workers.
    Broadcast {
        #[command(flatten)]
        content: Content,
    },
    /// Print what your workers have sent, and forget it.
    Collect {
        /// Print messages as they are, without JSON around them.
        #[arg(long)]
        raw: bool,
        /// Seconds to wait for the first.
        #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
        wait: f64,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Content {
    /// The message in JSON, sent as CBOR; with --raw as it is; from standard input if it is left out.
    message: Option<String>,
    /// Send the bytes as they are.
    #[arg(long)]
    raw: bool,
}

/// How long `msg send` waits until a message is handled; giving up does not take the message back.
const HANDLED_TIME_MAX: Duration = Duration::from_secs(3600);

/// After an event, how long `msg collect` waits for another.
const QUIET: Duration = Duration::from_millis(100);

impl MsgSubcommand {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Send { worker, content } => {
                let (message, client) = (content.read()?, common.client()?);
                post(&client, *worker, message).await?;
                if let Some(end) = handled(&client, &[*worker]).await? {
                    return Err(ended(*worker, &end));
                }
                output.done("handled; `grid msg collect` prints the answer")
            }
            Self::Broadcast { content } => {
                let (message, client) = (content.read()?, common.client()?);
                let workers = worker::list(&client, false, false).await?;
                let mine = workers.iter().filter(|info| {
                    info.channel == client.channel()
                        && matches!(
                            info.state,
                            WorkerState::Running | WorkerState::Starting | WorkerState::Away
                        )
                });
                let ids: Vec<_> = mine.map(|info| info.id).collect();
                for worker in &ids {
                    post(&client, *worker, message.clone()).await?;
                }
                handled(&client, &ids).await?;
                let have = if ids.len() == 1 { "has" } else { "have" };
                output.done(&format!("{} {have} handled it", counted(ids.len() as u64, "worker")))
            }
            Self::Collect { raw, wait } => collect(&common.client_with_mail()?, output, *raw, *wait).await,
        }
    }
}

impl Content {
    fn read(&self) -> Result<Bytes, CliError> {
        let text = match &self.message {
            Some(message) => message.clone().into_bytes(),
            None => {
                let mut input = Vec::new();
                let read = std::io::stdin().lock().read_to_end(&mut input);
                read.map_err(|error| CliError::failed("the message cannot be read", error))?;
                input
            }
        };
        if self.raw {
            return Ok(text.into());
        }
        from_json(&text).map_err(|why| {
            CliError::usage(format!("the message is no JSON: {why}")).help("with --raw it is sent as it is")
        })
    }
}

/// Sends a message once the worker's window has room for it.
async fn post(client: &Client, worker: WorkerId, message: Bytes) -> Result<(), CliError> {
    loop {
        match client.post(worker, message.clone()).await {
            Err(denial) if denial.code == DenialCode::NoCapacity => {}
            Err(denial) if denial.code == DenialCode::NotFound => {
                return Err(wasm_grid::SendError::Gone(worker).into());
            }
            other => return Ok(other?),
        }
    }
}

/// The error for a worker that ended before it had handled a message.
fn ended(worker: WorkerId, end: &End) -> CliError {
    let mut cause = end.to_string();
    if let End::Failed(failure) = end {
        failure.backtrace.iter().for_each(|frame| cause.push_str(&format!("\n    at {frame}")));
    }
    let what = format!("{worker} ended before it was through with the message");
    let fault = CliError { cause: Some(cause), ..CliError::some_failed(what) };
    fault.help(&format!("`grid worker logs {worker}` prints what it wrote"))
}

/// Waits until `workers` have handled everything that they were sent; returns how one of them ended, if one has.
async fn handled(client: &Client, workers: &[WorkerId]) -> Result<Option<End>, CliError> {
    let busy = |known: &[WorkerInfo]| {
        known.iter().any(|info| info.unanswered > 0 && !matches!(info.state, WorkerState::Ended(_)))
    };
    let settled = tokio::time::timeout(HANDLED_TIME_MAX, worker::settled(client, workers, busy)).await;
    let settled = settled
        .unwrap_or_else(|_| Err(CliError::timed_out(format!("not handled after {HANDLED_TIME_MAX:?}"))))?;
    Ok(settled.into_iter().find_map(|info| match info.state {
        WorkerState::Ended(end) => Some(end),
        _ => None,
    }))
}

async fn collect(client: &Client, output: &Output, raw: bool, wait: f64) -> Result<(), CliError> {
    let mut wait =
        Duration::try_from_secs_f64(wait).map_err(|error| CliError::usage(format!("--wait: {error}")))?;
    let (mut failed, mut stdout) = (0, std::io::stdout().lock());
    let broken = |error| CliError::unwritten("the output cannot be written", error);
    while let Ok(event) = tokio::time::timeout(wait, client.next_event()).await {
        wait = QUIET;
        let event = match event {
            Event::Message { payload, .. } if raw => {
                stdout.write_all(&payload).map_err(broken)?;
                continue;
            }
            event => event,
        };
        let Some(view) = EventView::of(&event) else { continue };
        failed += u64::from(matches!(view, EventView::Failed { .. }));
        if raw {
            output.say(&serde_json::to_string(&view).map_err(|error| broken(error.into()))?);
        } else {
            let line = shown::json(&view, false).map_err(|error| broken(error.into()))?;
            stdout.write_all(line.as_bytes()).map_err(broken)?;
        }
    }
    if failed > 0 {
        return Err(CliError::some_failed(format!("{} failed", counted(failed, "message"))));
    }
    Ok(())
}
