;; attack: the time is to be written past the end of memory
;; when: message
;; ends: trap-or-survives
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (drop (call $clock (i32.const 0) (i64.const 0) (i32.const -4))))
)
