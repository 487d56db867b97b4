//! The stream: what changes, told to a page each second as server-sent events.
//!
//! The next message is made when the one before has been taken: whoever reads slowly gets less, is told what is missing,
//! and costs one message of memory.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use grid_client::view::{FeedEntryView, OverviewView, StatusView, TaskSamplesView};
use grid_http::HttpProblem;
use grid_protocol::client::{Reply, Request};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, ToSchema};

use crate::answer::{HttpAnswer, odd};
use crate::auth::Caller;
use crate::openapi::{ApiOperation, operation};

/// Pause between two messages.
const PAUSE: Duration = Duration::from_secs(1);

/// Events of one message.
const EVENTS_MAX: u32 = 500;

/// Samples of one message: more than come in a second, so that a page that was away catches up.
const SAMPLES_MAX: u32 = 5000;

/// From where on a page wants to be told.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Begin {
    /// The number of the last event that it has.
    #[serde(default)]
    #[param(default = 0)]
    after: u64,
    /// The number of the last sample that it has; without it, it wants none.
    #[param(nullable = false)]
    samples: Option<u64>,
}

/// The figures of a message.
#[derive(Serialize, ToSchema)]
struct Figures {
    /// The grid at a glance, in figures.
    overview: OverviewView,
    /// The grid at a glance.
    status: StatusView,
}

/// Events, from a number on.
#[derive(Serialize, ToSchema)]
pub(crate) struct Events {
    /// The events, oldest first.
    pub(crate) events: Vec<FeedEntryView>,
    /// Number of events before them that the manager does not have any more.
    pub(crate) missed: u64,
    /// The number to ask with next, as `after`.
    pub(crate) next: u64,
}

/// The events of the stream, each with the schema of its data.
fn named_data() -> [(&'static str, RefOr<Schema>); 3] {
    let named = |name| Ref::from_schema_name(name).into();
    [
        ("overview", named(Figures::name())),
        ("events", named(Events::name())),
        ("samples", named(TaskSamplesView::name())),
    ]
}

/// What the stream takes and answers. OpenAPI 3.1 has no words for the events of a stream: they are named in `x-events`.
pub(crate) fn described() -> ApiOperation {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    let data = named_data().map(|(name, schema)| (name, serde_json::json!(schema)));
    let data: serde_json::Map<_, _> =
        data.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let events = ExtensionsBuilder::new().add("x-events", data).build();
    let content = ContentBuilder::new().schema(Some(schema)).extensions(Some(events));
    operation("watch", "Tells each second what changes, as server-sent events.")
        .note(
            "`overview` has the figures, each second. `events` has events, and `samples` has sampled attempts, if \
             there are any. The data of each is JSON, whose schema is in `x-events`. A reader who falls behind is told \
             how much it missed.",
        )
        .query::<Begin>()
        .in_header("last-event-id", "The id of the last event that came, which a browser sends when it connects again.")
        .answers_as("text/event-stream", content, "The stream, which does not end.")
        .names_schema::<Figures>()
        .names_schema::<Events>()
        .names_schema::<TaskSamplesView>()
        .problems(&[StatusCode::SERVICE_UNAVAILABLE])
}

pub(crate) async fn serve(caller: Caller, mut begin: Begin, headers: &HeaderMap) -> HttpAnswer {
    let Ok(place) = caller.auth.streams.clone().try_acquire_owned() else {
        let detail = "too many pages are open";
        let problem = HttpProblem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many", detail);
        return Err(problem.help("close some of them"));
    };
    // A browser that connects again says where it was.
    let last = headers.get("last-event-id").and_then(|last| last.to_str().ok());
    if let Some((events, samples)) = last.and_then(|last| last.split_once('.')) {
        begin.after = events.parse().unwrap_or(begin.after);
        begin.samples = begin.samples.map(|from| samples.parse().unwrap_or(from));
    }
    // Asked first, so that a caller who may see nothing gets a problem.
    figures(&caller).await?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(tell(caller, begin, sender, place));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    let response: Response = (headers, Body::from_stream(Messages(receiver))).into_response();
    Ok(response)
}

/// Tells a page what changes, until it goes or may not see it any more.
async fn tell(caller: Caller, mut begin: Begin, page: mpsc::Sender<Bytes>, _place: OwnedSemaphorePermit) {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = page.closed() => return,
        }
        let Ok(message) = message(&caller, &mut begin).await else { return };
        if page.send(message).await.is_err() {
            return;
        }
    }
}

async fn message(caller: &Caller, begin: &mut Begin) -> Result<Bytes, HttpProblem> {
    if let Some(secret) = &caller.secret
        && caller.auth.sessions.find(secret, tokio::time::Instant::now()).is_none()
    {
        return Err(HttpProblem::new(StatusCode::UNAUTHORIZED, "no-session", "the session has ended"));
    }
    let figures = figures(caller).await?;
    let events = events(caller, begin.after, EVENTS_MAX, 0).await?;
    begin.after = events.next;
    let samples = match begin.samples {
        Some(after) => {
            let samples = samples(caller, after, SAMPLES_MAX).await?;
            begin.samples = Some(samples.next);
            Some(samples)
        }
        None => None,
    };
    let mut text = String::new();
    write_event(&mut text, "overview", &figures);
    if !events.events.is_empty() || events.missed > 0 {
        write_event(&mut text, "events", &events);
    }
    if let Some(samples) = samples.filter(|samples| !samples.tasks.seq.is_empty() || samples.missed > 0) {
        write_event(&mut text, "samples", &samples);
    }
    let id = format!("id: {}.{}\n\n", begin.after, begin.samples.unwrap_or_default());
    text.push_str(&id);
    Ok(text.into())
}

/// Writes one event. JSON has no line breaks, so that nothing in it can begin another.
fn write_event(text: &mut String, name: &str, data: &impl Serialize) {
    // Views are plain structs: they are always serialized.
    let data = serde_json::to_string(data).unwrap_or_default();
    text.push_str("event: ");
    text.push_str(name);
    text.push_str("\ndata: ");
    text.push_str(&data);
    text.push_str("\n\n");
}

async fn figures(caller: &Caller) -> Result<Figures, HttpProblem> {
    let status = match caller.ask(Request::Status).await? {
        Reply::Status(status) => StatusView::from(&status),
        other => return Err(odd(&other)),
    };
    match caller.ask(Request::Overview).await? {
        Reply::Overview(overview) => Ok(Figures { overview: (&overview).into(), status }),
        other => Err(odd(&other)),
    }
}

pub(crate) async fn events(
    caller: &Caller,
    after: u64,
    most: u32,
    wait_ms: u32,
) -> Result<Events, HttpProblem> {
    match caller.ask(Request::Feed { after, most, wait_ms }).await? {
        Reply::Feed { entries, missed, next } => {
            Ok(Events { events: entries.iter().map(Into::into).collect(), missed, next })
        }
        other => Err(odd(&other)),
    }
}

pub(crate) async fn samples(caller: &Caller, after: u64, most: u32) -> Result<TaskSamplesView, HttpProblem> {
    match caller.ask(Request::TaskSamples { after, most }).await? {
        Reply::TaskSamples { samples, missed, next } => Ok(TaskSamplesView::new(&samples, missed, next)),
        other => Err(odd(&other)),
    }
}

/// The messages, as a body.
struct Messages(mpsc::Receiver<Bytes>);

impl Stream for Messages {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|message| message.map(Ok))
    }
}
