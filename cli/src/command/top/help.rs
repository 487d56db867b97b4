//! The keys, on a page.

use crate::command::top::text::{TopLine, TopTone};

/// Keys and what they do, under headings.
const KEYS: [(&str, &[(&str, &str)]); 4] = [
    (
        "where to",
        &[
            (":", "go to hosts, jobs …; tab completes, :q leaves"),
            ("1 to 6", "the same, by digits"),
            ("enter, d", "describe what is selected"),
            ("l", "the log of a worker, or what a failed task wrote last"),
            ("t", "a task of the job, by its number"),
            ("esc", "back; takes a filter off first"),
            ("?", "these keys"),
            ("ctrl-l", "draw everything again"),
            ("q, ctrl-c", "leave"),
        ],
    ),
    (
        "lists and pages",
        &[
            ("j k, arrows", "down, up"),
            ("g G, home end", "first, last; the last event, or line of a log, stays last"),
            ("space, ctrl-f", "a screen down; ctrl-b: a screen up"),
            ("/", "show only what contains the text"),
            ("s, S", "sort by the next column; reverse"),
        ],
    ),
    (
        "changes",
        &[
            ("a", "let in a host that waits"),
            ("r", "try the failed tasks of a job again that is over"),
            ("ctrl-d", "drain a host; asks first"),
            ("ctrl-k", "stop a job or a worker; asks first"),
        ],
    ),
    (
        "mouse",
        &[
            ("click", "select a row, sort by a heading, go to a resource"),
            ("wheel", "scroll; with shift, most terminals select text"),
        ],
    ),
];

/// The page of keys.
pub(crate) fn lines() -> Vec<TopLine> {
    let mut lines = Vec::new();
    for (heading, keys) in KEYS {
        if !lines.is_empty() {
            lines.push(TopLine::new(TopTone::Plain, ""));
        }
        lines.push(TopLine::new(TopTone::Heading, heading));
        let line = |(key, what): &(&str, &str)| TopLine::new(TopTone::Plain, &format!("  {key:15}{what}"));
        lines.extend(keys.iter().map(line));
    }
    lines
}
