//! The driver of an executor process: feeds it, watches it and ends it.

mod ending;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use grid_protocol::executor::StartGuest;
use grid_protocol::limits::REASON_BYTES_MAX;
use grid_protocol::wire::Wire;
use grid_protocol::worker::{End, Failure, FailureKind};
use hashbrown::HashMap;
use rustix::thread::futex;
use tokio::process::Child;
use tokio::time::Instant;

use self::ending::ProcessEnd;
use super::adaptive_wait::{AdaptiveWait, WAIT_MAX};
use super::credit::gathered_bytes;
use super::frame::{Frame, FrameKind, NOTHING};
use super::notation;
use super::process::{GuestCommand, Process, ProcessWork};
use super::process_events::{ProcessEvent, ProcessEvents};
use super::remote_guest::RemoteGuest;
use super::ring::{BrokenRing, RingReader, RingWriter};
use super::shared_memory::Direction;
use super::usage::{Heartbeat, Usage};
use crate::sandbox::{GuestEnd, GuestKind};

/// Drives one process: passes frames between its rings and the mailboxes of its guests.
pub(super) struct Driver {
    process: Arc<Process>,
    writer: RingWriter,
    reader: RingReader,
    events: ProcessEvents,
    child: Child,
    usage: Usage,
    guests: HashMap<u32, RemoteGuest>,
    /// What was last taken of the process's work: empty between turns.
    work: ProcessWork,
    /// Commands that were not carried out.
    commands: VecDeque<GuestCommand>,
    /// Guests that have sent something and were not looked after since.
    touched: Vec<u32>,
    /// Guests that were given nothing because too much waits for room in the ring.
    starved: BTreeSet<u32>,
    outgoing: Vec<Frame>,
    /// A message is among what was written since the process was last woken.
    gave_message: bool,
    /// Guests that were told to end, and when.
    aborted: HashMap<u32, Instant>,
    /// The guest whose call took longer than it may.
    overdue: Option<(u32, Duration)>,
    /// Why the module cannot be loaded.
    refused: Option<String>,
    heartbeat: Heartbeat,
    adaptive_wait: AdaptiveWait,
    on_ready: Option<OnReady>,
}

/// Called with a line that tells the walls of a process.
pub(super) type OnReady = Box<dyn FnOnce(&str) + Send>;

/// Time for which a process without guests is kept.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// How often a process is looked at while a guest in it works.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// How often a process is looked at otherwise.
const REST_INTERVAL: Duration = Duration::from_secs(2);

/// Time that a guest which was aborted has to end, before its process is ended.
const ABORT_TIME_MAX: Duration = Duration::from_secs(1);

/// Time after which an executor should have said that a call took too long.
const OVERDUE_TIME_MAX: Duration = Duration::from_millis(250);

/// Frames that are taken from a process before others have their turn.
const FRAMES_AT_ONCE: usize = 256;

/// Turns after which others have theirs, whatever there is to do.
const TURNS_IN_A_ROW: u32 = 8;

/// Frames and commands of a turn after which the driver waits for an event, and does not look again first.
const FEW: usize = 4;

/// Bytes after which they have it, too, at the end of a frame; in the middle of a long one after half a ring.
const BYTES_AT_ONCE: u64 = 256 << 10;

/// Memory of a process besides that of its guests: 256 MiB, and 64 MiB for each guest.
const PROCESS_BYTES: u64 = 256 << 20;
const GUEST_BYTES: u64 = 64 << 20;

