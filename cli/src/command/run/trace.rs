//! The trace of a run: what its job is a part of, and what this program did itself.

use std::time::SystemTime;

use parking_lot::Mutex;
use wasm_grid::{Manager, TraceContext};

use crate::command::cli_error::CliError;
use crate::command::otlp::{ClientSpan, ManagerTraces, OtlpArgs};
use crate::command::output::Output;

/// What a run is a part of, and where its trace goes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TraceArgs {
    /// What the run is a part of, as the W3C's Trace Context says it; the manager exports its part of the trace if it was
    /// started with --otlp.
    #[arg(long, env = "TRACEPARENT", value_name = "TRACEPARENT")]
    traceparent: Option<String>,
    #[command(flatten)]
    otlp: OtlpArgs,
}

/// The trace of one run.
pub(crate) struct RunTrace {
    otlp: OtlpArgs,
    output: Output,
    began: SystemTime,
    /// What the run is a part of.
    parent: Option<TraceContext>,
    /// Its own spans, if this program exports them.
    own: Option<RunSpans>,
    done: Mutex<Vec<ClientSpan>>,
}

#[derive(Clone, Copy)]
struct RunSpans {
    /// The whole run.
    run: TraceContext,
    /// The part of it in which its tasks are done, of which the job is a part.
    tasks: TraceContext,
}

impl TraceArgs {
    /// Begins the trace of a run.
    ///
    /// # Errors
    ///
    /// The flag is no `traceparent`. One from the environment that cannot be read is passed over, as its definition asks.
    pub(crate) fn begin(&self, output: Output) -> Result<RunTrace, CliError> {
        let given = self.traceparent.as_deref().map(str::parse::<TraceContext>);
        let from_environment = std::env::var("TRACEPARENT").ok() == self.traceparent;
        let parent = match given {
            Some(Err(error)) if !from_environment => {
                return Err(CliError::usage(format!("--traceparent: {error}")));
            }
            given => given.and_then(Result::ok),
        };
        let own = match self.otlp.is_wanted() && parent.is_none_or(|parent| parent.sampled) {
            true => {
                let run = child_of(parent)?;
                Some(RunSpans { run, tasks: child_of(Some(run))? })
            }
            false => None,
        };
        let (otlp, began) = (self.otlp.clone(), SystemTime::now());
        Ok(RunTrace { otlp, output, began, parent, own, done: Mutex::default() })
    }
}

/// A span within `parent`, or of a trace of its own.
fn child_of(parent: Option<TraceContext>) -> Result<TraceContext, CliError> {
    let undrawn = |error| CliError::failed("no id can be drawn", error);
    let trace = match parent {
        Some(parent) => parent.trace,
        None => grid_disk::random().map_err(undrawn)?,
    };
    let span = grid_disk::random().map_err(undrawn)?;
    Ok(TraceContext { trace, span, sampled: true })
}

impl RunTrace {
    /// What the run's job is a part of.
    pub(crate) fn part_of(&self) -> Option<TraceContext> {
        self.own.map(|own| own.tasks).or(self.parent)
    }

    /// Exports what a manager in this process traces.
    pub(crate) fn export(&self, manager: &Manager) -> ManagerTraces {
        self.otlp.export(manager, self.output)
    }

    /// Does `work` as a part of the run.
    pub(crate) async fn step<T>(&self, name: &str, work: impl Future<Output = T>) -> T {
        let own = self.own.and_then(|own| child_of(Some(own.run)).ok());
        self.part(own, name, work).await
    }

    /// Does what the job is a part of.
    pub(crate) async fn tasks<T>(&self, work: impl Future<Output = T>) -> T {
        self.part(self.own.map(|own| own.tasks), "tasks", work).await
    }

    async fn part<T>(&self, own: Option<TraceContext>, name: &str, work: impl Future<Output = T>) -> T {
        let began = SystemTime::now();
        let done = work.await;
        if let (Some(RunSpans { run, .. }), Some(own)) = (self.own, own) {
            let (name, ended) = (name.to_owned(), SystemTime::now());
            self.done.lock().push(ClientSpan { own, parent: Some(run.span), name, began, ended });
        }
        done
    }

    /// The run is over: exports what this program did.
    pub(crate) async fn finish(self, name: &str) {
        let Some(RunSpans { run: own, .. }) = self.own else { return };
        let (parent, name) = (self.parent.map(|parent| parent.span), format!("run {name}"));
        let mut done = self.done.into_inner();
        done.push(ClientSpan { own, parent, name, began: self.began, ended: SystemTime::now() });
        self.otlp.bring(done, self.output).await;
    }
}
