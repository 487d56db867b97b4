;; attack: memory has addresses of 64 bits
;; when: upload
;; ends: rejected
(module
  (memory (export "memory") i64 1)
  (func (export "handle_msg") (param $len i32)
    )
)
