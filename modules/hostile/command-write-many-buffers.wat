;; attack: a command's write names two thousand million buffers
;; when: message
;; ends: failed
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2147483647) (i32.const 8))))
)
