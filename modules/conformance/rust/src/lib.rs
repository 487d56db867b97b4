//! The conformance worker in Rust: the first byte of a message says what to do, the rest is its body.
//!
//! The tests drive it, and the same worker in every other language, to see that all of them behave alike.

use cbor4ii::core::Value;
use cbor4ii::core::dec::{Decode, Read};
use cbor4ii::core::enc::Encode;
use cbor4ii::core::utils::{BufWriter, SliceReader};
use grid_guest::{Turn, Worker, fail, level, log, send};

/// Does what the first byte of a message says.
pub struct Conformance {
    arguments: Vec<u8>,
    added: u32,
    turns: Option<u32>,
    turned: u32,
}

impl Worker for Conformance {
    fn new(arguments: &[u8]) -> Result<Self, String> {
        if arguments == b"refuse" {
            return Err("refused".to_owned());
        }
        Ok(Self { arguments: arguments.to_vec(), added: 0, turns: None, turned: 0 })
    }

    fn handle_msg(&mut self, message: &[u8]) {
        let Some((request, body)) = message.split_first() else {
            return send(b"");
        };
        if let Err(reason) = self.handle(*request, body) {
            fail(&reason);
        }
    }

    fn turn(&mut self) -> Turn {
        let Some(turns) = self.turns else {
            return Turn::Idle;
        };
        if self.turned < turns {
            self.turned += 1;
            return Turn::Again;
        }
        send(format!("turns:{}", self.turned).as_bytes());
        self.turns = None;
        Turn::Idle
    }

    fn stop(&mut self) {
        log(level::INFO, "stopped");
    }
}

impl Conformance {
    fn handle(&mut self, request: u8, body: &[u8]) -> Result<(), String> {
        match request {
            b'=' => send(body),
            b'+' => {
                self.added += 1;
                send(self.added.to_string().as_bytes());
            }
            b'*' => (0..number(body)?).for_each(|number| send(number.to_string().as_bytes())),
            b'a' => send(&self.arguments),
            b'l' => (self.turns, self.turned) = (Some(number(body)?), 0),
            b'f' => return Err(text(body)),
            b'g' => {
                for level in [level::ERROR, level::WARN, level::INFO, level::DEBUG, level::TRACE] {
                    log(level, &text(body));
                }
                send(b"logged");
            }
            b'o' => {
                println!("{}", text(body));
                eprintln!("{}", text(body));
                send(b"written");
            }
            b't' => trap_on_request(body),
            b'm' => {
                allocate(number(body)?)?;
                send(b"allocated");
            }
            b'c' => send(&encode(&decode(body)?)?),
            b'n' => send(kind(&decode(body)?).as_bytes()),
            _ => return Err("unknown request".to_owned()),
        }
        Ok(())
    }
}

fn number(body: &[u8]) -> Result<u32, String> {
    text(body).parse().map_err(|error| format!("expected a number: {error}"))
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

#[inline(never)]
fn trap_on_request(body: &[u8]) {
    deliberate_trap(body);
}

#[inline(never)]
fn deliberate_trap(body: &[u8]) {
    panic!("{}", text(body));
}

/// A mebibyte, as often as it is asked for, all of it written to.
fn allocate(pieces: u32) -> Result<(), String> {
    let mut kept = Vec::new();
    for piece in 0..pieces {
        let mut memory: Vec<u8> = Vec::new();
        let enough = memory.try_reserve_exact(1 << 20);
        enough.map_err(|_| format!("out of memory after {piece} MiB"))?;
        memory.resize(1 << 20, piece as u8);
        kept.push(std::hint::black_box(memory));
    }
    Ok(())
}

fn decode(body: &[u8]) -> Result<Value, String> {
    let mut reader = SliceReader::new(body);
    let value = Value::decode(&mut reader).map_err(|error| error.to_string())?;
    let left = reader.fill(1).map_err(|error| error.to_string())?;
    if left.as_ref().is_empty() { Ok(value) } else { Err("bytes are left after the value".to_owned()) }
}

fn encode(value: &Value) -> Result<Vec<u8>, String> {
    let mut writer = BufWriter::new(Vec::new());
    value.encode(&mut writer).map_err(|error| error.to_string())?;
    Ok(writer.into_inner())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Bool",
        Value::Integer(_) => "Integer",
        Value::Float(_) => "Float",
        Value::Bytes(_) => "Bytes",
        Value::Text(_) => "Text",
        Value::Array(_) => "Array",
        Value::Map(_) => "Map",
        _ => "Tag",
    }
}

grid_guest::worker!(Conformance);
