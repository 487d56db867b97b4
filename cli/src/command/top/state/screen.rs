//! The parts of the screen that can be moved about in: a table, a page of text; and what is being typed.

use crate::command::top::data::TopDetail;
use crate::command::top::deed::TopDeed;
use crate::command::top::resource::TopResource;
use crate::command::top::state::TopPageKind;
use crate::command::top::table::{TopOrder, TopRow};
use crate::command::top::text::TopLine;
use crate::command::top::thing::TopThing;
use wasm_grid::JobId;

/// What is being typed or asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopPrompt {
    /// A command, after `:`.
    Command(String),
    /// A filter, after `/`.
    Filter(String),
    /// The number of a task of a job, and whether its log is wanted.
    Task(JobId, String, bool),
    /// Whether to do something that loses something, and the answer that is chosen.
    Confirm(TopDeed, bool),
}

/// A step through rows or lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopStep {
    Up(usize),
    Down(usize),
    PageUp,
    PageDown,
    First,
    Last,
}

impl TopStep {
    /// The place after the step from `place`, of places up to `last`.
    fn taken(self, place: usize, last: usize, page: usize) -> usize {
        let page = page.max(1);
        let place = match self {
            Self::Up(by) => place.saturating_sub(by),
            Self::Down(by) => place.saturating_add(by),
            Self::PageUp => place.saturating_sub(page),
            Self::PageDown => place.saturating_add(page),
            Self::First => 0,
            Self::Last => last,
        };
        place.min(last)
    }
}

/// A table: its rows, the selected one, and the part that is on the screen.
#[derive(Debug)]
pub(super) struct TopTable {
    pub(super) filter: String,
    pub(super) order: TopOrder,
    pub(super) rows: Vec<TopRow>,
    pub(super) selected: Option<TopThing>,
    /// The number of the selected row.
    place: usize,
    /// The number of the first row on the screen.
    top: usize,
    /// Rows that the screen has room for.
    height: usize,
    /// True if the last row is selected whatever comes: of events, until one moves up.
    follows: bool,
}

impl TopTable {
    pub(super) fn of(resource: TopResource) -> Self {
        Self {
            filter: String::new(),
            order: TopOrder::of(resource),
            rows: Vec::new(),
            selected: None,
            place: 0,
            top: 0,
            height: 0,
            follows: resource == TopResource::Events,
        }
    }

    /// Takes new rows; the selected thing stays selected, wherever it is now.
    pub(super) fn take(&mut self, rows: Vec<TopRow>, height: usize) {
        (self.rows, self.height) = (rows, height);
        let found = self.rows.iter().position(|row| Some(row.thing) == self.selected);
        self.place = match found {
            _ if self.follows => self.last(),
            Some(place) => place,
            None => self.place.min(self.last()),
        };
        self.show();
    }

    pub(super) fn step(&mut self, step: TopStep, is_followed: bool) {
        self.place = step.taken(self.place, self.last(), self.height);
        self.follows = is_followed && self.place == self.last();
        self.show();
    }

    /// Selects the row so many below the first on the screen.
    pub(super) fn click(&mut self, below: usize, is_followed: bool) {
        if self.top + below < self.rows.len() {
            self.place = self.top + below;
            self.follows = is_followed && self.place == self.last();
            self.show();
        }
    }

    pub(super) fn visible(&self) -> &[TopRow] {
        let end = (self.top + self.height).min(self.rows.len());
        self.rows.get(self.top..end).unwrap_or_default()
    }

    fn last(&self) -> usize {
        self.rows.len().saturating_sub(1)
    }

    /// Selects the row at the place, and scrolls so that it is on the screen.
    fn show(&mut self) {
        self.selected = self.rows.get(self.place).map(|row| row.thing);
        let first = (self.place + 1).saturating_sub(self.height);
        let full = self.rows.len().saturating_sub(self.height);
        self.top = self.top.min(full).clamp(first, self.place.max(first));
    }
}

/// A page of text over a table.
#[derive(Debug)]
pub(super) struct TopPage {
    pub(super) kind: TopPageKind,
    pub(super) filter: String,
    pub(super) detail: Option<TopDetail>,
    pub(super) lines: Vec<TopLine>,
    /// The number of the first line on the screen.
    pub(super) scroll: usize,
    height: usize,
    /// True if the end is shown whatever comes: of a log, until one moves up.
    follows: bool,
}

impl TopPage {
    pub(super) fn of(kind: TopPageKind) -> Self {
        let follows = matches!(kind, TopPageKind::Logs(TopThing::Worker(_)));
        Self { kind, filter: String::new(), detail: None, lines: Vec::new(), scroll: 0, height: 0, follows }
    }

    pub(super) fn take(&mut self, lines: Vec<TopLine>, height: usize) {
        (self.lines, self.height) = (lines, height);
        self.scroll = if self.follows { self.last() } else { self.scroll.min(self.last()) };
    }

    pub(super) fn step(&mut self, step: TopStep) {
        self.scroll = step.taken(self.scroll, self.last(), self.height);
        self.follows = matches!(self.kind, TopPageKind::Logs(_)) && self.scroll == self.last();
    }

    pub(super) fn visible(&self) -> &[TopLine] {
        let end = (self.scroll + self.height).min(self.lines.len());
        self.lines.get(self.scroll..end).unwrap_or_default()
    }

    /// The number of the first line when the end is shown.
    fn last(&self) -> usize {
        self.lines.len().saturating_sub(self.height)
    }
}
