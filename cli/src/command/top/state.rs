//! What `grid top` shows, and what keys, the mouse and the manager's answers make of it.
//!
//! It knows no clock, no socket and no terminal: keys and answers come in, and what is to be done comes out.

mod keys;
mod mouse;
mod screen;

use crate::command::output::counted;
use crate::command::top::data::{TopDetail, TopNews, TopWanted};
use crate::command::top::deed::TopDeed;
use crate::command::top::description::{describe, log};
use crate::command::top::help;
use crate::command::top::known::TopKnown;
use crate::command::top::layout::{LEAST, TopAreas, TopSize};
use crate::command::top::resource::TopResource;
use crate::command::top::table::{TopOrder, TopRow, rows};
use crate::command::top::text::{TopLine, time_of_day, wrapped};
use crate::command::top::thing::TopThing;

pub(crate) use screen::TopPrompt;
use screen::{TopPage, TopTable};

/// What is to be done beyond the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopEffect {
    /// End the program.
    Leave,
    /// End the program as Ctrl-C does.
    Interrupt,
    /// Draw everything again.
    Redraw,
    /// Ask the manager to change something.
    Carry(TopDeed),
}

/// What is on a page over a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopPageKind {
    /// The description of a thing.
    Describe(TopThing),
    /// What a thing wrote.
    Logs(TopThing),
    /// The keys.
    Help,
}

/// What is shown.
#[derive(Debug)]
pub(crate) struct TopState {
    size: TopSize,
    read_only: bool,
    known: TopKnown,
    resource: TopResource,
    /// One for each resource, in their order.
    tables: [TopTable; TopResource::ALL.len()],
    /// Pages over the table, the shown one last.
    pages: Vec<TopPage>,
    prompt: Option<TopPrompt>,
    /// What is said until the next key, and whether it is bad news.
    notice: Option<(String, bool)>,
    /// Since when the manager gives no answer, in milliseconds since 1970, and why.
    lost: Option<(u64, String)>,
    /// Why something of the shown is not shown.
    refused: Option<String>,
}

impl TopState {
    /// A screen on which nothing is known yet.
    pub(crate) fn new(size: TopSize, read_only: bool) -> Self {
        Self {
            size,
            read_only,
            known: TopKnown::default(),
            resource: TopResource::Overview,
            tables: TopResource::ALL.map(TopTable::of),
            pages: Vec::new(),
            prompt: None,
            notice: None,
            lost: None,
            refused: None,
        }
    }

    /// What has to be asked for.
    pub(crate) fn wanted(&self) -> TopWanted {
        let kinds = self.pages.iter().rev().map(|page| page.kind);
        let wanted = kinds.into_iter().find_map(|kind| match kind {
            TopPageKind::Describe(thing) => Some((thing, false)),
            TopPageKind::Logs(thing) => Some((thing, true)),
            TopPageKind::Help => None,
        });
        let (thing, logs) = wanted.map_or((None, false), |(thing, logs)| (Some(thing), logs));
        TopWanted { resource: self.resource, thing, logs }
    }

    /// Takes what came from the manager.
    pub(crate) fn handle_news(&mut self, news: TopNews) {
        match news {
            TopNews::Lost { unix_ms, why } => {
                if self.lost.is_none() {
                    // What was said before matters less.
                    self.notice = None;
                }
                let since = self.lost.as_ref().map_or(unix_ms, |(since, _)| *since);
                self.lost = Some((since, why));
            }
            TopNews::Told { text, bad } => self.notice = Some((text, bad)),
            TopNews::Round(mut round) => {
                if self.lost.take().is_some() {
                    self.say("the manager answers again");
                }
                self.refused = round.refused.take();
                let wanted = (round.wanted.thing, round.wanted.logs);
                let shows = |page: &&mut TopPage| match page.kind {
                    TopPageKind::Describe(thing) => (Some(thing), false) == wanted,
                    TopPageKind::Logs(thing) => (Some(thing), true) == wanted,
                    TopPageKind::Help => false,
                };
                let detail: Option<TopDetail> = round.detail.clone();
                if detail.is_some()
                    && let Some(page) = self.pages.iter_mut().find(shows)
                {
                    page.detail = detail;
                }
                self.known.take(*round);
                self.refresh();
            }
        }
    }

    /// Takes the new size of the screen.
    pub(crate) fn handle_resize(&mut self, size: TopSize) {
        self.size = size;
        self.refresh();
    }

    /// True if the screen has room for more than a sentence.
    pub(crate) fn has_room(&self) -> bool {
        self.size.columns >= LEAST.columns && self.size.lines >= LEAST.lines
    }

