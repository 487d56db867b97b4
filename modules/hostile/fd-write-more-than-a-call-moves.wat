;; attack: 100 MiB go to standard output in one call, and the guest traps unless the call is short
;; when: message
;; ends: survives
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1700)
  (func (export "handle_msg") (param $len i32)
    (memory.fill (i32.const 16) (i32.const 10) (i32.const 104857600))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 104857600))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
    (if (i32.gt_u (i32.load (i32.const 8)) (i32.const 65536)) (then unreachable)))
)
