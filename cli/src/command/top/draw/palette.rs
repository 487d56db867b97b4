//! Colours: few, from the terminal's own sixteen, that can be read on light and on dark; or none.

use ratatui::style::{Color, Modifier, Style};

use crate::command::top::text::TopTone;

/// How tones look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopPalette {
    is_coloured: bool,
}

impl TopPalette {
    /// With colours, or, where somebody has asked for none, with bold and reversed text alone.
    pub(crate) fn new(is_coloured: bool) -> Self {
        Self { is_coloured }
    }

    /// As the environment asks: `NO_COLOR` with any text in it asks for none.
    pub(crate) fn of_environment() -> Self {
        Self::new(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    /// The style of a tone.
    pub(crate) fn style(self, tone: TopTone) -> Style {
        match tone {
            TopTone::Plain => Style::new(),
            TopTone::Quiet => Style::new().add_modifier(Modifier::DIM),
            TopTone::Heading => Style::new().add_modifier(Modifier::BOLD),
            TopTone::Good => self.coloured(Color::Green),
            TopTone::Odd => self.coloured(Color::Magenta),
            TopTone::Bad => self.coloured(Color::Red),
        }
    }

    /// The style of a row.
    pub(super) fn row(self, tone: TopTone, is_selected: bool) -> Style {
        if is_selected { self.cursor() } else { self.style(tone) }
    }

    /// What is selected, or typed next.
    pub(super) fn cursor(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The resource that is shown.
    pub(super) fn shown_tab(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// A line across the screen.
    pub(super) fn bar(self) -> Style {
        self.coloured(Color::Blue).add_modifier(Modifier::REVERSED)
    }

    fn coloured(self, colour: Color) -> Style {
        if self.is_coloured { Style::new().fg(colour) } else { Style::new() }
    }
}