    /// Makes the rows of the table and the lines of the page anew.
    fn refresh(&mut self) {
        let areas = TopAreas::of(self.size);
        let (known, resource) = (&self.known, self.resource);
        if let Some(table) = self.tables.get_mut(resource as usize) {
            table.take(rows(known, resource, &table.filter, table.order), areas.rows.height.into());
        }
        if let Some(page) = self.pages.last_mut() {
            let mut lines = match page.kind {
                TopPageKind::Describe(thing) => describe(known, thing, page.detail.as_ref()),
                TopPageKind::Logs(_) => log(page.detail.as_ref()),
                TopPageKind::Help => help::lines(),
            };
            let filter = page.filter.to_lowercase();
            lines.retain(|line| line.text().to_lowercase().contains(&filter));
            page.take(wrapped(&lines, areas.text.width.into()), areas.text.height.into());
        }
    }

    fn say(&mut self, text: &str) {
        self.notice = Some((text.to_owned(), false));
    }

    fn complain(&mut self, text: String) {
        self.notice = Some((text, true));
    }

    fn table(&self) -> Option<&TopTable> {
        self.tables.get(self.resource as usize)
    }

    fn table_mut(&mut self) -> Option<&mut TopTable> {
        self.tables.get_mut(self.resource as usize)
    }
}

/// What drawing reads.
impl TopState {
    pub(crate) fn size(&self) -> TopSize {
        self.size
    }

    pub(crate) fn known(&self) -> &TopKnown {
        &self.known
    }

    pub(crate) fn resource(&self) -> TopResource {
        self.resource
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    pub(crate) fn prompt(&self) -> Option<&TopPrompt> {
        self.prompt.as_ref()
    }

    /// The rows that are on the screen, each with whether it is selected.
    pub(crate) fn visible_rows(&self) -> impl Iterator<Item = (&TopRow, bool)> {
        let table = self.table();
        let rows = table.map_or(&[][..], |table| table.visible());
        let selected = table.and_then(|table| table.selected);
        rows.iter().map(move |row| (row, Some(row.thing) == selected))
    }

    /// How the table is sorted.
    pub(crate) fn order(&self) -> TopOrder {
        self.table().map_or(TopOrder::of(self.resource), |table| table.order)
    }

    /// The lines of the page that are on the screen; `None` if the table is.
    pub(crate) fn visible_lines(&self) -> Option<&[TopLine]> {
        self.pages.last().map(TopPage::visible)
    }

    /// What the page over the table shows; `None` if the table is shown.
    pub(crate) fn page(&self) -> Option<TopPageKind> {
        self.pages.last().map(|page| page.kind)
    }

    /// True if a filter hides rows of the table.
    pub(crate) fn is_filtered(&self) -> bool {
        self.table().is_some_and(|table| !table.filter.is_empty())
    }

    /// What is shown, for the title.
    pub(crate) fn title(&self) -> String {
        let of = |shown: usize, filter: &str| {
            let filtered = if filter.is_empty() { String::new() } else { format!(" with `{filter}`") };
            (shown, filtered)
        };
        match self.pages.last() {
            Some(page) => {
                let title = match page.kind {
                    TopPageKind::Describe(thing) => thing.title(),
                    TopPageKind::Logs(thing) => format!("what {} wrote", thing.title()),
                    TopPageKind::Help => "keys".to_owned(),
                };
                let (lines, filtered) = of(page.lines.len(), &page.filter);
                let last = (page.scroll + page.visible().len()).min(lines);
                format!("{title}{filtered}: lines {} to {last} of {lines}", (page.scroll + 1).min(last))
            }
            None if self.resource == TopResource::Overview => "the grid".to_owned(),
            None => {
                let rows = self.table().map_or(0, |table| table.rows.len());
                let filter = self.table().map_or("", |table| table.filter.as_str());
                let (rows, filtered) = of(rows, filter);
                let noun = self.resource.name().trim_end_matches('s');
                let times = if self.resource == TopResource::Events { ", times in UTC" } else { "" };
                format!("{}{filtered}{times}", counted(rows as u64, noun))
            }
        }
    }

    /// What is to be said, and whether it is bad news.
    pub(crate) fn status(&self) -> Option<(String, bool)> {
        let lost = self.lost.as_ref().map(|(since, why)| {
            (format!("no answer since {} UTC, trying again: {why}", time_of_day(*since)), true)
        });
        let trouble = self.known.status.as_ref().and_then(|status| status.store_trouble.as_ref());
        let trouble = trouble.map(|why| (format!("the manager's store takes nothing: {why}"), true));
        let refused = self.refused.clone().map(|why| (why, true));
        self.notice.clone().or(lost).or(trouble).or(refused)
    }
}

#[cfg(test)]
mod tests;
