;; attack: the module starts with four gibibytes
;; when: upload
;; ends: rejected
(module
  (memory (export "memory") 65536)
  (func (export "handle_msg") (param $len i32)
    )
)
