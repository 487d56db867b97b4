//! The whole grid: figures, events, sampled tasks, who did what.

use axum::extract::Extension;
use axum::http::HeaderMap;
use grid_client::view::{AuditEntryView, List, OverviewView, StatusView, TaskSamplesView};
use grid_protocol::client::{Reply, Request};
use grid_protocol::role::Role;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::answer::{HttpAnswer, document, odd};
use crate::api::Asks;
use crate::api::arguments::InQuery;
use crate::openapi::{ApiRoutes, operation};
use crate::stream;

pub(super) fn routes() -> ApiRoutes {
    ApiRoutes::new("grid")
        .get(
            "/status",
            status,
            operation("showStatus", "Shows the grid at a glance.").answers::<StatusView>("The summary."),
        )
        .get(
            "/overview",
            overview,
            operation("showOverview", "Shows the grid at a glance, in figures.")
                .answers::<OverviewView>("The figures."),
        )
        .get(
            "/audit",
            audit,
            operation("listAudit", "Lists who did what, or tried to, newest first.")
                .needs(Role::Viewer)
                .query::<Before>()
                .answers::<List<AuditEntryView>>("The entries."),
        )
        .get(
            "/events",
            events,
            operation("listEvents", "Lists what happened, from a number on; waits for something.")
                .query::<EventQuery>()
                .answers::<stream::Events>("The events."),
        )
        .get(
            "/samples",
            samples,
            operation("listSamples", "Lists sampled attempts at tasks, from a number on.")
                .query::<SampleQuery>()
                .answers::<TaskSamplesView>("The samples."),
        )
        .get("/stream", stream, stream::described())
}

async fn status(Extension(caller): Asks) -> HttpAnswer {
    match caller.ask(Request::Status).await? {
        Reply::Status(status) => document(StatusView::from(&status)),
        other => Err(odd(&other)),
    }
}

async fn overview(Extension(caller): Asks) -> HttpAnswer {
    match caller.ask(Request::Overview).await? {
        Reply::Overview(overview) => document(OverviewView::from(&overview)),
        other => Err(odd(&other)),
    }
}

/// Which entries of the audit log.
#[derive(Debug, Deserialize, IntoParams)]
struct Before {
    /// Entries with a lower number than this; 0 for the newest.
    #[serde(default)]
    #[param(default = 0)]
    before: u64,
    /// Most entries to answer; at most 1000.
    #[serde(default = "hundred")]
    #[param(default = hundred)]
    most: u32,
}

fn hundred() -> u32 {
    100
}

async fn audit(Extension(caller): Asks, InQuery(query): InQuery<Before>) -> HttpAnswer {
    let Before { before, most } = query;
    match caller.ask(Request::AuditList { before, most }).await? {
        Reply::Audit(entries) => document(List(entries.iter().map(AuditEntryView::from).collect())),
        other => Err(odd(&other)),
    }
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
struct EventQuery {
    /// The number of the last event that the caller has: `next` of the answer before.
    #[serde(default)]
    #[param(default = 0)]
    after: u64,
    /// Most events to answer; at most 1000.
    #[serde(default = "hundred")]
    #[param(default = hundred)]
    most: u32,
    /// How long to wait for an event if there is none yet, in milliseconds; at most 30 000.
    #[serde(default)]
    #[param(default = 0)]
    wait_ms: u32,
}

/// Which samples.
#[derive(Debug, Deserialize, IntoParams)]
struct SampleQuery {
    /// The number of the last sample that the caller has: `next` of the answer before.
    #[serde(default)]
    #[param(default = 0)]
    after: u64,
    /// Most samples to answer; at most 8000.
    #[serde(default = "hundred")]
    #[param(default = hundred)]
    most: u32,
}

async fn events(Extension(caller): Asks, InQuery(query): InQuery<EventQuery>) -> HttpAnswer {
    let EventQuery { after, most, wait_ms } = query;
    document(stream::events(&caller, after, most, wait_ms).await?)
}

async fn samples(Extension(caller): Asks, InQuery(query): InQuery<SampleQuery>) -> HttpAnswer {
    document(stream::samples(&caller, query.after, query.most).await?)
}

async fn stream(
    Extension(caller): Asks,
    InQuery(begin): InQuery<stream::Begin>,
    headers: HeaderMap,
) -> HttpAnswer {
    stream::serve(caller, begin, &headers).await
}
