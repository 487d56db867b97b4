//! Spans: what a trace of the grid is in OpenTelemetry's words.
//!
//! | span | parent | from, until |
//! | --- | --- | --- |
//! | `run NAME` | that of `TRACEPARENT`, if any | `grid run` began, ended |
//! | `upload` | `run NAME` | the manager was asked for the module, and has it |
//! | `tasks` | `run NAME` | the job was made, its last outcome was written |
//! | `leave` | `run NAME` | the connection was closed, or the grid of this process ended |
//! | `job NAME` | `tasks`, or what else the job is a part of, if anything | the manager took the job in, the job was over |
//! | `task N` | `job NAME` | the manager took the task in, its outcome was on disk |
//! | `wait`, `run`, … | `task N` | the parts of a [`TaskTrace`], one after the other |
//!
//! A job that is part of nothing has the trace of its own id. Ids of spans are digests of what they are, so that the
//! manager and its client need not tell each other.

use std::time::{Duration, SystemTime};

use grid_manager::TraceRecord;
use grid_protocol::activity::AttemptEnding;
use grid_protocol::digest::Digest;
use grid_protocol::job::JobId;
use grid_protocol::trace::{TaskTrace, TraceContext};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Status, status::StatusCode};

pub use opentelemetry_proto::tonic::trace::v1::Span;

/// The id of the span that these words name, together.
fn span_id(words: &[&[u8]]) -> [u8; 8] {
    let digest = Digest::of(&words.concat());
    // A digest has 32 bytes.
    digest.as_bytes().first_chunk().copied().unwrap_or([1; 8])
}

/// The context of a job's span.
fn job_context(job: JobId, part_of: Option<TraceContext>) -> TraceContext {
    let trace = part_of.map_or(job.0, |part_of| part_of.trace);
    let sampled = part_of.is_none_or(|part_of| part_of.sampled);
    TraceContext { trace, span: span_id(&[b"job", &job.0]), sampled }
}

