//! A row of the benchmark: what is measured, against what, and what came out.

use serde_json::{Value, json};

use crate::bench::testbed::Testbed;
use crate::chore::ChoreError;

/// A measurement that gives one figure.
pub(super) type Figure = fn(&Testbed) -> Result<f64, ChoreError>;

/// A measurement that gives a figure and its reference.
pub(super) type FigureAndReference = fn(&Testbed) -> Result<(f64, f64), ChoreError>;

/// What a row measures.
pub(super) struct RowSpec {
    /// What selects the row; a row `a-b` is selected by `a`, too.
    pub(super) name: &'static str,
    /// What is measured, with its unit, and what the reference is.
    pub(super) what: &'static str,
    /// How it is measured.
    pub(super) measure: Measure,
    /// What is to be reached.
    pub(super) goal: Goal,
    /// True if the reference is somebody else's program.
    pub(super) is_peer: bool,
}

/// How a pair of a row is measured.
pub(super) enum Measure {
    /// The figure, then its reference.
    InTurns(Figure, Figure),
    /// Both in one go.
    Together(FigureAndReference),
    /// The figure alone: its goal is absolute.
    Alone(Figure),
}

/// What a row is to reach: the ratio to its reference, or the figure itself if it has none.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Shown for comparison.
    None,
}

/// One measurement of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeasuredPair {
    figure: f64,
    /// `None` if the row's goal is absolute.
    reference: Option<f64>,
}

/// A row with all of its pairs, or why it could not be measured.
pub(super) struct MeasuredRow {
    spec: &'static RowSpec,
    pairs: Result<Vec<MeasuredPair>, ChoreError>,
}

impl RowSpec {
    /// True if `name` selects this row.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// Measures `count` pairs, figure and reference in turns.
    pub(super) fn measure(&'static self, testbed: &Testbed, count: usize) -> MeasuredRow {
        MeasuredRow { spec: self, pairs: (0..count).map(|_| self.measure.pair(testbed)).collect() }
    }
}

impl Measure {
    fn pair(&self, testbed: &Testbed) -> Result<MeasuredPair, ChoreError> {
        Ok(match self {
            Self::InTurns(figure, reference) => {
                MeasuredPair { figure: figure(testbed)?, reference: Some(reference(testbed)?) }
            }
            Self::Together(both) => {
                let (figure, reference) = both(testbed)?;
                MeasuredPair { figure, reference: Some(reference) }
            }
            Self::Alone(figure) => MeasuredPair { figure: figure(testbed)?, reference: None },
        })
    }
}

impl Goal {
    /// Whether `value` reaches the goal; `None` if there is no goal.
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(value >= least),
            Self::AtMost(most) => Some(value <= most),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
            Self::None => "–".to_owned(),
        }
    }
}

impl MeasuredPair {
    /// What the goal is about.
    fn value(self) -> f64 {
        self.reference.map_or(self.figure, |reference| self.figure / reference)
    }

    fn to_json(self) -> Value {
        json!({ "figure": self.figure, "reference": self.reference, "value": self.value() })
    }
}

/// The head of the table that [`MeasuredRow::line`] gives the lines of.
pub(super) fn head() -> String {
    line(["row", "figure", "reference", "ratio", "min–max", "goal", "met"], "what")
}

impl MeasuredRow {
    /// Why it could not be measured, if it could not.
    pub(super) fn error(&self) -> Option<&ChoreError> {
        self.pairs.as_ref().err()
    }

    /// One line of the table.
    pub(super) fn line(&self) -> String {
        let &RowSpec { name, what, goal, .. } = self.spec;
        let pairs = match &self.pairs {
            Ok(pairs) => pairs,
            Err(error) => return format!("{name:<20} not measured: {error}"),
        };
        let references: Option<Vec<f64>> = pairs.iter().map(|pair| pair.reference).collect();
        let values = values(pairs);
        let (least, most) = spread(&values);
        let met = match goal.is_met(median(&values)) {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "–",
        };
        let figures: Vec<f64> = pairs.iter().map(|pair| pair.figure).collect();
        let dash = || "–".to_owned();
        let reference = references.as_deref().map_or_else(dash, |references| short(median(references)));
        let ratio = references.map_or_else(dash, |_| short(median(&values)));
        let range = format!("{}–{}", short(least), short(most));
        let cells = [name, &short(median(&figures)), &reference, &ratio, &range, &goal.text(), met];
        line(cells, what)
    }

    /// The row with every pair.
    pub(super) fn to_json(&self) -> Value {
        let &RowSpec { name, what, goal, is_peer, .. } = self.spec;
        let mut row = json!({ "name": name, "what": what, "peer": is_peer, "goal": goal.text() });
        let more = match &self.pairs {
            Ok(pairs) => {
                let values = values(pairs);
                let (least, most) = spread(&values);
                json!({
                    "value": median(&values), "min": least, "max": most, "met": goal.is_met(median(&values)),
                    "pairs": pairs.iter().map(|pair| pair.to_json()).collect::<Vec<_>>(),
                })
            }
            Err(error) => json!({ "error": error.to_string() }),
        };
        if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
            row.extend(more);
        }
        row
    }
}

fn line(cells: [&str; 7], what: &str) -> String {
    let [name, figure, reference, ratio, spread, goal, met] = cells;
    format!("{name:<20} {figure:>10} {reference:>10} {ratio:>8} {spread:>15} {goal:>8} {met:>4}  {what}")
}

fn values(pairs: &[MeasuredPair]) -> Vec<f64> {
    pairs.iter().map(|pair| pair.value()).collect()
}

/// The middle one; of an even number, the mean of the two in the middle.
pub(super) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) }
}

fn spread(numbers: &[f64]) -> (f64, f64) {
    (numbers.iter().copied().fold(f64::NAN, f64::min), numbers.iter().copied().fold(f64::NAN, f64::max))
}

/// A number with three digits, or all of them in front of the point.
pub(super) fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size >= 0.1 => format!("{number:.2}"),
        _ => format!("{number:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SPEC: RowSpec = RowSpec {
        name: "rounds-bare",
        what: "µs",
        measure: Measure::Alone(|_| Ok(0.0)),
        goal: Goal::AtMost(1.5),
        is_peer: false,
    };

    fn row(pairs: &[(f64, f64)]) -> MeasuredRow {
        let pairs =
            pairs.iter().map(|&(figure, reference)| MeasuredPair { figure, reference: Some(reference) });
        MeasuredRow { spec: &SPEC, pairs: Ok(pairs.collect()) }
    }

    #[test]
    fn a_row_is_judged_by_the_median_of_its_ratios_not_by_the_ratio_of_its_medians() {
        // The medians are 3 and 1; the ratios are 3, 1 and 1.
        let row = row(&[(3.0, 1.0), (1.0, 1.0), (9.0, 9.0)]).to_json();
        assert_eq!((row["value"].as_f64(), row["met"].as_bool()), (Some(1.0), Some(true)));
        assert_eq!((row["min"].as_f64(), row["max"].as_f64()), (Some(1.0), Some(3.0)));
        assert_eq!(row["pairs"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_name_selects_its_row_and_those_of_its_group() {
        assert!(SPEC.is_called("rounds") && SPEC.is_called("rounds-bare"));
        assert!(!SPEC.is_called("round") && !SPEC.is_called("bare"));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]).to_bits(), 2.5f64.to_bits());
    }
}
