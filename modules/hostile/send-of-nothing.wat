;; attack: `send` is given no bytes at the very end of memory
;; when: message
;; ends: survives
(module
  (import "grid" "send" (func $send (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (call $send (i32.const 65536) (i32.const 0)))
)
