;; attack: buffers of one write overlap each other and the result
;; when: message
;; ends: survives
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\00\00\00\00\20\00\00\00\00\00\00\00\20\00\00\00")
  (func (export "handle_msg") (param $len i32)
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 0))))
)
