;; attack: one function has fifty thousand locals
;; when: compile
;; ends: rejected
(module
  (memory (export "memory") 1)
  (func
    (local i32) ;; repeat 50000
  )
  (func (export "handle_msg") (param $len i32)
    )
)
