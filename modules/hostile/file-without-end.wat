;; attack: a command writes a file without end
;; when: message
;; with: files
;; ends: survives
(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "tmp/x")
  (data (i32.const 16) "\00\00\01\00\00\00\01\00")
  (func (export "_start")
    (local $n i32) (local $errno i32)
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 64)) (then unreachable))
    (loop $l
      (local.set $errno (call $fd_write (i32.load (i32.const 64)) (i32.const 16) (i32.const 1) (i32.const 68)))
      (if (i32.eqz (local.get $errno)) (then
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $n) (i32.const 2000))))))
    (if (i32.ne (local.get $errno) (i32.const 51)) (then unreachable)))
)
