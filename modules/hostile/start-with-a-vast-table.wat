;; attack: a table starts with a hundred million elements
;; when: upload
;; ends: rejected
(module
  (memory (export "memory") 1)
  (table 100000000 funcref)
  (func (export "handle_msg") (param $len i32)
    )
)
