use super::*;
use crate::entry_point::{CoreEntry, LoopKind};
use crate::inspection::inspect;

fn check(wat: &str) -> Result<ModuleReport, ScanRefusal> {
    inspect(&wat::parse_str(wat).unwrap(), &ScanLimits::default())
}

fn refusal(wat: &str) -> String {
    check(wat).unwrap_err().to_string()
}

#[test]
fn each_entry_point_is_recognised() {
    let core = check(
        r#"(module (memory (export "memory") 1) (func (export "handle_msg") (param i32)) (func (export "loop")))"#,
    );
    let entry_point = EntryPoint::Core(CoreEntry { turn: LoopKind::Polled, ..CoreEntry::default() });
    assert_eq!(core.unwrap().entry_point, entry_point);
    let command = check(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    assert_eq!(command.unwrap().entry_point, EntryPoint::Command);
}

#[test]
fn a_near_miss_is_named() {
    let said = refusal(r#"(module (memory (export "memory") 1) (func (export "handleMsg") (param i32)))"#);
    assert!(said.contains("did you mean `handle_msg` by `handleMsg`?"), "{said}");
}

#[test]
fn a_wrong_type_is_shown_beside_the_right_one() {
    let said =
        refusal(r#"(module (memory (export "memory") 1) (func (export "handle_msg") (param i32 i32)))"#);
    assert_eq!(said, "the export `handle_msg` has the type (i32, i32), and the grid calls (i32)");
}

#[test]
fn an_unknown_import_is_named() {
    let said = refusal(r#"(module (import "env" "socket" (func (param i64))))"#);
    assert!(said.starts_with("the module imports `env.socket` as (i64)"), "{said}");
    let memory = refusal(r#"(module (import "env" "memory" (memory 1)))"#);
    assert!(memory.contains("env.memory"), "{memory}");
}

#[test]
fn forbidden_features_are_refused() {
    for wat in [
        "(module (memory 1 1 shared))",
        "(module (memory i64 1))",
        "(module (memory 1) (memory 1))",
        "(module (tag))",
        "(module (type (struct)))",
        "(module (func $f (return_call $f)))",
        "(module (func (drop (i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 0 0 0 0)))))",
    ] {
        assert!(matches!(check(wat), Err(ScanRefusal::Invalid { .. })), "{wat}");
    }
}

#[test]
fn bombs_are_counted_before_they_are_compiled() {
    let nested = format!("(module (func {} {}))", "block ".repeat(1001), "end ".repeat(1001));
    assert_eq!(refusal(&nested), "the module has 1001 blocks within blocks, and the limit is 1000");
    let locals = format!("(module (func (local {})))", "i32 ".repeat(5001));
    assert_eq!(refusal(&locals), "the module has 5001 locals in one function, and the limit is 5000");
    let many = format!("(module {})", "(func)".repeat(60_001));
    assert_eq!(refusal(&many), "the module has 60001 functions, and the limit is 60000");
    let memory = refusal("(module (memory 65536))");
    assert!(memory.contains("bytes of memory"), "{memory}");
}

#[test]
fn every_truncation_and_flip_is_survived() {
    let wasm = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "handle_msg") (param i32) local.get 0 drop))"#,
    )
    .unwrap();
    for end in 0..wasm.len() {
        assert!(inspect(&wasm[..end], &ScanLimits::default()).is_err(), "{end}");
    }
    for bit in 0..wasm.len() * 8 {
        let mut flipped = wasm.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = inspect(&flipped, &ScanLimits::default());
    }
}
