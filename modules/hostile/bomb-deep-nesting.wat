;; attack: blocks stand within blocks, twenty thousand deep
;; when: compile
;; ends: rejected
(module
  (memory (export "memory") 1)
  (func
    block ;; repeat 20000
    end ;; repeat 20000
  )
  (func (export "handle_msg") (param $len i32)
    )
)
