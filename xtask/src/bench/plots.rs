//! Plots as SVG: logarithmic axes, one line, readable on light and on dark pages.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::bench::growth::GrowthCurve;
use crate::chore::{ChoreError, say};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;

/// Colours of text and lines: a page's own where it is light, others where it is dark.
const STYLE: &str = "svg{font:11px system-ui,sans-serif}text{fill:#333}.grid{stroke:#8884}\
    .line{fill:none;stroke:#0a66c2;stroke-width:2}.dot{fill:#0a66c2}.range{stroke:#0a66c2;stroke-width:1}\
    @media(prefers-color-scheme:dark){text{fill:#ddd}.line,.range{stroke:#6cb4ff}.dot{fill:#6cb4ff}}";

/// Writes `growth-NAME.svg` for each curve.
pub(super) fn write(folder: &Path, curves: &[GrowthCurve]) -> Result<(), ChoreError> {
    let failed = |error: std::io::Error| ChoreError::Other(format!("{}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    for curve in curves {
        let file = folder.join(format!("growth-{}.svg", curve.name));
        fs::write(&file, draw(curve)).map_err(failed)?;
        say(&format!("bench: {} is written", file.display()));
    }
    Ok(())
}

/// A logarithmic axis from one power of ten to another.
#[derive(Debug, Clone, Copy)]
struct LogAxis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl LogAxis {
    /// An axis between two places of the picture, with room for all of these values.
    fn around(values: impl Iterator<Item = f64> + Clone, start: f64, end: f64) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min).max(f64::MIN_POSITIVE);
        let most = values.fold(0.0, f64::max).max(least);
        let (from, to) = (least.log10().floor(), most.log10().ceil());
        Self { from, to: to.max(from + 1.0), start, end }
    }

    fn place(self, value: f64) -> f64 {
        let share = (value.log10() - self.from) / (self.to - self.from);
        self.start + share * (self.end - self.start)
    }

    /// The powers of ten on it.
    fn ticks(self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.from), |power| Some(power + 1.0))
            .take_while(move |power| *power <= self.to)
            .map(|power| 10f64.powf(power))
    }
}

fn draw(curve: &GrowthCurve) -> String {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let across = LogAxis::around(curve.points.iter().map(|point| point.size), LEFT, right);
    let up = LogAxis::around(curve.points.iter().flat_map(|point| [point.least, point.most]), bottom, TOP);
    let [below, above] = curve.axes;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{above} by {below}\">\n<style>{STYLE}</style>\n<text x=\"{LEFT}\" y=\"18\">{above}</text>\n\
         <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{below}</text>\n",
        HEIGHT - 6.0
    );
    for tick in across.ticks() {
        let x = across.place(tick);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/><text x=\"{x:.1}\" y=\"{}\" \
             text-anchor=\"middle\">{}</text>",
            bottom + 14.0,
            with_unit(tick)
        );
    }
    for tick in up.ticks() {
        let y = up.place(tick);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            LEFT - 5.0,
            y + 4.0,
            with_unit(tick)
        );
    }
    let mut line = String::new();
    for point in &curve.points {
        let (x, y) = (across.place(point.size), up.place(point.figure));
        let _ = write!(line, "{}{x:.1} {y:.1}", if line.is_empty() { "M" } else { "L" });
        let (least, most) = (up.place(point.least), up.place(point.most));
        let _ = writeln!(
            svg,
            "<path class=\"range\" d=\"M{x:.1} {least:.1}V{most:.1}\"/><circle class=\"dot\" cx=\"{x:.1}\" \
             cy=\"{y:.1}\" r=\"3\"/>"
        );
    }
    let _ = writeln!(svg, "<path class=\"line\" d=\"{line}\"/>\n</svg>");
    svg
}

/// A power of ten, short.
fn with_unit(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{}M", n / 1e6),
        n if n >= 1e3 => format!("{}k", n / 1e3),
        n => format!("{n}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::growth::GrowthPoint;

    #[test]
    fn every_point_is_inside_of_the_picture() {
        let point = |size, figure| GrowthPoint { size, figure, least: figure / 2.0, most: figure * 2.0 };
        let points = vec![point(1.0, 3.0), point(100.0, 500.0), point(1e6, 7.0)];
        let drawn = draw(&GrowthCurve { name: "x", axes: ["size", "speed"], points });
        assert_eq!(drawn.matches("<circle").count(), 3);
        let places = drawn.split("cy=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        assert!(
            places.map(|y| y.parse::<f64>().unwrap()).all(|y| (TOP..=HEIGHT - BOTTOM).contains(&y)),
            "{drawn}"
        );
    }

    #[test]
    fn a_curve_of_one_value_has_an_axis_of_a_power_of_ten() {
        let axis = LogAxis::around([100.0, 100.0].into_iter(), 0.0, 10.0);
        assert_eq!(axis.ticks().collect::<Vec<_>>(), [100.0, 1000.0]);
    }
}
