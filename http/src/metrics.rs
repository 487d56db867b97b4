//! Metrics over HTTP: the text of OpenMetrics, or the older text format for whoever does not ask for that.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The media type of the older text format, which everything that reads metrics knows.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The response to a request for metrics, in the format that its headers accept. `metrics` is in OpenMetrics.
pub fn metrics_response(headers: &HeaderMap, metrics: String) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("application/openmetrics-text")) {
        ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics).into_response()
    } else {
        ([(header::CONTENT_TYPE, CLASSIC)], classic(&metrics)).into_response()
    }
}

/// Metrics in the older text format. There, a counter and an info are named as their samples are, with `_total` and
/// `_info`, and an info is a gauge.
fn classic(metrics: &str) -> String {
    let mut text = String::with_capacity(metrics.len());
    let kinds = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let suffix = |kind: &str| match kind {
        "counter" => Some("_total"),
        "info" => Some("_info"),
        _ => None,
    };
    let suffixes: BTreeMap<_, _> = kinds.filter_map(|(name, kind)| Some((name, suffix(kind)?))).collect();
    for line in metrics.lines() {
        let said = ["# HELP ", "# TYPE "].into_iter().find_map(|prefix| {
            let (name, rest) = line.strip_prefix(prefix)?.split_once(' ')?;
            Some((prefix, name, *suffixes.get(name)?, rest))
        });
        match said {
            Some(("# TYPE ", name, suffix @ "_info", _)) => {
                text.extend(["# TYPE ", name, suffix, " gauge\n"]);
            }
            Some((prefix, name, suffix, rest)) => text.extend([prefix, name, suffix, " ", rest, "\n"]),
            None if line.starts_with("# UNIT ") || line == "# EOF" => {}
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_named_as_its_samples_are() {
        let open = "# HELP grid_a Things.\n# TYPE grid_a counter\ngrid_a_total 1\n# HELP grid_b_bytes Size.\n\
            # TYPE grid_b_bytes gauge\n# UNIT grid_b_bytes bytes\ngrid_b_bytes 2\n# EOF\n";
        let expected = "# HELP grid_a_total Things.\n# TYPE grid_a_total counter\ngrid_a_total 1\n\
            # HELP grid_b_bytes Size.\n# TYPE grid_b_bytes gauge\ngrid_b_bytes 2\n";
        assert_eq!(classic(open), expected);
    }

    #[test]
    fn an_info_is_a_gauge_in_the_older_format() {
        let open =
            "# HELP grid_build Version.\n# TYPE grid_build info\ngrid_build_info{version=\"1\"} 1\n# EOF\n";
        let expected = "# HELP grid_build_info Version.\n# TYPE grid_build_info gauge\n\
            grid_build_info{version=\"1\"} 1\n";
        assert_eq!(classic(open), expected);
    }
}
