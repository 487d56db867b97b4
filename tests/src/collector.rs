//! A collector of traces: a server of OTLP over HTTP, whose messages are made from the protocol's own definition.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// Longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 16 << 20;

/// A span, and the program that it is from.
#[derive(Debug, Clone)]
pub struct CollectedSpan {
    /// The `service.name` of its resource.
    pub service: String,
    /// The span.
    pub span: Span,
}

impl CollectedSpan {
    /// How long it took, in microseconds.
    pub fn us(&self) -> u64 {
        (self.span.end_time_unix_nano - self.span.start_time_unix_nano) / 1000
    }
}

/// A collector that listens on loopback until it is dropped.
pub struct TraceCollector {
    url: String,
    spans: Arc<(Mutex<Vec<CollectedSpan>>, Condvar)>,
}

impl TraceCollector {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// If no port of loopback is free.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans: Arc<(Mutex<Vec<CollectedSpan>>, Condvar)> = Arc::default();
        let weak = Arc::downgrade(&spans);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(spans) = weak.upgrade() else { return };
                let taken = take(stream.unwrap());
                spans.0.lock().unwrap_or_else(PoisonError::into_inner).extend(taken);
                spans.1.notify_all();
            }
        });
        Self { url, spans }
    }

    /// Its address, for `--otlp`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The spans that came, once they are as `enough` wants them.
    ///
    /// # Panics
    ///
    /// If they are not within a minute.
    pub fn wait(&self, enough: impl Fn(&[CollectedSpan]) -> bool) -> Vec<CollectedSpan> {
        let until = Instant::now() + Duration::from_secs(60);
        let (spans, came) = &*self.spans;
        let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
        while !enough(&spans) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only these spans came: {}", tree(&spans));
            spans = came.wait_timeout(spans, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        spans.clone()
    }
}

impl Drop for TraceCollector {
    fn drop(&mut self) {
        self.spans = Arc::default();
        // Wakes the thread, which ends then.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

/// Reads one request and answers it.
fn take(stream: TcpStream) -> Vec<CollectedSpan> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return Vec::new();
    }
    assert_eq!(first.trim_end(), "POST /v1/traces HTTP/1.1");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse::<usize>().unwrap(),
            "content-type" => assert_eq!(value, "application/x-protobuf"),
            _ => {}
        }
    }
    assert!(length <= BODY_BYTES_MAX);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let mut collected = Vec::new();
    for resource in request.resource_spans {
        let attributes = resource.resource.iter().flat_map(|resource| &resource.attributes);
        let service = attributes.filter(|attribute| attribute.key == "service.name").find_map(|attribute| {
            use opentelemetry_proto::tonic::common::v1::any_value::Value;
            match attribute.value.as_ref()?.value.as_ref()? {
                Value::StringValue(text) => Some(text.clone()),
                _ => None,
            }
        });
        let service = service.unwrap_or_default();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        collected.extend(spans.map(|span| CollectedSpan { service: service.clone(), span }));
    }
    collected
}

/// The spans as text: each below its parent, with the time since its trace began and the time that it took.
pub fn tree(spans: &[CollectedSpan]) -> String {
    let known: BTreeMap<_, _> = spans.iter().map(|span| (&span.span.span_id, span)).collect();
    let mut roots: Vec<_> =
        spans.iter().filter(|span| !known.contains_key(&span.span.parent_span_id)).collect();
    roots.sort_by_key(|span| span.span.start_time_unix_nano);
    let mut text = String::new();
    for root in roots {
        write_below(&mut text, spans, root, root.span.start_time_unix_nano, 0);
    }
    text
}

fn write_below(text: &mut String, spans: &[CollectedSpan], span: &CollectedSpan, began: u64, depth: usize) {
    let ms = |nanos: u64| format!("{:9.3}", Duration::from_nanos(nanos).as_secs_f64() * 1000.0);
    let from = ms(span.span.start_time_unix_nano.saturating_sub(began));
    let took = ms(span.us() * 1000);
    let (pad, name) = ("  ".repeat(depth), &span.span.name);
    // Writing to a string does not fail.
    let _ = writeln!(text, "{from} ms {took} ms  {pad}{name}  [{}]", span.service);
    let mut children: Vec<_> =
        spans.iter().filter(|child| child.span.parent_span_id == span.span.span_id).collect();
    children.sort_by_key(|child| child.span.start_time_unix_nano);
    for child in children {
        write_below(text, spans, child, began, depth + 1);
    }
}
