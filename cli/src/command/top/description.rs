//! Descriptions of things, and logs: lines of text.

mod job;

use grid_protocol::activity::{HeldAttempt, HostWork};
use wasm_grid::view::{HostView, HostWorkView, LogLineView, ModuleView, WorkerView};
use wasm_grid::{HostInfo, LogLevel, LogLine, ModuleInfo, WorkerInfo, WorkerState, WorkerStatus};

use crate::command::output::{bytes, counted, time};
use crate::command::top::data::TopDetail;
use crate::command::top::known::TopKnown;
use crate::command::top::text::{TopLine, TopTone, span, time_of_day};
use crate::command::top::thing::{TopThing, short};

/// Columns that the names of fields take.
const NAME_COLUMNS: usize = 12;

/// Lines that are being written.
#[derive(Debug, Default)]
struct TopWriter(Vec<TopLine>);

impl TopWriter {
    fn field(&mut self, name: &str, value: &str) {
        self.toned(name, TopTone::Plain, value);
    }

    fn toned(&mut self, name: &str, tone: TopTone, value: &str) {
        self.0.push(TopLine::new(tone, &format!("{name:NAME_COLUMNS$}{value}")));
    }

    /// A heading with an empty line before it.
    fn heading(&mut self, text: &str) {
        self.0.push(TopLine::new(TopTone::Plain, ""));
        self.0.push(TopLine::new(TopTone::Heading, text));
    }

    fn item(&mut self, tone: TopTone, text: &str) {
        self.0.push(TopLine::new(tone, &format!("  {text}")));
    }

    /// A heading and what is said below it, unless nothing is.
    fn list(&mut self, heading: &str, texts: &[String]) {
        if !texts.is_empty() {
            self.heading(heading);
            texts.iter().for_each(|text| self.item(TopTone::Plain, text));
        }
    }
}

/// What is said of a thing; of what the manager was not asked about yet, that it is being asked.
pub(crate) fn describe(known: &TopKnown, thing: TopThing, detail: Option<&TopDetail>) -> Vec<TopLine> {
    let mut writer = TopWriter::default();
    match (thing, detail) {
        (_, Some(TopDetail::Refused(why))) => writer.0.push(TopLine::new(TopTone::Bad, why)),
        (TopThing::Host(key), detail) => {
            let work = if let Some(TopDetail::Host(work)) = detail { Some(work) } else { None };
            if let Some(host) = known.host(&key) {
                host_lines(&mut writer, host);
            }
            work.into_iter().for_each(|work| work_lines(&mut writer, known, work));
        }
        (TopThing::Job(_), Some(TopDetail::Job(info, summary, explained))) => {
            job::lines(&mut writer, known, info, summary, explained);
        }
        (TopThing::Task(..), Some(TopDetail::Task(info, explained))) => {
            job::task_lines(&mut writer, info, explained);
        }
        (TopThing::Worker(id), detail) => {
            let status = if let Some(TopDetail::Worker(status)) = detail { *status } else { None };
            match known.worker(id) {
                Some(worker) => worker_lines(&mut writer, known, worker, status),
                None if detail.is_some() => {
                    writer.0.push(TopLine::new(TopTone::Quiet, "the manager knows no such worker any more"));
                }
                None => {}
            }
        }
        (TopThing::Module(digest), _) => match known.module(&digest) {
            Some(module) => module_lines(&mut writer, module),
            None => writer.0.push(TopLine::new(TopTone::Quiet, "the manager has no such module")),
        },
        (TopThing::Event(number), _) => match known.event(number) {
            Some(event) => {
                writer.field("time", &format!("{} UTC", time(event.unix_ms / 1000).trim_end_matches('Z')));
                writer.field("kind", event.kind);
                let tone = if event.bad { TopTone::Bad } else { TopTone::Plain };
                writer.toned("what", tone, &event.text);
                if let Some(about) = event.about {
                    writer.field("about", &format!("{}; enter shows it", about.title()));
                }
            }
            None => writer.0.push(TopLine::new(TopTone::Quiet, "it is too long ago")),
        },
        _ => {}
    }
    if writer.0.is_empty() {
        writer.0.push(TopLine::new(TopTone::Quiet, "asking the manager …"));
    }
    writer.0
}

/// What a thing wrote.
pub(crate) fn log(detail: Option<&TopDetail>) -> Vec<TopLine> {
    let mut writer = TopWriter::default();
    match detail {
        None => writer.0.push(TopLine::new(TopTone::Quiet, "asking the manager …")),
        Some(TopDetail::Refused(why)) => writer.0.push(TopLine::new(TopTone::Bad, why)),
        Some(TopDetail::Logs(lines, dropped)) => {
            if *dropped > 0 {
                let were = if *dropped == 1 { "was" } else { "were" };
                let text = format!("{} {were} dropped", counted(*dropped, "line"));
                writer.0.push(TopLine::new(TopTone::Odd, &text));
            }
            writer.0.extend(lines.iter().map(log_line));
        }
        Some(TopDetail::Task(info, _)) => job::task_log(&mut writer, info),
        Some(_) => {}
    }
    if writer.0.is_empty() {
        writer.0.push(TopLine::new(TopTone::Quiet, "it wrote nothing"));
    }
    writer.0
}

