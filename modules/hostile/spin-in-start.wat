;; attack: the start function never returns
;; when: start
;; ends: time-limit
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    )
  (func $s (loop $l (br $l)))
  (start $s)
)
