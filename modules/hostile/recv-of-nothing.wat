;; attack: `recv` is given no bytes at the very end of memory
;; when: message
;; ends: survives
(module
  (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (drop (call $recv (i32.const 0) (i32.const 0))))
)
