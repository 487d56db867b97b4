;; attack: a `loop` without a result never returns
;; when: message
;; ends: time-limit
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    )
  (func (export "loop") (loop $l (br $l)))
)
