;; attack: a write names two thousand million buffers
;; when: message
;; ends: trap-or-survives
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2147483647) (i32.const 8))))
)
