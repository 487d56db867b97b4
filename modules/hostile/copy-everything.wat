;; attack: one instruction copies half of memory over the other, for ever
;; when: message
;; ends: time-limit
(module
  (memory (export "memory") 4096)
  (func (export "handle_msg") (param $len i32)
    (loop $l (memory.copy (i32.const 0) (i32.const 134217728) (i32.const 134217728)) (br $l)))
)
