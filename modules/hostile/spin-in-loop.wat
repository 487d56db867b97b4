;; attack: `loop` never returns
;; when: message
;; ends: time-limit
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    )
  (func (export "loop") (result i32) (loop $l (br $l)) (i32.const 0))
)
