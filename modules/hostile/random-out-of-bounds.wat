;; attack: random bytes are asked for past the end of memory
;; when: message
;; ends: trap-or-survives
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (drop (call $random_get (i32.const 65530) (i32.const 4096))))
)
