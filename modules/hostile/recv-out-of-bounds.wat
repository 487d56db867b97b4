;; attack: `recv` is given a place past the end of memory
;; when: message
;; ends: out-of-bounds
(module
  (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (drop (call $recv (i32.const 65536) (i32.const 1))))
)
