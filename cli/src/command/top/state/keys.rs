//! What keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use grid_protocol::activity::JobSummary;
use wasm_grid::{JobId, JobInfo};

use crate::command::top::data::TopDetail;
use crate::command::top::deed::TopDeed;
use crate::command::top::resource::{TopCommand, TopResource};
use crate::command::top::state::screen::{TopPage, TopPrompt, TopStep};
use crate::command::top::state::{TopEffect, TopPageKind, TopState};
use crate::command::top::table::columns;
use crate::command::top::thing::TopThing;

/// Letters that can be typed; a name has no more.
const TYPED_MAX: usize = 100;

impl TopState {
    /// Takes a key.
    pub(crate) fn handle_key(&mut self, key: KeyEvent) -> Option<TopEffect> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return Some(TopEffect::Interrupt);
        }
        self.notice = None;
        let effect = match self.prompt.take() {
            Some(TopPrompt::Confirm(deed, yes)) => self.answer(deed, yes, key.code),
            Some(prompt) if !is_control => self.type_on(prompt, key.code),
            Some(prompt) => {
                self.prompt = Some(prompt);
                None
            }
            None if is_control => self.control(key.code),
            None => self.press(key.code),
        };
        self.refresh();
        effect
    }

    fn press(&mut self, code: KeyCode) -> Option<TopEffect> {
        if let Some(step) = step(code) {
            self.step(step);
            return None;
        }
        match code {
            KeyCode::Char('q') => return Some(TopEffect::Leave),
            KeyCode::Char(':') => self.prompt = Some(TopPrompt::Command(String::new())),
            KeyCode::Char('/') => self.prompt = Some(TopPrompt::Filter(self.filter().to_owned())),
            KeyCode::Char('?') => self.help(),
            KeyCode::Esc => self.back(),
            KeyCode::Enter | KeyCode::Char('d') => self.describe(),
            KeyCode::Char('l') => self.logs(),
            KeyCode::Char('t') => self.ask_for_task(false),
            KeyCode::Char('s') if self.pages.is_empty() => self.sort(),
            KeyCode::Char('S') if self.pages.is_empty() => self.reverse(),
            KeyCode::Char('a') => return self.on_host(TopDeed::approve),
            KeyCode::Char('r') => return self.retry(),
            KeyCode::Char(digit) => {
                if let Some(resource) = TopResource::of_digit(digit) {
                    self.show(resource);
                }
            }
            _ => {}
        }
        None
    }

    fn control(&mut self, code: KeyCode) -> Option<TopEffect> {
        match code {
            KeyCode::Char('d') => return self.on_host(TopDeed::drain),
            KeyCode::Char('k') => return self.stop(),
            KeyCode::Char('l') => return Some(TopEffect::Redraw),
            KeyCode::Char('f') => self.step(TopStep::PageDown),
            KeyCode::Char('b') => self.step(TopStep::PageUp),
            _ => {}
        }
        None
    }

    /// Takes a key while something is typed.
    fn type_on(&mut self, prompt: TopPrompt, code: KeyCode) -> Option<TopEffect> {
        let (TopPrompt::Command(text) | TopPrompt::Filter(text) | TopPrompt::Task(_, text, _)) = &prompt
        else {
            return None;
        };
        let mut text = text.clone();
        match code {
            KeyCode::Enter => return self.enter(prompt),
            KeyCode::Esc => text.clear(),
            KeyCode::Backspace if text.is_empty() => return None,
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Tab if matches!(prompt, TopPrompt::Command(_)) => {
                let next = TopCommand::after(&text).or_else(|| TopCommand::completion(&text));
                text = next.map_or(text, str::to_owned);
            }
            KeyCode::Char(letter) if text.chars().count() < TYPED_MAX => {
                let is_number = letter.is_ascii_digit();
                if is_number || !matches!(prompt, TopPrompt::Task(..)) {
                    text.push(letter);
                }
            }
            _ => {}
        }
        if matches!(prompt, TopPrompt::Filter(_)) {
            self.set_filter(text.clone());
        }
        let prompt = match prompt {
            TopPrompt::Filter(_) => TopPrompt::Filter(text),
            TopPrompt::Task(job, _, logs) => TopPrompt::Task(job, text, logs),
            _ => TopPrompt::Command(text),
        };
        self.prompt = (code != KeyCode::Esc).then_some(prompt);
        None
    }

    fn enter(&mut self, prompt: TopPrompt) -> Option<TopEffect> {
        match prompt {
            TopPrompt::Command(text) => match TopCommand::named(&text) {
                Some(TopCommand::Leave) => return Some(TopEffect::Leave),
                Some(TopCommand::Show(resource)) => self.show(resource),
                Some(TopCommand::Help) => self.help(),
                None if text.trim().is_empty() => {}
                None => {
                    let names: Vec<_> = TopResource::ALL.iter().map(|resource| resource.name()).collect();
                    self.complain(format!(
                        "there is no `{}`; there are {}, quit",
                        text.trim(),
                        names.join(", ")
                    ));
                }
            },
            TopPrompt::Task(job, text, logs) => match text.parse() {
                Ok(task) if logs => self.open(TopPageKind::Logs(TopThing::Task(job, task))),
                Ok(task) => self.open(TopPageKind::Describe(TopThing::Task(job, task))),
                Err(_) if text.is_empty() => {}
                Err(_) => self.complain(format!("{text} is no number of a task")),
            },
            TopPrompt::Filter(_) | TopPrompt::Confirm(..) => {}
        }
        None
    }

    /// Takes a key while a question stands.
    fn answer(&mut self, deed: TopDeed, yes: bool, code: KeyCode) -> Option<TopEffect> {
        match code {
            KeyCode::Char('y' | 'Y') => return Some(TopEffect::Carry(deed)),
            KeyCode::Enter if yes => return Some(TopEffect::Carry(deed)),
            KeyCode::Enter | KeyCode::Esc | KeyCode::Char('n' | 'N' | 'q') => self.say("nothing was changed"),
            KeyCode::Left | KeyCode::Right | KeyCode::Tab | KeyCode::BackTab => {
                self.prompt = Some(TopPrompt::Confirm(deed, !yes));
            }
            _ => self.prompt = Some(TopPrompt::Confirm(deed, yes)),
        }
        None
    }

    pub(super) fn show(&mut self, resource: TopResource) {
        self.resource = resource;
        self.pages.clear();
    }

    fn open(&mut self, kind: TopPageKind) {
        if self.pages.last().is_none_or(|page| page.kind != kind) {
            self.pages.push(TopPage::of(kind));
        }
    }

    fn help(&mut self) {
        match self.pages.last() {
            Some(page) if page.kind == TopPageKind::Help => drop(self.pages.pop()),
            _ => self.open(TopPageKind::Help),
        }
    }

    /// Goes back a step: takes the filter off, or the page, or the filter of the table.
    fn back(&mut self) {
        if self.filter().is_empty() {
            self.pages.pop();
        } else {
            self.set_filter(String::new());
        }
    }

    pub(super) fn step(&mut self, step: TopStep) {
        let is_followed = self.resource == TopResource::Events;
        if let Some(page) = self.pages.last_mut() {
            page.step(step);
        } else if let Some(table) = self.table_mut() {
            table.step(step, is_followed);
        }
    }

    fn filter(&self) -> &str {
        let table = self.table().map_or("", |table| table.filter.as_str());
        self.pages.last().map_or(table, |page| page.filter.as_str())
    }

    fn set_filter(&mut self, filter: String) {
        if let Some(page) = self.pages.last_mut() {
            page.filter = filter;
        } else if let Some(table) = self.table_mut() {
            table.filter = filter;
        }
    }

    /// Sorts by the next column.
    fn sort(&mut self) {
        let count = columns(self.resource).len();
        if let Some(table) = self.table_mut().filter(|_| count > 0) {
            table.order.column = (table.order.column + 1) % count;
            table.order.reversed = false;
            let title = columns(self.resource).get(self.order().column).map_or("", |column| column.title);
            self.say(&format!("sorted by {}", title.to_lowercase()));
        }
    }

    fn reverse(&mut self) {
        if let Some(table) = self.table_mut() {
            table.order.reversed = !table.order.reversed;
        }
    }

    /// The thing that keys are about: that of the page, else that of the row.
    fn subject(&self) -> Option<TopThing> {
        match self.pages.last().map(|page| page.kind) {
            Some(TopPageKind::Describe(thing) | TopPageKind::Logs(thing)) => Some(thing),
            Some(TopPageKind::Help) => None,
            None => self.table()?.selected,
        }
    }

    fn describe(&mut self) {
        let Some(thing) = self.subject() else { return };
        // An event is about something, which says more than the event does.
        let about = match thing {
            TopThing::Event(number) if !self.pages.is_empty() => {
                self.known.event(number).and_then(|event| event.about)
            }
            _ => None,
        };
        self.open(TopPageKind::Describe(about.unwrap_or(thing)));
    }

    fn logs(&mut self) {
        match self.subject() {
            Some(thing @ (TopThing::Worker(_) | TopThing::Task(..))) => self.open(TopPageKind::Logs(thing)),
            Some(TopThing::Job(_)) => self.ask_for_task(true),
            Some(_) => self.complain("only workers and tasks write logs".to_owned()),
            None => {}
        }
    }

    /// Asks for the number of a task, and proposes that of one that failed.
    fn ask_for_task(&mut self, logs: bool) {
        match self.subject() {
            Some(TopThing::Job(job) | TopThing::Task(job, _)) => {
                let failed = self.summary().and_then(|summary| summary.reasons.first());
                let proposed = failed.map_or_else(String::new, |reason| reason.task.to_string());
                self.prompt = Some(TopPrompt::Task(job, proposed, logs));
            }
            _ => self.complain("select a job first: tasks are in jobs".to_owned()),
        }
    }

    fn summary(&self) -> Option<&JobSummary> {
        match self.pages.last()?.detail.as_ref()? {
            TopDetail::Job(_, summary, _) => Some(summary),
            _ => None,
        }
    }

    /// The newest that is known of a job.
    fn job(&self, id: JobId) -> Option<&JobInfo> {
        let described = self.pages.iter().rev().find_map(|page| match &page.detail {
            Some(TopDetail::Job(info, ..)) if info.id == id => Some(info.as_ref()),
            _ => None,
        });
        described.or_else(|| self.known.job(id))
    }

    fn on_host(
        &mut self,
        deed: impl Fn(&wasm_grid::HostInfo) -> Result<TopDeed, String>,
    ) -> Option<TopEffect> {
        let host = match self.subject() {
            Some(TopThing::Host(key)) => self.known.host(&key),
            _ => None,
        };
        let deed = host.map_or_else(|| Err("select a host first".to_owned()), deed);
        self.propose(deed)
    }

    fn stop(&mut self) -> Option<TopEffect> {
        let deed = match self.subject() {
            Some(TopThing::Job(id)) => self.job(id).map(TopDeed::stop_job),
            Some(TopThing::Worker(id)) => self.known.worker(id).map(TopDeed::stop_worker),
            _ => None,
        };
        self.propose(deed.unwrap_or_else(|| Err("select a job or a worker first".to_owned())))
    }

    fn retry(&mut self) -> Option<TopEffect> {
        let deed = match self.subject() {
            Some(TopThing::Job(id)) => self.job(id).map(TopDeed::retry),
            _ => None,
        };
        self.propose(deed.unwrap_or_else(|| Err("select a job first".to_owned())))
    }

    /// Does something, or asks first if something is lost by it; says why not if it may not be done.
    fn propose(&mut self, deed: Result<TopDeed, String>) -> Option<TopEffect> {
        let deed = match deed {
            Ok(deed) => deed,
            Err(why) => {
                self.complain(why);
                return None;
            }
        };
        let needs = deed.needs();
        if self.read_only {
            self.complain("nothing can be changed: `grid top` was started with --read-only".to_owned());
        } else if !self.known.has(needs) {
            let roles = self.known.roles.map(|roles| roles.to_string()).unwrap_or_default();
            self.complain(format!("your key may not do that: it takes the role {needs}, and has {roles}"));
        } else if deed.question().is_some() {
            self.prompt = Some(TopPrompt::Confirm(deed, false));
        } else {
            return Some(TopEffect::Carry(deed));
        }
        None
    }
}

fn step(code: KeyCode) -> Option<TopStep> {
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => TopStep::Up(1),
        KeyCode::Down | KeyCode::Char('j') => TopStep::Down(1),
        KeyCode::PageUp => TopStep::PageUp,
        KeyCode::PageDown | KeyCode::Char(' ') => TopStep::PageDown,
        KeyCode::Home | KeyCode::Char('g') => TopStep::First,
        KeyCode::End | KeyCode::Char('G') => TopStep::Last,
        _ => return None,
    })
}
