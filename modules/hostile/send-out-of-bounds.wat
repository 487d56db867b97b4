;; attack: `send` is given a place past the end of memory
;; when: message
;; ends: out-of-bounds
(module
  (import "grid" "send" (func $send (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (call $send (i32.const 65530) (i32.const 7)))
)
