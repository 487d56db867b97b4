//! Draws what is shown.

mod hints;
mod overview;
mod palette;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, Clear, Widget};

use crate::command::output::counted;
use crate::command::top::layout::{LEAST, TopAreas, TopDialog, tabs};
use crate::command::top::resource::{TopCommand, TopResource};
use crate::command::top::state::{TopPrompt, TopState};
use crate::command::top::table::{columns, placed};
use crate::command::top::text::{TopLine, TopTone, clock, fit, harmless, width, wrapped};

pub(crate) use palette::TopPalette;

use hints::hints;

/// Draws a whole frame.
pub(crate) fn draw(state: &TopState, palette: TopPalette, frame: &mut Frame<'_>) {
    let area = frame.area();
    let mut canvas = TopCanvas { buffer: frame.buffer_mut(), palette };
    if !state.has_room() {
        return canvas.too_small(area);
    }
    let areas = TopAreas::of(state.size());
    canvas.summary(state, areas.summary);
    canvas.tabs(state, areas.tabs);
    canvas.bar(areas.title, &state.title());
    match state.visible_lines() {
        Some(lines) => canvas.lines(areas.text, lines),
        None if state.resource() == TopResource::Overview => {
            overview::draw(&mut canvas, state.known(), areas.text);
        }
        None => canvas.table(state, areas),
    }
    canvas.status(state, areas.status);
    canvas.keys(state, areas.keys);
    if let Some(TopPrompt::Confirm(deed, yes)) = state.prompt()
        && let Some(dialog) = TopDialog::of(state.size(), deed)
    {
        canvas.dialog(&dialog, *yes);
    }
}

/// What is drawn on.
struct TopCanvas<'a> {
    buffer: &'a mut Buffer,
    palette: TopPalette,
}