impl Driver {
    /// Drives `process`, which runs as `child`.
    pub(super) fn new(process: Arc<Process>, child: Child, events: ProcessEvents, on_ready: OnReady) -> Self {
        let memory = process.memory().clone();
        let reader = RingReader::new(memory.clone(), Direction::ToHost);
        let of_tasks = process.kind() == GuestKind::Task;
        let reader = reader.gathering(FrameKind::Answered, gathered_bytes(of_tasks));
        Self {
            writer: RingWriter::new(memory, Direction::ToExecutor),
            reader,
            events,
            usage: Usage::of(child.id()),
            child,
            guests: HashMap::new(),
            work: ProcessWork::default(),
            commands: VecDeque::new(),
            touched: Vec::new(),
            starved: BTreeSet::new(),
            outgoing: Vec::new(),
            gave_message: false,
            aborted: HashMap::new(),
            overdue: None,
            refused: None,
            heartbeat: Heartbeat::default(),
            adaptive_wait: AdaptiveWait::default(),
            on_ready: Some(on_ready),
            process,
        }
    }

    /// Serves the process until it ends, and tells each of its guests how it ended.
    pub(super) async fn run(mut self) {
        let end = self.serve().await;
        self.finish(end).await;
    }

    /// Serves the process until it is to end.
    async fn serve(&mut self) -> ProcessEnd {
        let (mut watched, mut in_a_row) = (Instant::now(), 0);
        loop {
            let end = match self.turn() {
                Ok(TurnEnd::Ends(verdict)) => return verdict,
                Ok(end) => end,
                Err(broken) => return ProcessEnd::Process(broken.to_string()),
            };
            in_a_row += 1;
            let goes_on = in_a_row < TURNS_IN_A_ROW;
            if end == TurnEnd::Answered && goes_on {
                continue;
            }
            if end != TurnEnd::Waits || !goes_on {
                in_a_row = 0;
                tokio::task::yield_now().await;
                // A process that always has something to say is looked at all the same.
                if watched.elapsed() >= WATCH_INTERVAL {
                    watched = Instant::now();
                    if let Some(verdict) = self.watch(watched) {
                        return verdict;
                    }
                }
                continue;
            }
            let interval = if self.is_watched() { WATCH_INTERVAL } else { REST_INTERVAL };
            let (event, has_waited) = self.events.next(&self.process, watched + interval).await;
            if has_waited {
                in_a_row = 0;
            }
            match event {
                ProcessEvent::Work => {}
                ProcessEvent::Gone => return ProcessEnd::Gone,
                ProcessEvent::Time => {
                    watched = Instant::now();
                    if let Some(verdict) = self.watch(watched) {
                        return verdict;
                    }
                }
            }
        }
    }

    /// Passes on whatever waits.
    fn turn(&mut self) -> Result<TurnEnd, BrokenRing> {
        self.reader.wake_up();
        self.process.take_work(&mut self.work);
        let ProcessWork { commands, attend } = &mut self.work;
        let given = commands.len() + attend.len();
        if given == 0 && self.guests.is_empty() && self.process.is_closed() {
            return Ok(TurnEnd::Ends(ProcessEnd::Idle));
        }
        self.commands.extend(commands.drain(..));
        while let Some(command) = self.commands.pop_front() {
            if let Some(verdict) = self.carry_out(command)? {
                return Ok(TurnEnd::Ends(verdict));
            }
        }
        self.touched.append(&mut self.work.attend);
        let taken = self.take_frames(FRAMES_AT_ONCE)?;
        self.writer.advance()?;
        if !self.writer.is_full() {
            self.touched.extend(std::mem::take(&mut self.starved));
        }
        self.attend_touched(true)?;
        if let Some(reason) = self.refused.take() {
            return Ok(TurnEnd::Ends(ProcessEnd::Refused(reason)));
        }
        if let Some((guest, budget)) = self.overdue
            && self.guests.contains_key(&guest)
        {
            return Ok(TurnEnd::Ends(ProcessEnd::Guest(guest, over_budget(budget))));
        }
        if self.writer.publish() {
            // It fails only if the address is wrong.
            let _ = futex::wake(&self.writer.state().reader_sleeps, futex::Flags::empty(), 1);
            if std::mem::take(&mut self.gave_message) && self.await_answer() {
                return Ok(TurnEnd::Answered);
            }
        }
        // After much of it there is likely more, for which the process need not wake this end.
        if given + taken > FEW || self.writer.is_waiting() && !self.writer.wait_for_room()? {
            return Ok(TurnEnd::Again);
        }
        Ok(if self.reader.sleep() { TurnEnd::Waits } else { TurnEnd::Again })
    }

