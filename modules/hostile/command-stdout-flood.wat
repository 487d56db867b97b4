;; attack: a command writes an answer without end
;; when: message
;; ends: failed
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 17)
  (data (i32.const 0) "\00\00\00\00\00\00\10\00")
  (func (export "_start")
    (loop $l (br_if $l (i32.eqz (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))))
)
