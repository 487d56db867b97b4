//! Entry points: which of the three kinds of worker a module is.

use std::collections::BTreeMap;

use wasmparser::{FuncType, ValType};

use crate::limits::ScanRefusal;

/// How a host calls a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryPoint {
    /// A core module that exports `handle_msg`; its instance lives on between messages.
    Core(CoreEntry),
    /// A WASI command: `_start` runs in a new instance for each message.
    Command,
    /// A component of one of the worlds of `grid:worker`.
    Component(ComponentEntry),
}

/// What a component exports besides `handle-msg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ComponentEntry {
    /// True if it exports `start`, which takes the spawn arguments.
    pub start: bool,
    /// True if it exports `loop`, which the host calls for turns without a message.
    pub turns: bool,
    /// True if it exports `stop`, which the host calls last.
    pub stop: bool,
}

/// What a core module exports besides `handle_msg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoreEntry {
    /// The form of its `loop`.
    pub turn: LoopKind,
    /// True if it exports `init`, which takes the spawn arguments.
    pub init: bool,
    /// True if it exports `stop`, which the host calls last.
    pub stop: bool,
    /// True if it exports `_initialize`, which the host calls first.
    pub initialize: bool,
}

/// The form of a core module's `loop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoopKind {
    /// No `loop`: a message is done when `handle_msg` returns.
    #[default]
    Absent,
    /// `loop() -> i32`: the result says whether the guest wants to be called again.
    Answering,
    /// `loop()`: called after each message and after each poll interval; a message is done at the guest's
    /// first send.
    Polled,
}

impl EntryPoint {
    /// The kind of entry point in a word.
    pub fn label(self) -> &'static str {
        match self {
            Self::Core(_) => "core",
            Self::Command => "command",
            Self::Component(_) => "component",
        }
    }
}

const UNIT: Signature = Signature { params: &[], results: &[] };
const LENGTH: Signature = Signature { params: &[ValType::I32], results: &[] };
const ANSWER: Signature = Signature { params: &[], results: &[ValType::I32] };

#[derive(Clone, Copy)]
struct Signature {
    params: &'static [ValType],
    results: &'static [ValType],
}

/// Finds the entry point among the exported functions. `memory` is true if the module exports its memory.
pub(crate) fn find(exports: &BTreeMap<String, FuncType>, memory: bool) -> Result<EntryPoint, ScanRefusal> {
    use grid_abi as abi;
    if !exports.contains_key(abi::HANDLE_MSG) {
        if exports.contains_key(abi::START) {
            expect(exports, abi::START, &[UNIT])?;
            need_memory(memory)?;
            return Ok(EntryPoint::Command);
        }
        return Err(no_entry_point(exports));
    }
    need_memory(memory)?;
    expect(exports, abi::HANDLE_MSG, &[LENGTH])?;
    let turn = match expect(exports, abi::LOOP, &[ANSWER, UNIT])? {
        Some(0) => LoopKind::Answering,
        Some(_) => LoopKind::Polled,
        None => LoopKind::Absent,
    };
    Ok(EntryPoint::Core(CoreEntry {
        turn,
        init: expect(exports, abi::INIT, &[LENGTH])?.is_some(),
        stop: expect(exports, abi::STOP, &[UNIT])?.is_some(),
        initialize: expect(exports, abi::INITIALIZE, &[UNIT])?.is_some(),
    }))
}

fn need_memory(memory: bool) -> Result<(), ScanRefusal> {
    if memory { Ok(()) } else { Err(ScanRefusal::NoMemory) }
}

/// The index in `allowed` of the export's signature; `None` if there is no such export.
fn expect(
    exports: &BTreeMap<String, FuncType>,
    name: &'static str,
    allowed: &[Signature],
) -> Result<Option<usize>, ScanRefusal> {
    let Some(found) = exports.get(name) else {
        return Ok(None);
    };
    let fits =
        |signature: &Signature| found.params() == signature.params && found.results() == signature.results;
    match allowed.iter().position(fits) {
        Some(place) => Ok(Some(place)),
        None => Err(ScanRefusal::WrongSignature {
            export: name,
            found: write(found.params(), found.results()),
            expected: allowed
                .iter()
                .map(|one| write(one.params, one.results))
                .collect::<Vec<_>>()
                .join(" or "),
        }),
    }
}

pub(crate) fn write(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| types.iter().map(ValType::to_string).collect::<Vec<_>>().join(", ");
    match results {
        [] => format!("({})", list(params)),
        results => format!("({}) -> {}", list(params), list(results)),
    }
}

fn no_entry_point(exports: &BTreeMap<String, FuncType>) -> ScanRefusal {
    ScanRefusal::NoEntryPoint {
        found: exports.keys().take(ScanRefusal::NAMES_SHOWN).cloned().collect(),
        did_you_mean: near_miss(exports.keys().map(String::as_str)),
    }
}

/// The first name that was probably meant to be the message handler's.
pub(crate) fn near_miss<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<String> {
    let plain =
        |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let wanted = ["handlemsg", "handlemessage", "onmessage", "handle", "onmsg"];
    names.find(|name| wanted.contains(&plain(name).as_str())).map(str::to_owned)
}
