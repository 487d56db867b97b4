//! The rules: the rows of the table.

use std::time::Duration;

use cbor4ii::core::Value;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use wasm_grid::{End, FailureKind, LogLevel};

use crate::cbor;
use crate::testbench::{LITTLE_MEMORY_BYTES, Testbench, shown};

/// A row of the table.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// What it says, for the table.
    pub(crate) says: &'static str,
    pub(crate) check: fn(Testbench) -> LocalBoxFuture<'static, Result<(), String>>,
}

/// A rule that takes longer has failed: components compile for a while on a busy machine.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(120);

macro_rules! rules {
    ($($name:ident: $says:literal)*) => {
        pub(crate) const RULES: &[Rule] = &[$(
            Rule { name: stringify!($name), says: $says, check: |bench| $name(bench).boxed_local() },
        )*];
    };
}

rules! {
    answers_a_message: "answers a message"
    keeps_state: "keeps state between messages"
    takes_an_empty_message: "an empty message, both ways"
    takes_16_mib: "a message of 16 MiB, both ways"
    takes_every_byte: "every byte value"
    takes_10000_in_order: "10 000 small messages, in order"
    sends_several: "several sends for one message"
    receives_its_arguments: "`init` with arguments"
    refuses_arguments: "`init` that refuses"
    loops_until_idle: "`loop`: again, then idle"
    fails_with_a_reason: "`fail` with a reason, and goes on"
    logs_at_each_level: "a line of log at each level"
    writes_stdout_and_stderr: "standard output and error become log"
    traps_with_a_message: "a trap with a readable message"
    names_its_functions: "a trap names the functions on the stack"
    is_told_to_stop: "a last call at its stop"
    reports_full_memory: "memory is limited, and that is reported"
    round_trips_null_and_booleans: "CBOR: null and booleans"
    round_trips_integers: "CBOR: integers to ±2⁶³"
    round_trips_big_integers: "CBOR: integers beyond"
    round_trips_floats: "CBOR: floats"
    round_trips_text: "CBOR: text"
    round_trips_bytes: "CBOR: bytes"
    round_trips_lists: "CBOR: lists"
    round_trips_maps: "CBOR: maps, with integer keys too"
    round_trips_nesting: "CBOR: 30 levels deep"
    refuses_broken_cbor: "CBOR that is broken fails the message alone"
    counts_primes: "counts the primes below 20 000 right"
}

fn expect(right: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(wrong()) }
}

async fn answers_a_message(bench: Testbench) -> Result<(), String> {
    let outcome = bench.ask_one(b'=', "hello").await?;
    expect(outcome.one()? == b"hello", || format!("{outcome:?}"))
}

async fn keeps_state(bench: Testbench) -> Result<(), String> {
    let worker = bench.worker().await?;
    for count in 1..=3 {
        let outcome = bench.ask(worker, b'+', "").await?;
        expect(outcome.one()? == count.to_string().as_bytes(), || format!("{count}: {outcome:?}"))?;
    }
    Ok(())
}

async fn takes_an_empty_message(bench: Testbench) -> Result<(), String> {
    let worker = bench.worker().await?;
    let outcome = bench.ask_all(worker, &[Vec::new()]).await?;
    expect(outcome.one()?.is_empty(), || format!("{outcome:?}"))
}

async fn takes_16_mib(bench: Testbench) -> Result<(), String> {
    let body: Vec<u8> =
        (0..16u32 << 20).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let outcome = bench.ask_one(b'=', &body).await?;
    let back = outcome.one()?;
    expect(back == body, || format!("{} bytes came back, or others", back.len()))
}

async fn takes_every_byte(bench: Testbench) -> Result<(), String> {
    let body: Vec<u8> = (0..=255).collect();
    let outcome = bench.ask_one(b'=', &body).await?;
    expect(outcome.one()? == body, || format!("{outcome:?}"))
}

async fn takes_10000_in_order(bench: Testbench) -> Result<(), String> {
    let worker = bench.worker().await?;
    let numbers: Vec<u32> = (0..10_000).collect();
    // No more at once than may be unread.
    for numbers in numbers.chunks(1000) {
        let messages: Vec<_> = numbers.iter().map(|number| format!("={number}").into_bytes()).collect();
        let outcome = bench.ask_all(worker, &messages).await?;
        let expected = numbers.iter().map(|number| number.to_string().into_bytes());
        expect(outcome.sent.iter().map(|sent| sent.to_vec()).eq(expected), || {
            format!("{} of 1000 came, or in another order; failed {:?}", outcome.sent.len(), outcome.failed)
        })?;
    }
    Ok(())
}

