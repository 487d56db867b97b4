//! What the mouse does.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use crate::command::top::layout::{TopAreas, TopDialog, tabs};
use crate::command::top::resource::TopResource;
use crate::command::top::state::screen::{TopPrompt, TopStep};
use crate::command::top::state::{TopEffect, TopState};
use crate::command::top::table::placed;

/// Rows or lines that the wheel moves by.
const WHEEL_LINES: usize = 3;

impl TopState {
    /// Takes what the mouse did; the first of the pair is false if that was nothing to it.
    pub(crate) fn handle_mouse(&mut self, mouse: MouseEvent) -> (bool, Option<TopEffect>) {
        let at = Position::new(mouse.column, mouse.row);
        let effect = match mouse.kind {
            MouseEventKind::ScrollUp if self.prompt.is_none() => {
                self.step(TopStep::Up(WHEEL_LINES));
                None
            }
            MouseEventKind::ScrollDown if self.prompt.is_none() => {
                self.step(TopStep::Down(WHEEL_LINES));
                None
            }
            MouseEventKind::Down(MouseButton::Left) => self.click(at),
            _ => return (false, None),
        };
        self.refresh();
        (true, effect)
    }

    fn click(&mut self, at: Position) -> Option<TopEffect> {
        match self.prompt.take() {
            Some(TopPrompt::Confirm(deed, yes)) => {
                let dialog = TopDialog::of(self.size, &deed);
                let on = |answer: fn(&TopDialog) -> Rect| {
                    dialog.as_ref().is_some_and(|dialog| answer(dialog).contains(at))
                };
                if on(|dialog| dialog.yes) {
                    return Some(TopEffect::Carry(deed));
                }
                if on(|dialog| dialog.no) {
                    self.say("nothing was changed");
                } else {
                    self.prompt = Some(TopPrompt::Confirm(deed, yes));
                }
                return None;
            }
            prompt => self.prompt = prompt,
        }
        let areas = TopAreas::of(self.size);
        if areas.tabs.contains(at) {
            let tabs = tabs(self.resource, self.size.columns);
            let on = |(_, x, text): &&(TopResource, u16, String)| {
                (usize::from(*x)..usize::from(*x) + text.len()).contains(&at.x.into())
            };
            if let Some((resource, ..)) = tabs.iter().find(on) {
                self.show(*resource);
            }
        } else if self.pages.is_empty() {
            self.click_table(areas, at);
        }
        None
    }

    fn click_table(&mut self, areas: TopAreas, at: Position) {
        let (resource, columns) = (self.resource, self.size.columns);
        let Some(table) = self.table_mut() else { return };
        if areas.rows.contains(at) {
            table.click((at.y - areas.rows.y).into(), resource == TopResource::Events);
        } else if areas.headings.contains(at) {
            let columns = placed(resource, columns);
            if let Some(column) =
                columns.iter().find(|column| (column.x..=column.x + column.width).contains(&at.x))
            {
                let again = table.order.column == column.number;
                table.order.reversed = again && !table.order.reversed;
                table.order.column = column.number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::top::deed::TopDeed;
    use crate::command::top::samples::{click, keys, mouse, seen};

    /// The first cells of the rows on the screen, the selected one with a mark.
    fn names(state: &TopState) -> Vec<String> {
        let name = |(row, is_selected): (&crate::command::top::table::TopRow, bool)| {
            format!("{}{}", if is_selected { ">" } else { "" }, row.cells[0].shown())
        };
        state.visible_rows().map(name).collect()
    }

    #[test]
    fn a_click_selects_a_row_sorts_by_a_heading_and_goes_to_a_resource() {
        let mut state = seen(80, 24);
        click(&mut state, 14, 1);
        assert_eq!(state.wanted().resource, TopResource::Hosts);
        click(&mut state, 5, 6);
        assert_eq!(names(&state), ["rack-1", "rack-2", ">stranger"]);
        click(&mut state, 5, 20);
        assert_eq!(names(&state), ["rack-1", "rack-2", ">stranger"]);
        click(&mut state, 2, 3);
        assert_eq!(names(&state), [">stranger", "rack-2", "rack-1"]);
        mouse(&mut state, MouseEventKind::ScrollDown, 5, 5);
        assert_eq!(names(&state), ["stranger", "rack-2", ">rack-1"]);
    }

    #[test]
    fn a_dialog_is_answered_with_the_mouse_only_on_its_answers() {
        let mut state = seen(80, 24);
        keys(&mut state, "2^d");
        let Some(TopPrompt::Confirm(deed, _)) = state.prompt() else { panic!("{:?}", state.prompt()) };
        let dialog = TopDialog::of(state.size(), deed).unwrap();
        assert_eq!(click(&mut state, 1, 1), None);
        assert!(state.prompt().is_some());
        assert_eq!(click(&mut state, dialog.no.x, dialog.no.y), None);
        assert_eq!((state.prompt(), state.wanted().resource), (None, TopResource::Hosts));
        keys(&mut state, "^d");
        assert!(matches!(
            click(&mut state, dialog.yes.x, dialog.yes.y),
            Some(TopEffect::Carry(TopDeed::Drain { .. }))
        ));
    }
}
