;; attack: `loop` returns a number that means nothing
;; when: message
;; ends: bad-return
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    )
  (func (export "loop") (result i32) (i32.const 7))
)
