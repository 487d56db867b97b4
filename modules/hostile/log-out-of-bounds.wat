;; attack: `log` is given a place past the end of memory
;; when: message
;; ends: out-of-bounds
(module
  (import "grid" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (call $log (i32.const 0) (i32.const 65536) (i32.const 1)))
)
