;; attack: the handler has a name of its own
;; when: upload
;; ends: rejected
(module
  (memory (export "memory") 1)
  (func (export "handleMsg") (param i32))
)