fn log_line(line: &LogLine) -> TopLine {
    let tone = match line.level {
        LogLevel::Error => TopTone::Bad,
        LogLevel::Warn => TopTone::Odd,
        LogLevel::Debug | LogLevel::Trace => TopTone::Quiet,
        _ => TopTone::Plain,
    };
    let view = LogLineView::from(line);
    TopLine::new(tone, &format!("{} {:5} {}", time_of_day(view.unix_ms), view.level, view.text))
}

fn host_lines(writer: &mut TopWriter, host: &HostInfo) {
    let view = HostView::from(host);
    writer.field("name", &view.name);
    writer.field("state", view.state);
    writer.field("key", &view.key);
    writer.field("fingerprint", &view.fingerprint);
    writer.field("address", &view.address);
    writer.field("platform", &format!("{}, grid {}", view.platform, view.software));
    writer.field("labels", &view.labels.join(", "));
    writer.field("workers", &format!("{} in {}", view.workers, counted(view.slots.into(), "slot")));
    writer.field("memory", &bytes(view.memory_bytes));
    let compiled = counted(view.compilations.into(), "module");
    let sent = bytes(view.module_bytes_sent);
    writer.field("modules", &format!("{compiled} compiled in {}, {sent} sent", span(view.compile_us)));
}

fn work_lines(writer: &mut TopWriter, known: &TopKnown, work: &HostWork) {
    let view = HostWorkView::from(work);
    writer.field("tasks", &format!("it has {}, and would take {}", view.held, view.window));
    let attempt = |held: &HeldAttempt| {
        let state = match held.running_ms {
            Some(ms) => format!("has run for {}", span(ms.saturating_mul(1000))),
            None => "has not begun".to_owned(),
        };
        format!("task {} of {} {state}", held.task, short(held.job))
    };
    let attempts: Vec<_> = work.attempts.iter().map(attempt).collect();
    writer.list("what it works on", &attempts);
    let module = |digest: &wasm_grid::Digest| format!("{} {}", digest.short(), known.module_name(digest));
    writer.list("modules that it has", &work.modules.iter().map(module).collect::<Vec<_>>());
    writer.list("why it gets what it gets", &view.explanation);
}

fn worker_lines(writer: &mut TopWriter, known: &TopKnown, worker: &WorkerInfo, status: Option<WorkerStatus>) {
    let view = WorkerView::from(worker);
    writer.field("worker", &view.worker);
    match &worker.state {
        WorkerState::Ended(end) => {
            let tone = if end.is_accident() { TopTone::Bad } else { TopTone::Plain };
            writer.toned("state", tone, &format!("ended: {end}"));
        }
        state => writer.field("state", state.label()),
    }
    let says = status.map_or("nothing", |status| match status {
        WorkerStatus::Absent => "that it has no such worker",
        WorkerStatus::Starting => "that it is being started",
        WorkerStatus::Idle => "that it waits for a message",
        WorkerStatus::Busy => "that it handles a message",
        _ => "something that this program is too old to know",
    });
    writer.field("host says", says);
    writer.field("module", &format!("{} {}", known.module_name(&worker.module), worker.module));
    writer.field("host", &format!("{} {}", known.host_name(&worker.host), worker.host.fingerprint()));
    writer.field("owner", &worker.owner.fingerprint());
    writer.field("unanswered", &counted(view.unanswered.into(), "message"));
    writer.field("uncollected", &counted(view.uncollected.into(), "message"));
    writer.field("deployment", view.deployment.as_deref().unwrap_or("none"));
    if let WorkerState::Ended(wasm_grid::End::Failed(failure)) = &worker.state {
        let frames: Vec<_> = failure.backtrace.iter().map(|frame| format!("at {frame}")).collect();
        writer.list("where it failed", &frames);
    }
}

fn module_lines(writer: &mut TopWriter, module: &ModuleInfo) {
    let view = ModuleView::from(module);
    writer.field("name", &view.name);
    writer.field("digest", &view.digest);
    writer.field("version", &format!("{} (serial {})", view.version, view.serial));
    writer.field("kind", &view.entry_point);
    writer.field("size", &bytes(view.bytes));
    let expires = if view.expires == 0 { "never".to_owned() } else { time(view.expires) };
    writer.field("expires", &expires);
    writer.field("publisher", &format!("{} {}", module.publisher.fingerprint(), view.publisher));
}
