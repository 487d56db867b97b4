;; attack: every limit of the scan is nearly reached
;; when: compile
;; ends: survives
(module
  (memory (export "memory") 1)
  (func (param i32) (result i32)
    (local.get 0)
    (i32.add (i32.const 77777)) ;; repeat 20000
  )
  (func (drop (i32.const 1))) ;; repeat 20000
  (func (export "handle_msg") (param $len i32)
    )
)
