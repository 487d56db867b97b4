;; attack: a command opens its input without end
;; when: message
;; with: files
;; ends: survives
(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "input")
  (func (export "_start")
    (local $n i32) (local $errno i32)
    (loop $l
      (local.set $errno (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 64)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $l (i32.and (i32.eqz (local.get $errno)) (i32.lt_u (local.get $n) (i32.const 10000)))))
    (if (i32.ne (local.get $errno) (i32.const 33)) (then unreachable)))
)
