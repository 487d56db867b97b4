;; attack: a command writes 240 MiB to standard error in one call, 1 024 times over
;; when: message
;; ends: survives
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4000)
  (func (export "_start") (local $i i32)
    (loop $l
      (i32.store offset=4 (i32.shl (local.get $i) (i32.const 3)) (i32.const 251658240))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 1024))))
    (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1024) (i32.const 262140000))))
)