async fn sends_several(bench: Testbench) -> Result<(), String> {
    let worker = bench.worker().await?;
    for count in [0, 1, 100] {
        let outcome = bench.ask(worker, b'*', count.to_string()).await?;
        let expected = (0..count).map(|number: i32| number.to_string().into_bytes());
        expect(outcome.sent.iter().map(|sent| sent.to_vec()).eq(expected), || {
            format!("{count}: {outcome:?}")
        })?;
    }
    Ok(())
}

async fn receives_its_arguments(bench: Testbench) -> Result<(), String> {
    let arguments: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let worker = bench.spawn(bench.conformance, &arguments, None).await?.map_err(|end| end.to_string())?;
    let outcome = bench.ask(worker, b'a', "").await?;
    let back = outcome.one()?;
    expect(back == arguments, || format!("{} bytes: {}", back.len(), shown(back)))
}

async fn refuses_arguments(bench: Testbench) -> Result<(), String> {
    match bench.spawn(bench.conformance, b"refuse", None).await? {
        Ok(_) => Err("it started".to_owned()),
        Err(End::Failed(failure)) if failure.kind == FailureKind::Start => {
            expect(failure.message.contains("refused"), || failure.message.clone())
        }
        Err(end) => Err(format!("it ended as {end}")),
    }
}

async fn loops_until_idle(bench: Testbench) -> Result<(), String> {
    let worker = bench.worker().await?;
    for turns in [0, 1, 5, 1000] {
        let outcome = bench.ask(worker, b'l', turns.to_string()).await?;
        let expected = format!("turns:{turns}");
        expect(outcome.one()? == expected.as_bytes(), || format!("{turns}: {outcome:?}"))?;
    }
    Ok(())
}

async fn fails_with_a_reason(bench: Testbench) -> Result<(), String> {
    let worker = bench.worker().await?;
    let outcome = bench.ask(worker, b'f', "the reason is ☃").await?;
    expect(outcome.failed.as_deref() == Some("the reason is ☃"), || format!("{outcome:?}"))?;
    let outcome = bench.ask(worker, b'=', "still there").await?;
    expect(outcome.one()? == b"still there", || format!("{outcome:?}"))
}

async fn logs_at_each_level(bench: Testbench) -> Result<(), String> {
    let worker = bench.worker().await?;
    let outcome = bench.ask(worker, b'g', "a line").await?;
    expect(outcome.one()? == b"logged", || format!("{outcome:?}"))?;
    let lines = bench.log(worker).await?;
    let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    let right =
        lines.iter().map(|line| line.level).eq(levels) && lines.iter().all(|line| line.text == "a line");
    expect(right, || format!("{lines:?}"))
}

async fn writes_stdout_and_stderr(bench: Testbench) -> Result<(), String> {
    let worker = bench.worker().await?;
    let outcome = bench.ask(worker, b'o', "to a stream").await?;
    expect(outcome.one()? == b"written", || format!("{outcome:?}"))?;
    let lines = bench.log(worker).await?;
    let at = |level| lines.iter().any(|line| line.level == level && line.text == "to a stream");
    // What JavaScript has for standard error logs errors.
    expect(at(LogLevel::Info) && (at(LogLevel::Warn) || at(LogLevel::Error)), || format!("{lines:?}"))
}

/// How the worker ended that was told to trap.
async fn trapped(bench: Testbench) -> Result<wasm_grid::Failure, String> {
    let outcome = bench.ask_one(b't', "it was on purpose").await?;
    match outcome.left {
        Some(End::Failed(failure)) => Ok(failure),
        _ => Err(format!("it lives: {outcome:?}")),
    }
}

async fn traps_with_a_message(bench: Testbench) -> Result<(), String> {
    let failure = trapped(bench).await?;
    let right = matches!(failure.kind, FailureKind::Trap | FailureKind::Exit(_))
        && failure.message.contains("it was on purpose");
    expect(right, || format!("{failure:?}"))
}

async fn names_its_functions(bench: Testbench) -> Result<(), String> {
    let failure = trapped(bench).await?;
    let frames = failure.backtrace.join("\n");
    // An interpreter's own frames are on the stack; the program's are in its words.
    let said = format!("{frames}\n{}", failure.message).to_lowercase().replace('_', "");
    expect(said.contains("deliberatetrap"), || format!("{failure:?}"))
}

