;; attack: `loop` asks to be called again for ever
;; when: message
;; ends: survives
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    )
  (func (export "loop") (result i32) (i32.const 1))
)
