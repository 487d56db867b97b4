//! How the figures grow with the work: workers, tasks, bytes and hosts.

use serde_json::{Value, json};

use crate::bench::row::{median, short};
use crate::bench::rows::hosts;
use crate::bench::testbed::{Cores, HostWalls, Testbed, figure};
use crate::chore::{ChoreError, output, print};

/// One line of a plot: a figure over what grows.
pub(super) struct GrowthCurve {
    /// Its name, which is also that of its plot's file.
    pub(super) name: &'static str,
    /// What grows, and what the figure counts.
    pub(super) axes: [&'static str; 2],
    /// Points, in order; each with the least and the most of its measurements.
    pub(super) points: Vec<GrowthPoint>,
}

/// A figure at one size.
#[derive(Debug, Clone, Copy)]
pub(super) struct GrowthPoint {
    pub(super) size: f64,
    pub(super) figure: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

/// What grows: a name, the axes, the sizes, and how the figure of a size is measured.
type Series = (&'static str, [&'static str; 2], &'static [u32], fn(&Testbed, u32) -> Result<f64, ChoreError>);

const SERIES: &[Series] = &[
    (
        "workers",
        ["workers of one host", "round trips/s, one in flight each"],
        &[1, 10, 100, 1000, 10_000],
        echoes,
    ),
    (
        "tasks",
        ["no-op tasks of a job, two hosts", "tasks/s"],
        &[100, 1000, 10_000, 100_000, 1_000_000],
        tasks,
    ),
    (
        "payload",
        ["bytes of a message to a worker", "MiB/s"],
        &[64, 1 << 10, 16 << 10, 256 << 10, 4 << 20, 64 << 20],
        payload,
    ),
    ("hosts", ["hosts on one manager", "no-op tasks/s"], &[2, 10, 50, 200, 500], |testbed, count| {
        Ok(hosts(testbed, count, 100_000)?[2])
    }),
];

/// Measures each size `times` times, and prints the medians.
pub(super) fn measure(testbed: &Testbed, times: usize) -> Result<Vec<GrowthCurve>, ChoreError> {
    let mut curves = Vec::new();
    for (name, axes, sizes, measure) in SERIES {
        print(&format!("growth: {} by {}", axes[1], axes[0]));
        let mut points = Vec::new();
        for size in *sizes {
            let figures = (0..times).map(|_| measure(testbed, *size)).collect::<Result<Vec<f64>, _>>()?;
            let point = GrowthPoint {
                size: f64::from(*size),
                figure: median(&figures),
                least: figures.iter().copied().fold(f64::INFINITY, f64::min),
                most: figures.iter().copied().fold(0.0, f64::max),
            };
            let GrowthPoint { figure, least, most, .. } = point;
            print(&format!("{size:>10} {:>10}   {}–{}", short(figure), short(least), short(most)));
            points.push(point);
        }
        curves.push(GrowthCurve { name, axes: *axes, points });
    }
    Ok(curves)
}

impl GrowthCurve {
    /// The curve with its points.
    pub(super) fn to_json(&self) -> Value {
        let point = |GrowthPoint { size, figure, least, most }: &GrowthPoint| json!({ "size": size, "figure": figure, "min": least, "max": most });
        let points: Vec<_> = self.points.iter().map(point).collect();
        json!({ "name": self.name, "axes": self.axes, "points": points })
    }
}

fn echoes(testbed: &Testbed, workers: u32) -> Result<f64, ChoreError> {
    let messages = (workers.saturating_mul(20_000)).min(400_000).to_string();
    testbed.grid(&["mux", &workers.to_string(), &messages], workers + 1, Cores::All, HostWalls::Full)
}

fn tasks(testbed: &Testbed, count: u32) -> Result<f64, ChoreError> {
    let said = output(testbed.program("stress", Cores::All).args(["noop", &count.to_string()]))?;
    figure(said.split_whitespace().next().unwrap_or_default())
}

/// MiB a second of messages of this length.
fn payload(testbed: &Testbed, bytes: u32) -> Result<f64, ChoreError> {
    let total = (u64::from(bytes) * 200_000).min(512 << 20).to_string();
    testbed.grid(&["bulk", &bytes.to_string(), &total], 1, Cores::All, HostWalls::Full)
}
