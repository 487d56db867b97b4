;; attack: there are a hundred thousand functions
;; when: compile
;; ends: rejected
(module
  (memory (export "memory") 1)
  (func (drop (i32.const 1))) ;; repeat 100000
  (func (export "handle_msg") (param $len i32)
    )
)
