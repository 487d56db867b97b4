;; attack: `fail` is given a place past the end of memory
;; when: message
;; ends: out-of-bounds
(module
  (import "grid" "fail" (func $fail (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (call $fail (i32.const 65536) (i32.const 1)))
)
