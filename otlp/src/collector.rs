//! The collector: where traces go.

use std::str::FromStr;

use axum::body::Body;
use axum::http::{Request, Uri, header};
use grid_http::UnansweredError;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

/// The path of traces below the address of a collector.
const TRACES: &str = "/v1/traces";

/// The port on which collectors listen for OTLP over HTTP.
const PORT: u16 = 4318;

/// A collector, by its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Host and port.
    address: String,
    path: String,
}

/// A text names no collector: whoever typed it must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectorError {
    /// It is no URL, or one without a host.
    #[error("write http://HOST:PORT, as in http://localhost:4318")]
    NoUrl,
    /// It is not plain HTTP.
    #[error(
        "traces go to a collector over plain HTTP; run one on this machine, which brings them on with TLS"
    )]
    NotHttp,
}

impl FromStr for Collector {
    type Err = CollectorError;

    fn from_str(text: &str) -> Result<Self, CollectorError> {
        let uri: Uri = text.parse().map_err(|_| CollectorError::NoUrl)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(_) => return Err(CollectorError::NotHttp),
            None => return Err(CollectorError::NoUrl),
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(CollectorError::NoUrl)?;
        let address = format!("{host}:{}", uri.port_u16().unwrap_or(PORT));
        let base = uri.path().trim_end_matches('/');
        let path = if base.ends_with(TRACES) { base.to_owned() } else { format!("{base}{TRACES}") };
        Ok(Self { address, path })
    }
}

impl std::fmt::Display for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.address, self.path)
    }
}

impl Collector {
    /// Brings spans of the program that is called `service` to the collector.
    ///
    /// # Errors
    ///
    /// [`UnansweredError`].
    pub async fn take(&self, service: &str, spans: Vec<Span>) -> Result<(), UnansweredError> {
        let body = request(service, spans).encode_to_vec();
        let request = Request::post(&self.path)
            .header(header::HOST, &self.address)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(Body::from(body))
            .map_err(|error| UnansweredError::Broken(error.to_string()))?;
        grid_http::send(&self.address, request).await.map(drop)
    }
}

/// What a collector is sent.
fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let text = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    };
    let version = env!("CARGO_PKG_VERSION");
    let scope = InstrumentationScope {
        name: "grid".to_owned(),
        version: version.to_owned(),
        ..InstrumentationScope::default()
    };
    let attributes = vec![text("service.name", service), text("service.version", version)];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_its_base_or_by_the_whole_path() {
        for (text, expected) in [
            ("http://localhost", "http://localhost:4318/v1/traces"),
            ("http://127.0.0.1:9/", "http://127.0.0.1:9/v1/traces"),
            ("http://[::1]:9/otlp/", "http://[::1]:9/otlp/v1/traces"),
            ("http://collector:4318/v1/traces", "http://collector:4318/v1/traces"),
        ] {
            assert_eq!(text.parse::<Collector>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_names_no_collector_is_refused() {
        for (text, error) in [
            ("https://collector:4318", CollectorError::NotHttp),
            ("grpc://collector:4317", CollectorError::NotHttp),
            ("collector:4318", CollectorError::NoUrl),
            ("/v1/traces", CollectorError::NoUrl),
            ("", CollectorError::NoUrl),
        ] {
            assert_eq!(text.parse::<Collector>(), Err(error), "{text}");
        }
    }
}
