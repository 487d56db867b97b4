;; attack: a message is longer than any may be
;; when: message
;; ends: message-too-large
(module
  (import "grid" "send" (func $send (param i32 i32)))
  (memory (export "memory") 1100)
  (func (export "handle_msg") (param $len i32)
    (call $send (i32.const 0) (i32.const 67108865)))
)