/// The spans of something that was traced; none if its caller does not record the trace.
pub fn of_record(record: &TraceRecord) -> Vec<Span> {
    match record {
        TraceRecord::Task { trace, context } if job_context(trace.job, *context).sampled => {
            of_task(trace, job_context(trace.job, *context))
        }
        TraceRecord::Job { job, name, began, ended, state, context } => {
            let own = job_context(*job, *context);
            let mut span = span(own, context.map(|context| context.span), format!("job {name}"));
            span.kind = SpanKind::Server.into();
            (span.start_time_unix_nano, span.end_time_unix_nano) = (nanos(*began), nanos(*ended));
            span.attributes = vec![text("grid.job", &job.to_string()), text("grid.state", state)];
            if own.sampled { vec![span] } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

fn of_task(trace: &TaskTrace, job: TraceContext) -> Vec<Span> {
    let number = trace.task.to_be_bytes();
    let own = TraceContext { span: span_id(&[b"task", &trace.job.0, &number]), ..job };
    let began = Duration::from_micros(trace.submitted_unix_us);
    let mut task = span(own, Some(job.span), format!("task {}", trace.task));
    (task.start_time_unix_nano, task.end_time_unix_nano) =
        (nanos(began), nanos(began + Duration::from_micros(trace.whole_us)));
    task.attributes = vec![
        text("grid.job", &trace.job.to_string()),
        text("grid.task", &trace.task.to_string()),
        text("grid.host", &trace.host),
        text("grid.ending", trace.ending.label()),
    ];
    if trace.ending != AttemptEnding::Done {
        task.status = Some(Status { code: StatusCode::Error.into(), message: String::new() });
    }
    // Those that are left of a task that was tried very often are its last ones.
    let parts: u64 = trace.parts.iter().map(|part| part.us).sum();
    let mut from = began + Duration::from_micros(trace.whole_us.saturating_sub(parts));
    let mut spans = vec![task];
    for (place, part) in trace.parts.iter().enumerate() {
        let id = span_id(&[b"part", &trace.job.0, &number, &place.to_be_bytes()]);
        let context = TraceContext { span: id, ..own };
        let mut span = span(context, Some(own.span), part.kind.label().to_owned());
        let until = from + Duration::from_micros(part.us);
        (span.start_time_unix_nano, span.end_time_unix_nano) = (nanos(from), nanos(until));
        span.attributes = vec![text("grid.what", part.kind.meaning())];
        spans.push(span);
        from = until;
    }
    spans
}

/// What a client did between two moments, as part of `parent`.
pub fn of_client(
    own: TraceContext,
    parent: Option<[u8; 8]>,
    name: String,
    (began, ended): (SystemTime, SystemTime),
) -> Span {
    let since = |moment: SystemTime| moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut span = span(own, parent, name);
    span.kind = SpanKind::Client.into();
    (span.start_time_unix_nano, span.end_time_unix_nano) = (nanos(since(began)), nanos(since(ended)));
    span
}

fn span(own: TraceContext, parent: Option<[u8; 8]>, name: String) -> Span {
    Span {
        trace_id: own.trace.to_vec(),
        span_id: own.span.to_vec(),
        parent_span_id: parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        // Sampled, by the trace flags of the W3C.
        flags: 1,
        name,
        kind: SpanKind::Internal.into(),
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_protocol::trace::{PartKind, TracePart};

    const JOB: JobId = JobId([7; 16]);

    fn task(context: Option<TraceContext>) -> TraceRecord {
        let part = |kind, us| TracePart { kind, us };
        TraceRecord::Task {
            trace: TaskTrace {
                job: JOB,
                task: 4,
                host: "lab".to_owned(),
                ending: AttemptEnding::Done,
                submitted_unix_us: 1000,
                whole_us: 30,
                parts: vec![part(PartKind::Wait, 10), part(PartKind::Run, 20)],
            },
            context,
        }
    }

    fn job(context: Option<TraceContext>) -> TraceRecord {
        let (began, ended) = (Duration::from_micros(900), Duration::from_micros(2000));
        TraceRecord::Job { job: JOB, name: "sums".to_owned(), began, ended, state: "finished", context }
    }

    #[test]
    fn the_parts_of_a_task_fill_it_and_lie_within_its_job() {
        let mut spans = of_record(&task(None));
        spans.extend(of_record(&job(None)));
        let [task, wait, run, job] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((task.start_time_unix_nano, task.end_time_unix_nano), (1_000_000, 1_030_000));
        assert_eq!((wait.start_time_unix_nano, wait.end_time_unix_nano), (1_000_000, 1_010_000));
        assert_eq!((run.start_time_unix_nano, run.end_time_unix_nano), (1_010_000, 1_030_000));
        assert_eq!((&wait.parent_span_id, &run.parent_span_id), (&task.span_id, &task.span_id));
        assert_eq!((&task.parent_span_id, &job.parent_span_id), (&job.span_id, &Vec::new()));
        assert!(spans.iter().all(|span| span.trace_id == JOB.0), "it has the trace of the job's id");
        let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["task 4", "wait", "run", "job sums"]);
    }

    #[test]
    fn a_job_that_is_part_of_a_trace_lies_there() {
        let context = TraceContext { trace: [1; 16], span: [2; 8], sampled: true };
        let job = of_record(&job(Some(context)));
        assert_eq!((&job[0].trace_id[..], &job[0].parent_span_id[..]), (&[1; 16][..], &[2; 8][..]));
        assert!(of_record(&task(Some(context))).iter().all(|span| span.trace_id == [1; 16]));
    }

    #[test]
    fn what_is_not_recorded_by_its_caller_is_not_exported() {
        let context = Some(TraceContext { trace: [1; 16], span: [2; 8], sampled: false });
        assert_eq!((of_record(&task(context)), of_record(&job(context))), (vec![], vec![]));
    }
}
