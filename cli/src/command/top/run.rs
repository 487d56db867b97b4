//! The loop of `grid top`: keys, answers and signals go into the state; what comes out is drawn or done.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_core::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use wasm_grid::Client;

use crate::command::cli_error::CliError;
use crate::command::signals::Signals;
use crate::command::top::data::{TopFetcher, TopNews, TopWanted, carry_out};
use crate::command::top::draw::{TopPalette, draw};
use crate::command::top::state::{TopEffect, TopState};
use crate::command::top::terminal::TopTerminal;

/// Interval between two frames: ten a second are as many as eyes follow.
const FRAME_PAUSE: Duration = Duration::from_millis(100);

/// Answers that wait to be shown; more of them wait at the manager.
const NEWS_WAITING_MAX: usize = 4;

/// What is shown, and the ways to those who bring it.
struct TopLoop {
    client: Client,
    state: TopState,
    wanted: watch::Sender<TopWanted>,
    sender: mpsc::Sender<TopNews>,
    /// True if the screen shows something else than the state says.
    is_stale: bool,
}

/// Shows the grid until a key or a signal ends it.
pub(crate) async fn run(client: Client, interval: Duration, read_only: bool) -> Result<(), CliError> {
    let broken = |error| CliError::failed("the terminal cannot be used", error);
    let mut signals = Signals::listen()
        .map_err(|error| CliError::failed("the system lets nobody listen for signals", error))?;
    let mut terminal = TopTerminal::enter().map_err(broken)?;
    let mut inputs = EventStream::new();
    let palette = TopPalette::of_environment();
    let state = TopState::new(terminal.size().map_err(broken)?, read_only);
    let (sender, mut news) = mpsc::channel(NEWS_WAITING_MAX);
    let (wanted, receiver) = watch::channel(state.wanted());
    let mut fetching =
        tokio::spawn(TopFetcher::new(client.clone(), interval, receiver, sender.clone()).run());
    let mut top = TopLoop { client, state, wanted, sender, is_stale: true };
    let mut next_frame = Instant::now();
    loop {
        let effect = tokio::select! {
            biased;
            _ = signals.next() => Some(TopEffect::Interrupt),
            () = sleep_until(next_frame), if top.is_stale => {
                if !terminal.is_ours() {
                    return Err(failed_in_part());
                }
                let size = terminal.size().map_err(broken)?;
                if size != top.state.size() {
                    top.state.handle_resize(size);
                }
                terminal.draw(|frame| draw(&top.state, palette, frame)).map_err(broken)?;
                #[cfg(debug_assertions)]
                panic_if_asked(&top.state);
                (top.is_stale, next_frame) = (false, Instant::now() + FRAME_PAUSE);
                None
            }
            input = next_input(&mut inputs) => match input {
                Some(Ok(input)) => top.take_input(input),
                Some(Err(error)) => return Err(broken(error)),
                None => Some(TopEffect::Interrupt),
            },
            // It ends when nobody listens, which is not yet, or by a panic.
            _ = &mut fetching => return Err(failed_in_part()),
            // The sender is the loop's own, so that there is no end of news.
            Some(news) = news.recv() => {
                top.take_news(news);
                None
            }
        };
        match effect {
            None => {}
            Some(TopEffect::Leave) => return Ok(()),
            Some(TopEffect::Interrupt) => return Err(CliError::interrupted()),
            Some(TopEffect::Redraw) => terminal.forget().map_err(broken)?,
            Some(TopEffect::Carry(deed)) => {
                let (client, sender) = (top.client.clone(), top.sender.clone());
                tokio::spawn(async move { sender.send(carry_out(&client, &deed).await).await });
            }
        }
    }
}

/// Panics if a test asks for it, in this thread or another one: what a panic leaves of the terminal can be seen only from
/// outside. Not in a program that is built for release.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "for this it is here")]
fn panic_if_asked(state: &TopState) {
    if state.known().status.is_none() {
        return;
    }
    match std::env::var("GRID_TEST_PANIC").as_deref() {
        Ok("here") => panic!("a test asked for it"),
        Ok("elsewhere") => drop(std::thread::spawn(|| panic!("a test asked for it"))),
        _ => {}
    }
}

/// A panic that was not the loop's own has given the terminal back.
fn failed_in_part() -> CliError {
    CliError::failed("a part of this program failed", "what it wrote is above").help("report what it wrote")
}

/// Waits for a key, the mouse or a new size. Cancel-safe.
async fn next_input(inputs: &mut EventStream) -> Option<std::io::Result<Event>> {
    poll_fn(|context| Pin::new(&mut *inputs).poll_next(context)).await
}

impl TopLoop {
    fn take_input(&mut self, input: Event) -> Option<TopEffect> {
        let effect = match input {
            Event::Key(key) => self.state.handle_key(key),
            Event::Mouse(mouse) => match self.state.handle_mouse(mouse) {
                (true, effect) => effect,
                (false, _) => return None,
            },
            Event::Resize(..) => None,
            _ => return None,
        };
        self.is_stale = true;
        let now = self.state.wanted();
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, now) != now);
        effect
    }

    fn take_news(&mut self, news: TopNews) {
        let is_changed = matches!(news, TopNews::Told { .. });
        self.state.handle_news(news);
        self.is_stale = true;
        if is_changed {
            // The same is wanted, and now.
            self.wanted.send_replace(self.state.wanted());
        }
    }
}