    /// Waits a moment for the answer to what the process was given, if that is likely to do; true if there is one.
    fn await_answer(&mut self) -> bool {
        if !self.adaptive_wait.wants(self.process.unanswered()) {
            return false;
        }
        // The machine's own clock, whatever the runtime takes for the time.
        let began = std::time::Instant::now();
        loop {
            // The executor may have run already: to be woken, it may be given this thread's processor.
            let (is_answered, waited) = (!self.reader.is_empty(), began.elapsed());
            if is_answered || waited >= WAIT_MAX {
                self.adaptive_wait.note(is_answered, waited);
                return is_answered;
            }
            std::thread::yield_now();
        }
    }

    fn carry_out(&mut self, command: GuestCommand) -> Result<Option<ProcessEnd>, BrokenRing> {
        match command {
            GuestCommand::Start(reference, mut start) => {
                let arguments = std::mem::take(&mut start.arguments);
                let limits = notation::write_limits(&start.limits);
                let body = StartGuest { limits, arguments: arguments.to_vec() }.to_body();
                let guest = reference.guest;
                self.guests.insert(guest, RemoteGuest::new(reference, *start));
                self.writer.push(Frame::new(FrameKind::Start, guest, 0, body.into()))?;
            }
            GuestCommand::End(guest) if self.guests.contains_key(&guest) => {
                if self.process.kind() == GuestKind::Task {
                    return Ok(Some(ProcessEnd::Guest(guest, End::Stopped)));
                }
                self.aborted.entry(guest).or_insert_with(Instant::now);
                self.writer.push(Frame::new(FrameKind::Abort, guest, 0, NOTHING))?;
                // It may have ended already, with mail that nobody takes.
                self.touched.push(guest);
            }
            GuestCommand::Expire(guest) if self.guests.contains_key(&guest) => {
                return Ok(Some(ProcessEnd::Guest(
                    guest,
                    failed(FailureKind::TimeLimit, "its time is over".to_owned()),
                )));
            }
            GuestCommand::Withdrawn { guest, begun, upto } => {
                if let Some(remote) = self.guests.get_mut(&guest) {
                    remote.withdrawn(begun, upto);
                    self.writer.push(Frame::new(FrameKind::Withdrawn, guest, upto, NOTHING))?;
                    self.touched.push(guest);
                }
            }
            GuestCommand::End(_) | GuestCommand::Expire(_) => {}
        }
        Ok(None)
    }

    /// Takes up to `most` frames, of about [`BYTES_AT_ONCE`]; returns how many there were.
    fn take_frames(&mut self, most: usize) -> Result<usize, BrokenRing> {
        let mut taken = 0;
        while taken < most
            && self.reader.unreleased_bytes() < BYTES_AT_ONCE
            && let Some(frame) = self.reader.next()?
        {
            taken += 1;
            if frame.head.kind == FrameKind::Ready {
                let on_ready = self.on_ready.take().ok_or(BrokenRing("ready a second time"))?;
                on_ready(&reason(&frame.payload));
                continue;
            }
            if frame.head.kind == FrameKind::Refused {
                self.refused = Some(reason(&frame.payload));
                continue;
            }
            let guest = frame.head.guest;
            if frame.head.kind == FrameKind::Overdue && self.process.kind() == GuestKind::Task {
                self.overdue = Some((guest, Duration::from_micros(frame.head.number)));
                continue;
            }
            let remote = self.guests.get_mut(&guest).ok_or(BrokenRing("a guest that is not there"))?;
            if remote.handle(frame)? && self.touched.last() != Some(&guest) {
                self.touched.push(guest);
            }
        }
        if self.reader.release() {
            // As in `turn`.
            let _ = futex::wake(&self.reader.state().writer_waits, futex::Flags::empty(), 1);
        }
        Ok(taken)
    }

