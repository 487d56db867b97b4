;; attack: `log` is given the largest pointer and length
;; when: message
;; ends: out-of-bounds
(module
  (import "grid" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (call $log (i32.const -1) (i32.const -1) (i32.const -1)))
)
