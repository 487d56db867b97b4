;; attack: a message is never finished
;; when: message
;; ends: time-limit
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (loop $l (br $l)))
)
