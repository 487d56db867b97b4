;; attack: a command writes 8 MiB of its answer in one call, and traps unless the call is short
;; when: message
;; ends: survives
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 200)
  (func (export "_start")
    (i32.store (i32.const 4) (i32.const 8388608))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
    (if (i32.gt_u (i32.load (i32.const 8)) (i32.const 1048576)) (then unreachable)))
)
