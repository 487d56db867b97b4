//! The terminal: taken over when `grid top` begins, and given back as it was however it ends.

use std::cell::Cell;
use std::io::{self, Stdout, Write, stdout};
use std::rc::Rc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal};

use crate::command::top::layout::TopSize;

/// True while the terminal is ours: for the panic hook, which has no other way to know.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// The hook stands once, however often a terminal is taken over.
static HOOK: Once = Once::new();

/// The terminal, taken over until this is dropped.
pub(crate) struct TopTerminal {
    terminal: Terminal<CrosstermBackend<FrameWriter<Stdout>>>,
    /// The writer's.
    holds: Rc<Cell<bool>>,
}

impl TopTerminal {
    /// Takes the terminal over: raw mode, the alternate screen, the mouse. A panic of any thread gives it back before it
    /// prints its message.
    ///
    /// # Errors
    ///
    /// The terminal's.
    pub(crate) fn enter() -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                leave();
                before(panic);
            }));
        });
        let holds = Rc::new(Cell::new(false));
        let writer = FrameWriter { kept: Vec::new(), to: stdout(), holds: holds.clone() };
        let terminal = Terminal::new(CrosstermBackend::new(writer))?;
        // From here on it is given back, even if only half of it was taken.
        IS_OURS.store(true, Ordering::SeqCst);
        let entered = Self { terminal, holds };
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, EnableMouseCapture)?;
        Ok(entered)
    }

    /// False once a panic of another thread has given the terminal back.
    pub(crate) fn is_ours(&self) -> bool {
        IS_OURS.load(Ordering::SeqCst)
    }

    /// Its size now.
    ///
    /// # Errors
    ///
    /// The terminal's.
    pub(crate) fn size(&self) -> io::Result<TopSize> {
        let size = self.terminal.size()?;
        Ok(TopSize { columns: size.width, lines: size.height })
    }

    /// Draws a frame: what differs from the last one, or all of it on a screen of another size, in one piece.
    ///
    /// # Errors
    ///
    /// The terminal's.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        // What ratatui flushes half-way would be seen: a cleared screen without what comes after.
        self.holds.set(true);
        self.terminal.draw(draw)?;
        self.holds.set(false);
        Write::flush(self.terminal.backend_mut())
    }

    /// Has the next frame drawn as a whole, because something else has written on the screen.
    ///
    /// # Errors
    ///
    /// The terminal's.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        // Not `clear`, which asks the terminal for its cursor, and waits for the answer among the keys.
        self.holds.set(true);
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }
}

impl Drop for TopTerminal {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the terminal back, unless it was given back already. What fails is left: the rest may work.
fn leave() {
    if IS_OURS.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), EndSynchronizedUpdate, DisableMouseCapture, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Keeps what is written until it is flushed and not held, and writes that in one piece, as one update of the screen. What
/// was never flushed is dropped, so that half a frame does not follow the end of the screen that it was for.
#[derive(Debug)]
struct FrameWriter<W> {
    kept: Vec<u8>,
    to: W,
    /// True while there is more of the frame to come.
    holds: Rc<Cell<bool>>,
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.kept.is_empty() {
            queue!(self.kept, BeginSynchronizedUpdate)?;
        }
        self.kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.kept.is_empty() || self.holds.get() {
            return Ok(());
        }
        queue!(self.kept, EndSynchronizedUpdate)?;
        let written = self.to.write_all(&self.kept).and_then(|()| self.to.flush());
        self.kept.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written, piece by piece.
    #[derive(Debug, Default)]
    struct Pieces(Vec<String>);

    impl Write for &mut Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_frame_is_written_in_one_piece_and_half_a_frame_never() {
        let mut pieces = Pieces::default();
        let holds = Rc::new(Cell::new(true));
        let mut writer = FrameWriter { kept: Vec::new(), to: &mut pieces, holds: holds.clone() };
        for text in ["a", "b", ""] {
            writer.write_all(text.as_bytes()).unwrap();
            writer.flush().unwrap();
        }
        holds.set(false);
        writer.flush().unwrap();
        writer.flush().unwrap();
        writer.write_all(b"half").unwrap();
        drop(writer);
        assert_eq!(pieces.0, ["\x1b[?2026hab\x1b[?2026l"]);
    }
}
