//! A terminal with a program on it: what it shows, what was written to it, and how it was set before and after.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for a screen or for the end of a program.
const PATIENCE: Duration = Duration::from_secs(40);

/// A terminal, and the program whose controlling terminal it is.
pub(super) struct Screen {
    child: Child,
    person: File,
    /// Kept, so that the settings can be read when the program has gone.
    program: OwnedFd,
    before: libc::termios,
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

struct Seen {
    parser: vt100::Parser,
    written: Vec<u8>,
}

impl Screen {
    /// Opens a terminal of so many columns and lines, and runs a command on it.
    pub(super) fn open(command: &mut Command, (columns, lines): (u16, u16)) -> Self {
        let size = libc::winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut person, mut program) = (-1, -1);
        // SAFETY: both numbers are written before they are read, the size is only read, and a null pointer means defaults.
        let opened = unsafe {
            libc::openpty(&mut person, &mut program, std::ptr::null_mut(), std::ptr::null(), &size)
        };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the system has just opened both, and nobody else has them.
        let (person, program) = unsafe { (File::from_raw_fd(person), OwnedFd::from_raw_fd(program)) };
        let before = settings(&program);
        let end = || std::process::Stdio::from(program.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: both calls are allowed between fork and exec, and concern only the new process.
        unsafe {
            command.pre_exec(|| {
                // A session of its own, whose terminal this is: then signals of the terminal reach it.
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let parser = vt100::Parser::new(lines, columns, 0);
        let seen = Mutex::new(Seen { parser, written: Vec::new() });
        let shared = Arc::new(Shared { seen, changed: Condvar::new() });
        let (mut reader, to) = (person.try_clone().unwrap(), shared.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = reader.read(&mut bytes) {
                let mut seen = to.seen.lock().unwrap();
                seen.parser.process(&bytes[..count]);
                seen.written.extend_from_slice(&bytes[..count]);
                to.changed.notify_all();
            }
        });
        Self { child, person, program, before, shared }
    }

    /// Types.
    pub(super) fn keys(&mut self, keys: &str) {
        self.person.write_all(keys.as_bytes()).unwrap();
    }

    /// Makes the terminal as large, as a person does who drags its window.
    pub(super) fn resize(&self, columns: u16, lines: u16) {
        self.shared.seen.lock().unwrap().parser.screen_mut().set_size(lines, columns);
        let size = libc::winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open, and the size is only read.
        let done = unsafe { libc::ioctl(self.person.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// Writes on the screen, as another program does that has the same terminal.
    pub(super) fn scribble(&self, text: &str) {
        self.shared.seen.lock().unwrap().parser.process(text.as_bytes());
    }

    pub(super) fn signal(&self, signal: i32) {
        // SAFETY: the process is our child, which has not been waited for.
        let sent = unsafe { libc::kill(self.child.id().cast_signed(), signal) };
        assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
    }

    /// What the terminal shows, each line with a line break.
    pub(super) fn text(&self) -> String {
        shown(&self.shared.seen.lock().unwrap())
    }

    /// Every byte that was written to the terminal.
    pub(super) fn written(&self) -> Vec<u8> {
        self.shared.seen.lock().unwrap().written.clone()
    }

    /// Waits until the terminal shows a text.
    pub(super) fn wait_for(&self, part: &str) {
        self.wait_until(&format!("`{part}` is shown"), |text| text.contains(part));
    }

    /// Waits until `holds` is true of what the terminal shows.
    pub(super) fn wait_until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let seen = self.shared.seen.lock().unwrap();
        let waiting = self.shared.changed.wait_timeout_while(seen, PATIENCE, |seen| !holds(&shown(seen)));
        let (seen, waited) = waiting.unwrap();
        assert!(!waited.timed_out(), "never: {what}; it shows:\n{}", shown(&seen));
    }

    /// Waits for the end of the program; its exit code, if it was not killed.
    pub(super) fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end; it shows:\n{}", self.text());
            // The system has no wait with a time limit, so this one polls every 5 ms.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Fails unless the terminal is as it was before the program ran: its settings, its screen, its cursor, its mouse.
    pub(super) fn check_left_as_it_was(&self) {
        let after = settings(&self.program);
        let of = |termios: &libc::termios| {
            (termios.c_iflag, termios.c_oflag, termios.c_cflag, termios.c_lflag, termios.c_cc)
        };
        assert_eq!(of(&after), of(&self.before));
        // What the program wrote last may still be on its way.
        let seen = self.shared.seen.lock().unwrap();
        let is_back = |seen: &Seen| {
            let screen = seen.parser.screen();
            let has_mouse = screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None;
            !screen.alternate_screen() && !screen.hide_cursor() && !has_mouse
        };
        let waiting = self.shared.changed.wait_timeout_while(seen, PATIENCE, |seen| !is_back(seen));
        let (seen, waited) = waiting.unwrap();
        let end = seen.written.len().saturating_sub(400);
        assert!(!waited.timed_out(), "{:?}", String::from_utf8_lossy(&seen.written[end..]));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shown(seen: &Seen) -> String {
    let screen = seen.parser.screen();
    let (_, columns) = screen.size();
    screen.rows(0, columns).map(|row| format!("{}\n", row.trim_end())).collect()
}

fn settings(terminal: &OwnedFd) -> libc::termios {
    // SAFETY: all of it may be zero, and the call writes it before it is read.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the settings are ours.
    let read = unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut settings) };
    assert_eq!(read, 0, "{}", std::io::Error::last_os_error());
    settings
}
