;; attack: one function has a body of megabytes
;; when: compile
;; ends: rejected
(module
  (memory (export "memory") 1)
  (func (param i32) (result i32)
    (local.get 0)
    (i32.add (i32.const 77777)) ;; repeat 200000
  )
  (func (export "handle_msg") (param $len i32)
    )
)
