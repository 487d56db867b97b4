//! The stream: what changes, told to a page each second as server-sent events.
//!
//! The next message is made when the one before has been taken: whoever reads slowly gets less, is told what is missing,
//! and costs one message of memory.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use grid_client::view::{FeedEntryView, OverviewView, StatusView, TaskSamplesView};
use grid_http::HttpProblem;
use grid_protocol::client::{Reply, Request};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use crate::answer::{HttpAnswer, odd};
use crate::auth::Caller;

/// Pause between two messages.
const PAUSE: Duration = Duration::from_secs(1);

/// Events of one message.
const EVENTS_MAX: u32 = 500;

/// Samples of one message: more than come in a second, so that a page that was away catches up.
const SAMPLES_MAX: u32 = 5000;

/// From where on a page wants to be told.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Begin {
    /// The number of the last event that it has.
    #[serde(default)]
    after: u64,
    /// The number of the last sample that it has; without it, it wants none.
    samples: Option<u64>,
}

/// The figures of a message.
#[derive(Serialize)]
struct Figures {
    overview: OverviewView,
    status: StatusView,
}

/// Entries of a ring.
#[derive(Serialize)]
pub(crate) struct Events {
    pub(crate) events: Vec<FeedEntryView>,
    pub(crate) missed: u64,
    pub(crate) next: u64,
}

pub(crate) async fn serve(caller: Caller, begin: Query<Begin>, headers: &HeaderMap) -> HttpAnswer {
    let Ok(place) = caller.auth.streams.clone().try_acquire_owned() else {
        let detail = "too many pages are open";
        let problem = HttpProblem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many", detail);
        return Err(problem.help("close some of them"));
    };
    let mut begin = begin.0;
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
