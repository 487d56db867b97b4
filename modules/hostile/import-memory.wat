;; attack: a memory is imported
;; when: upload
;; ends: rejected
(module
  (import "env" "memory" (memory 1))
  (func (export "handle_msg") (param i32))
)