async fn is_told_to_stop(bench: Testbench) -> Result<(), String> {
    let worker = bench.worker().await?;
    let (lines, end) = bench.stop(worker).await?;
    expect(end == End::Stopped, || end.to_string())?;
    let right = lines.iter().any(|line| line.level == LogLevel::Info && line.text == "stopped");
    expect(right, || format!("{lines:?}"))
}

async fn reports_full_memory(bench: Testbench) -> Result<(), String> {
    let worker = bench.spawn(bench.conformance, b"", Some(LITTLE_MEMORY_BYTES)).await?;
    let worker = worker.map_err(|end| end.to_string())?;
    let outcome = bench.ask(worker, b'm', "3").await?;
    expect(outcome.one()? == b"allocated", || format!("{outcome:?}"))?;
    let outcome = bench.ask(worker, b'm', "200").await?;
    let right = match (&outcome.failed, &outcome.left) {
        // The language can say so itself,
        (Some(reason), None) => reason.contains("memory"),
        // or the host says it of what is left.
        (_, Some(End::Failed(failure))) => failure.kind == FailureKind::OutOfMemory,
        _ => false,
    };
    expect(right, || format!("{outcome:?}"))
}

async fn round_trip(bench: Testbench, values: Vec<Value>) -> Result<(), String> {
    let worker = bench.worker().await?;
    for value in values {
        let outcome = bench.ask(worker, b'c', cbor::encode(&value)).await?;
        let back = cbor::decode(outcome.one()?)?;
        expect(cbor::same(&value, &back), || {
            let (value, back) = (format!("{value:?}"), format!("{back:?}"));
            format!("{} came back as {}", shown(value.as_bytes()), shown(back.as_bytes()))
        })?;
    }
    Ok(())
}

async fn round_trips_null_and_booleans(bench: Testbench) -> Result<(), String> {
    round_trip(bench, vec![Value::Null, Value::Bool(true), Value::Bool(false)]).await
}

async fn round_trips_integers(bench: Testbench) -> Result<(), String> {
    round_trip(bench, cbor::integers()).await
}

async fn round_trips_big_integers(bench: Testbench) -> Result<(), String> {
    round_trip(bench, cbor::big_integers()).await
}

async fn round_trips_floats(bench: Testbench) -> Result<(), String> {
    round_trip(bench, cbor::floats()).await
}

async fn round_trips_text(bench: Testbench) -> Result<(), String> {
    round_trip(bench, cbor::texts()).await
}

async fn round_trips_bytes(bench: Testbench) -> Result<(), String> {
    round_trip(bench, cbor::byte_strings()).await
}

async fn round_trips_lists(bench: Testbench) -> Result<(), String> {
    round_trip(bench, cbor::lists()).await
}

async fn round_trips_maps(bench: Testbench) -> Result<(), String> {
    round_trip(bench, cbor::maps()).await
}

async fn round_trips_nesting(bench: Testbench) -> Result<(), String> {
    round_trip(bench, vec![cbor::nested()]).await
}

async fn refuses_broken_cbor(bench: Testbench) -> Result<(), String> {
    let worker = bench.worker().await?;
    for broken in cbor::broken() {
        let outcome = bench.ask(worker, b'c', &broken).await?;
        let right =
            outcome.failed.as_ref().is_some_and(|reason| !reason.is_empty()) && outcome.left.is_none();
        expect(right, || format!("{:02x?}…: {outcome:?}", &broken[..broken.len().min(9)]))?;
    }
    let outcome = bench.ask(worker, b'=', "still there").await?;
    expect(outcome.one()? == b"still there", || format!("{outcome:?}"))
}

async fn counts_primes(bench: Testbench) -> Result<(), String> {
    let worker = bench.primes().await?;
    let range = Value::Array(vec![Value::Integer(0), Value::Integer(20_000)]);
    let outcome = bench.ask_all(worker, &[cbor::encode(&range)]).await?;
    let found = cbor::decode(outcome.one()?)?;
    let expected = [("from", 0), ("to", 20_000), ("count", 2262), ("largest", 19_997)]
        .map(|(name, number)| (Value::Text(name.to_owned()), Value::Integer(number)));
    expect(cbor::same(&found, &Value::Map(expected.to_vec())), || format!("{found:?}"))
}
