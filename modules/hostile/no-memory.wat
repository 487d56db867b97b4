;; attack: the memory is kept to itself
;; when: upload
;; ends: rejected
(module
  (memory 1)
  (func (export "handle_msg") (param i32))
)
