;; attack: a command makes files without end
;; when: message
;; with: files
;; ends: survives
(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "out/aaaa")
  (func $name (param $n i32)
    (local $i i32)
    (loop $l
      (i32.store8 offset=4 (local.get $i) (i32.add (i32.const 97) (i32.and (local.get $n) (i32.const 15))))
      (local.set $n (i32.shr_u (local.get $n) (i32.const 4)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4)))))
  (func (export "_start")
    (local $n i32) (local $errno i32)
    (loop $l
      (call $name (local.get $n))
      (local.set $errno (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 64)))
      (if (i32.eqz (local.get $errno)) (then
        (if (call $close (i32.load (i32.const 64))) (then unreachable))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $n) (i32.const 5000))))))
    ;; There is no room any more, and it goes on.
    (if (i32.ne (local.get $errno) (i32.const 51)) (then unreachable)))
)