    /// Looks after each guest that has sent something or whose mailbox has something for it, which it gets if there is room
    /// and if it `lives`. One that was told to end, and has, loses what nobody took.
    fn attend_touched(&mut self, lives: bool) -> Result<(), BrokenRing> {
        let mut touched = std::mem::take(&mut self.touched);
        for guest in touched.drain(..) {
            let Some(remote) = self.guests.get_mut(&guest) else {
                continue;
            };
            let room = lives && !self.writer.is_full();
            let is_over = remote.attend(&mut self.outgoing, room)
                || self.aborted.contains_key(&guest) && remote.has_ended();
            if !room {
                self.starved.insert(guest);
            }
            for frame in self.outgoing.drain(..) {
                self.gave_message |= frame.head.kind == FrameKind::Message;
                self.writer.push(frame)?;
            }
            if is_over && let Some(remote) = self.guests.remove(&guest) {
                self.aborted.remove(&guest);
                self.process.guest_ended();
                remote.finish(GuestEnd::Ended(End::Stopped));
            }
        }
        // For the next time: nothing above touches a guest.
        self.touched = touched;
        Ok(())
    }

    /// True if a guest works on something that has a limit.
    fn is_watched(&self) -> bool {
        !self.aborted.is_empty()
            || self.process.kind() == GuestKind::Task
                && self.guests.values().any(|guest| guest.budget().is_some())
    }

    /// Looks whether the process, or a guest in it, is over a limit.
    fn watch(&mut self, now: Instant) -> Option<ProcessEnd> {
        if self.guests.is_empty() {
            let idle = self.process.idle_since().is_some_and(|since| now.duration_since(since) >= IDLE_MAX);
            return (idle && self.process.close(true)).then_some(ProcessEnd::Idle);
        }
        if self.heartbeat.is_silent(self.process.memory().header().beats.load(Ordering::Relaxed), now) {
            return Some(ProcessEnd::Process("it hung".to_owned()));
        }
        let late = |since: &Instant| now.duration_since(*since) >= ABORT_TIME_MAX;
        if let Some((guest, _)) = self.aborted.iter().find(|(_, since)| late(since)) {
            return Some(ProcessEnd::Guest(*guest, End::Stopped));
        }
        if self.process.kind() == GuestKind::Task {
            if let Some((guest, remote)) = self.guests.iter().next()
                && let Some(budget) = remote.budget()
                && self.usage.processor_since(remote.progress) > budget + OVERDUE_TIME_MAX
            {
                return Some(ProcessEnd::Guest(*guest, over_budget(budget)));
            }
        } else if self.process.memory().header().wedged.load(Ordering::Relaxed) != 0 {
            return Some(ProcessEnd::Process("its threads hung".to_owned()));
        }
        let guests = self.guests.values().map(|guest| guest.limits.memory_bytes as u64 + GUEST_BYTES);
        let most = PROCESS_BYTES + guests.sum::<u64>();
        let resident = self.usage.resident_bytes();
        (resident > most).then(|| ProcessEnd::Process(format!("it took {} MiB of memory", resident >> 20)))
    }
}

/// What a process says, as far as it may be long.
fn reason(said: &[u8]) -> String {
    String::from_utf8_lossy(said.get(..REASON_BYTES_MAX).unwrap_or(said)).into_owned()
}

fn over_budget(budget: Duration) -> End {
    let message = format!("one call took longer on the processor than {budget:?}");
    failed(FailureKind::TimeLimit, message)
}

fn failed(kind: FailureKind, message: String) -> End {
    End::Failed(Failure { kind, message, backtrace: Vec::new() })
}

/// What is to be done after a turn.
#[derive(PartialEq)]
enum TurnEnd {
    /// Nothing waits.
    Waits,
    /// The process has answered already.
    Answered,
    /// Something may wait.
    Again,
    Ends(ProcessEnd),
}

#[cfg(test)]
mod tests;