impl TopCanvas<'_> {
    /// Writes a text that is harmless already, cut to so many columns; returns the columns that it took.
    fn put(&mut self, x: u16, y: u16, columns: u16, text: &str, style: Style) -> u16 {
        if !self.buffer.area.contains((x, y).into()) {
            return 0;
        }
        let columns = columns.min(self.buffer.area.right().saturating_sub(x));
        let (end, _) = self.buffer.set_stringn(x, y, fit(text, columns.into()), columns.into(), style);
        end.saturating_sub(x)
    }

    fn lines(&mut self, area: Rect, lines: &[TopLine]) {
        for (line, y) in lines.iter().zip(area.y..area.bottom()) {
            let style = self.palette.style(line.tone());
            self.put(area.x, y, area.width, line.text(), style);
        }
    }

    fn too_small(&mut self, area: Rect) {
        let text = format!(
            "grid top needs {} columns and {} lines; here are {} and {}",
            LEAST.columns, LEAST.lines, area.width, area.height
        );
        self.lines(area, &wrapped(&[TopLine::new(TopTone::Plain, &text)], area.width.into()));
    }

    /// A line across the screen that parts what is above from what is below.
    fn bar(&mut self, area: Rect, text: &str) {
        let style = self.palette.bar();
        self.buffer.set_style(area, style);
        self.put(area.x + 1, area.y, area.width.saturating_sub(2), &harmless(text), style);
    }

    fn summary(&mut self, state: &TopState, area: Rect) {
        let known = state.known();
        let (quiet, bad) = (self.palette.style(TopTone::Quiet), self.palette.style(TopTone::Bad));
        let mark = match (state.is_lost(), state.is_read_only()) {
            (true, _) => "no connection",
            (false, true) => "read-only",
            _ => "",
        };
        let style = if state.is_lost() { bad } else { quiet };
        let columns = u16::try_from(mark.len()).unwrap_or_default();
        self.put(area.right().saturating_sub(columns + 1), area.y, columns, mark, style);
        let Some(status) = &known.status else {
            self.put(1, area.y, area.width - 2, "asking the manager …", quiet);
            return;
        };
        let mut texts = vec![counted(status.hosts.into(), "host"), counted(status.slots.into(), "slot")];
        if let Some(overview) = &known.overview {
            texts.push(counted(overview.jobs.into(), "open job"));
        }
        texts.push(counted(status.workers.into(), "worker"));
        texts.push(format!("up {}", clock(status.uptime_ms / 1000)));
        let heading = self.palette.style(TopTone::Heading);
        let taken = self.put(1, area.y, area.width, "grid ", heading);
        let text = format!("{}  {}", status.manager.fingerprint(), texts.join(", "));
        let short = texts.join(", ");
        let left = area.width.saturating_sub(taken + columns + 3);
        let text = if width(&text) <= left.into() { text } else { short };
        self.put(1 + taken, area.y, left, &text, Style::new());
    }

    fn tabs(&mut self, state: &TopState, area: Rect) {
        for (resource, x, text) in tabs(state.resource(), area.width) {
            let is_shown = resource == state.resource();
            let style = if is_shown { self.palette.shown_tab() } else { self.palette.style(TopTone::Quiet) };
            self.put(x, area.y, area.width, &text, style);
        }
    }

    fn table(&mut self, state: &TopState, areas: TopAreas) {
        let (resource, order) = (state.resource(), state.order());
        let placed = placed(resource, state.size().columns);
        let heading = self.palette.style(TopTone::Heading);
        for place in &placed {
            let Some(column) = columns(resource).get(place.number) else { continue };
            let arrow = if order.reversed { "↓" } else { "↑" };
            let mark = if order.column == place.number { arrow } else { "" };
            let room = usize::from(place.width).saturating_sub(width(mark));
            let title = format!("{}{mark}", fit(column.title, room));
            let at = if column.right { aligned(place.x, place.width, &title) } else { place.x };
            self.put(at, areas.headings.y, place.width, &title, heading);
        }
        for ((row, is_selected), y) in state.visible_rows().zip(areas.rows.y..areas.rows.bottom()) {
            let style = self.palette.row(row.tone, is_selected);
            self.buffer.set_style(Rect::new(0, y, areas.rows.width, 1), style);
            for place in &placed {
                let (Some(cell), Some(column)) =
                    (row.cells.get(place.number), columns(resource).get(place.number))
                else {
                    continue;
                };
                let at = if column.right { aligned(place.x, place.width, cell.shown()) } else { place.x };
                self.put(at, y, place.width, cell.shown(), style);
            }
        }
        if state.visible_rows().next().is_none() {
            let text = empty(state);
            self.put(1, areas.rows.y, areas.rows.width - 2, text, self.palette.style(TopTone::Quiet));
        }
    }

    fn status(&mut self, state: &TopState, area: Rect) {
        let room = area.width.saturating_sub(2);
        let (label, text, rest) = match state.prompt() {
            Some(TopPrompt::Command(text)) => {
                let completed = TopCommand::completion(text).filter(|_| !text.is_empty());
                (":".to_owned(), text, completed.and_then(|word| word.get(text.len()..)).unwrap_or_default())
            }
            Some(TopPrompt::Filter(text)) => ("/".to_owned(), text, ""),
            Some(TopPrompt::Task(_, text, _)) => ("number of the task: ".to_owned(), text, ""),
            Some(TopPrompt::Confirm(..)) | None => {
                if let Some((text, bad)) = state.status() {
                    let style = self.palette.style(if bad { TopTone::Bad } else { TopTone::Good });
                    self.put(1, area.y, room, &harmless(&text), style);
                }
                return;
            }
        };
        let text = format!("{label}{}", harmless(text));
        let taken = self.put(1, area.y, room.saturating_sub(1), &text, self.palette.style(TopTone::Heading));
        self.put(1 + taken, area.y, 1, " ", self.palette.cursor());
        if let Some(first) = rest.chars().next() {
            self.put(1 + taken, area.y, 1, first.encode_utf8(&mut [0; 4]), self.palette.cursor());
            let rest = rest.get(first.len_utf8()..).unwrap_or_default();
            self.put(2 + taken, area.y, room.saturating_sub(taken), rest, self.palette.style(TopTone::Quiet));
        }
    }

    fn keys(&mut self, state: &TopState, area: Rect) {
        let mut x = 1;
        for (key, what) in hints(state.prompt(), state.page(), state.resource()) {
            let columns = u16::try_from(width(key) + 1 + width(what)).unwrap_or(u16::MAX);
            if x + columns > area.width {
                break;
            }
            let taken = self.put(x, area.y, columns, key, self.palette.style(TopTone::Heading));
            self.put(x + taken + 1, area.y, columns, what, self.palette.style(TopTone::Quiet));
            x += columns + 2;
        }
    }

    fn dialog(&mut self, dialog: &TopDialog, yes: bool) {
        let frame = dialog.frame.intersection(self.buffer.area);
        Clear.render(frame, self.buffer);
        let block = Block::bordered().border_style(self.palette.style(TopTone::Odd));
        let inner = block.inner(frame);
        block.render(frame, self.buffer);
        let margin = Rect::new(inner.x + 1, inner.y, inner.width.saturating_sub(2), inner.height);
        self.lines(margin, &dialog.lines);
        for (area, text, chosen) in [(dialog.no, "  No   ", !yes), (dialog.yes, "  Yes  ", yes)] {
            let style = if chosen { self.palette.cursor() } else { Style::new() };
            self.put(area.x, area.y, area.width, text, style);
        }
    }
}

/// Where a text begins that ends with its column.
fn aligned(x: u16, columns: u16, text: &str) -> u16 {
    x + columns.saturating_sub(u16::try_from(width(text)).unwrap_or(u16::MAX))
}

/// What is said in place of rows.
fn empty(state: &TopState) -> &'static str {
    if state.known().status.is_none() {
        return "";
    }
    match state.resource() {
        _ if state.is_filtered() => "nothing contains that; esc shows everything",
        TopResource::Hosts => "no hosts; `grid ticket new` prints the line that joins one",
        TopResource::Jobs => "no jobs; `grid run MODULE` makes one",
        TopResource::Workers => "no workers; `grid worker spawn MODULE` starts one",
        TopResource::Modules => "no modules; `grid module upload FILE` brings one",
        TopResource::Events => "nothing has happened yet",
        TopResource::Overview => "",
    }
}

#[cfg(test)]
mod tests;
