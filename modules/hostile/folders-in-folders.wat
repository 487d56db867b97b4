;; attack: a command makes folders inside each other without end
;; when: message
;; with: files
;; ends: survives
(module
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $n i32) (local $errno i32)
    (loop $l
      (i32.store16 (local.get $n) (i32.const 0x2f64))
      (local.set $n (i32.add (local.get $n) (i32.const 2)))
      (local.set $errno (call $mkdir (i32.const 3) (i32.const 0) (local.get $n)))
      (br_if $l (i32.and (i32.eqz (local.get $errno)) (i32.lt_u (local.get $n) (i32.const 10000)))))
    (if (i32.ne (local.get $errno) (i32.const 37)) (then unreachable)))
)
