;; attack: messages are sent for ever, and nobody takes them
;; when: message
;; ends: backpressure
(module
  (import "grid" "send" (func $send (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (loop $l (call $send (i32.const 0) (i32.const 65536)) (br $l)))
)
