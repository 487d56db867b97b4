//! Where things are on the screen: for drawing, and for finding what the mouse was on.

use ratatui::layout::Rect;

use crate::command::top::deed::TopDeed;
use crate::command::top::resource::TopResource;
use crate::command::top::text::{TopLine, TopTone, wrapped};

/// Columns and lines of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopSize {
    pub(crate) columns: u16,
    pub(crate) lines: u16,
}

/// The smallest screen that shows what matters.
pub(crate) const LEAST: TopSize = TopSize { columns: 40, lines: 10 };

/// From how many columns on the names of all resources fit beside their digits.
const NAMED_TABS_COLUMNS: u16 = 60;

/// The parts of the screen, from top to bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopAreas {
    /// The grid in a line.
    pub(crate) summary: Rect,
    /// The resources.
    pub(crate) tabs: Rect,
    /// What is shown below.
    pub(crate) title: Rect,
    /// The headings of a table; the first line of a text.
    pub(crate) headings: Rect,
    /// The rows of a table.
    pub(crate) rows: Rect,
    /// The lines of a text: headings and rows together.
    pub(crate) text: Rect,
    /// What was typed, or is to be said.
    pub(crate) status: Rect,
    /// The keys.
    pub(crate) keys: Rect,
}

impl TopAreas {
    /// The parts of a screen of this size, which is at least [`LEAST`].
    pub(crate) fn of(size: TopSize) -> Self {
        let line = |y| Rect::new(0, y, size.columns, 1);
        let lines = |y, height| Rect::new(0, y, size.columns, height);
        let (columns, left) = (size.columns, size.lines.saturating_sub(6));
        Self {
            summary: line(0),
            tabs: line(1),
            title: line(2),
            headings: line(3),
            rows: lines(4, left),
            text: Rect::new(1, 3, columns.saturating_sub(2), left + 1),
            status: line(size.lines.saturating_sub(2)),
            keys: line(size.lines.saturating_sub(1)),
        }
    }
}

/// What each resource is called on a screen that is so wide, and where: the shown one by its name, the others by their
/// digits alone if there is no room.
pub(crate) fn tabs(shown: TopResource, columns: u16) -> Vec<(TopResource, u16, String)> {
    let (mut x, mut tabs) = (1, Vec::new());
    for (place, resource) in TopResource::ALL.into_iter().enumerate() {
        let digit = place + 1;
        let is_named = columns >= NAMED_TABS_COLUMNS || resource == shown;
        let text = if is_named { format!("{digit} {}", resource.name()) } else { digit.to_string() };
        let width = u16::try_from(text.len()).unwrap_or_default();
        tabs.push((resource, x, text));
        x += width + 2;
    }
    tabs
}

/// A question in the middle of the screen, and its two answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopDialog {
    pub(crate) frame: Rect,
    /// The question, and what is lost.
    pub(crate) lines: Vec<TopLine>,
    pub(crate) no: Rect,
    pub(crate) yes: Rect,
}

impl TopDialog {
    /// The question about a deed; `None` if nothing is lost by it.
    pub(crate) fn of(size: TopSize, deed: &TopDeed) -> Option<Self> {
        let (question, lost) = deed.question()?;
        let width = size.columns.saturating_sub(4).min(66);
        let mut lines = vec![TopLine::new(TopTone::Heading, &question)];
        lines.extend(lost.iter().map(|line| TopLine::new(TopTone::Plain, line)));
        // A border and a margin at each side.
        let mut lines = wrapped(&lines, width.saturating_sub(4).into());
        // Two borders, an empty line and the answers, which must be on the screen.
        lines.truncate(size.lines.saturating_sub(4).into());
        let height = u16::try_from(lines.len()).unwrap_or_default() + 4;
        let (x, y) = ((size.columns - width) / 2, size.lines.saturating_sub(height) / 2);
        let answer = |at| Rect::new(x + at, y + height - 2, 7, 1);
        Some(Self { frame: Rect::new(x, y, width, height), lines, no: answer(2), yes: answer(11) })
    }
}
