;; attack: a command opens a file above its folder
;; when: message
;; with: files
;; ends: survives
(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "../../../../../../../../etc/passwd")
  (func (export "_start")
    (if (i32.ne (i32.const 44) (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 34) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 64))) (then unreachable)))
)
