;; attack: memory is shared
;; when: upload
;; ends: rejected
(module
  (memory (export "memory") 1 1 shared)
  (func (export "handle_msg") (param $len i32)
    )
)
