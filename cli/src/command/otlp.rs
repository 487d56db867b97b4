//! `--otlp`: traces go to a collector. A program that is built without the feature `otlp` does not have the flag.

use std::time::SystemTime;

use wasm_grid::{Manager, TraceContext};

use crate::command::output::Output;

/// The name by which collectors know this program where it is a client.
#[cfg(feature = "otlp")]
const SERVICE: &str = "grid";

/// Something that this program did, as part of a trace.
#[derive(Debug)]
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nobody reads what is brought nowhere"))]
pub(crate) struct ClientSpan {
    pub(crate) own: TraceContext,
    /// The span that it is a part of.
    pub(crate) parent: Option<[u8; 8]>,
    pub(crate) name: String,
    pub(crate) began: SystemTime,
    pub(crate) ended: SystemTime,
}

/// Where traces go.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OtlpArgs {
    /// Bring traces to this collector, by OTLP over HTTP: where the time of jobs and tasks goes.
    #[cfg(feature = "otlp")]
    #[arg(long, env = "GRID_OTLP", value_name = "URL")]
    otlp: Option<grid_otlp::Collector>,
}

/// Brings what a manager traces to the collector, in the background.
pub(crate) struct ManagerTraces {
    #[cfg(feature = "otlp")]
    exporter: Option<grid_otlp::Exporter>,
}

#[cfg(feature = "otlp")]
impl OtlpArgs {
    /// True if traces are wanted.
    pub(crate) fn is_wanted(&self) -> bool {
        self.otlp.is_some()
    }

    /// Begins to bring what `manager` traces to the collector, if one was named.
    pub(crate) fn export(&self, manager: &Manager, output: Output) -> ManagerTraces {
        let records = self.otlp.clone().and_then(|collector| Some((collector, manager.traces()?)));
        let exporter = records.map(|(collector, records)| {
            grid_otlp::Exporter::start(collector, records, move |what| output.say(what))
        });
        ManagerTraces { exporter }
    }

    /// Brings what this program did to the collector; says so if it cannot.
    pub(crate) async fn bring(&self, done: Vec<ClientSpan>, output: Output) {
        let Some(collector) = &self.otlp else { return };
        let span = |done: ClientSpan| {
            grid_otlp::spans::of_client(done.own, done.parent, done.name, (done.began, done.ended))
        };
        if let Err(error) = collector.take(SERVICE, done.into_iter().map(span).collect()).await {
            output.say(&format!("no traces reach {collector}: {error}"));
        }
    }
}

#[cfg(feature = "otlp")]
impl ManagerTraces {
    /// Brings the rest, after the manager has stopped.
    pub(crate) async fn finish(self) {
        if let Some(exporter) = self.exporter {
            exporter.finish().await;
        }
    }
}

#[cfg(not(feature = "otlp"))]
impl OtlpArgs {
    pub(crate) fn is_wanted(&self) -> bool {
        false
    }

    pub(crate) fn export(&self, _: &Manager, _: Output) -> ManagerTraces {
        ManagerTraces {}
    }

    pub(crate) async fn bring(&self, _: Vec<ClientSpan>, _: Output) {}
}

#[cfg(not(feature = "otlp"))]
impl ManagerTraces {
    pub(crate) async fn finish(self) {}
}
