;; attack: the module starts with a gibibyte
;; when: start
;; ends: memory-limit
(module
  (memory (export "memory") 16384)
  (func (export "handle_msg") (param $len i32)
    )
)
