//! The keys that matter now, for the last line.

use crate::command::top::resource::TopResource;
use crate::command::top::state::{TopPageKind, TopPrompt};
use crate::command::top::thing::TopThing;

/// Keys and what they do, in a word or two.
type TopHints = &'static [(&'static str, &'static str)];

const HOSTS: TopHints = &[
    ("d", "describe"),
    ("/", "filter"),
    ("?", "keys"),
    ("s", "sort"),
    ("a", "approve"),
    ("^d", "drain"),
    (":", "go to"),
    ("q", "quit"),
];

const JOBS: TopHints = &[
    ("d", "describe"),
    ("/", "filter"),
    ("?", "keys"),
    ("s", "sort"),
    ("t", "task"),
    ("r", "retry"),
    ("^k", "stop"),
    (":", "go to"),
    ("q", "quit"),
];

const WORKERS: TopHints = &[
    ("d", "describe"),
    ("l", "log"),
    ("/", "filter"),
    ("?", "keys"),
    ("s", "sort"),
    ("^k", "stop"),
    (":", "go to"),
    ("q", "quit"),
];

/// The keys that matter now, the most important ones first.
pub(super) fn hints(
    prompt: Option<&TopPrompt>,
    page: Option<TopPageKind>,
    resource: TopResource,
) -> TopHints {
    match (prompt, page, resource) {
        (Some(TopPrompt::Confirm(..)), ..) => {
            &[("y", "yes"), ("n", "no"), ("tab", "the other"), ("enter", "choose"), ("esc", "no")]
        }
        (Some(TopPrompt::Command(_)), ..) => &[("enter", "go"), ("tab", "complete"), ("esc", "never mind")],
        (Some(_), ..) => &[("enter", "done"), ("esc", "never mind")],
        (_, Some(TopPageKind::Help), _) => &[("esc", "back"), ("q", "quit")],
        (_, Some(TopPageKind::Logs(_)), _) => {
            &[("esc", "back"), ("?", "keys"), ("/", "filter"), ("G", "end"), ("q", "quit")]
        }
        (_, Some(TopPageKind::Describe(TopThing::Job(_))), _) => &[
            ("esc", "back"),
            ("?", "keys"),
            ("t", "task"),
            ("l", "log"),
            ("r", "retry"),
            ("^k", "stop"),
            ("/", "filter"),
            ("q", "quit"),
        ],
        (_, Some(TopPageKind::Describe(_)), _) => {
            &[("esc", "back"), ("?", "keys"), ("l", "log"), ("/", "filter"), ("q", "quit")]
        }
        (_, None, TopResource::Overview) => {
            &[(":", "go to"), ("1-6", "screens"), ("?", "keys"), ("q", "quit")]
        }
        (_, None, TopResource::Hosts) => HOSTS,
        (_, None, TopResource::Jobs) => JOBS,
        (_, None, TopResource::Workers) => WORKERS,
        (_, None, TopResource::Modules | TopResource::Events) => &[
            ("d", "describe"),
            ("/", "filter"),
            ("?", "keys"),
            ("s", "sort"),
            ("G", "last"),
            (":", "go to"),
            ("q", "quit"),
        ],
    }
}
