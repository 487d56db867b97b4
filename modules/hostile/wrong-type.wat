;; attack: the handler takes what nobody gives
;; when: upload
;; ends: rejected
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param i64 i64))
)
