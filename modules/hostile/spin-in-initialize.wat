;; attack: `_initialize` never returns
;; when: start
;; ends: time-limit
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    )
  (func (export "_initialize") (loop $l (br $l)))
)
