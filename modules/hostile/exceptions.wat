;; attack: exceptions are thrown
;; when: upload
;; ends: rejected
(module
  (tag $e)
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (throw $e))
)
