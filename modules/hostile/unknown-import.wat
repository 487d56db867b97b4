;; attack: a function is imported that does not exist
;; when: upload
;; ends: rejected
(module
  (import "grid" "exec" (func (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    )
)
