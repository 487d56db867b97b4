;; attack: no message is ever received
;; when: message
;; ends: survives
(module
  (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    )
)
