;; attack: the guest divides by zero
;; when: message
;; ends: trap
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (drop (i32.div_u (i32.const 1) (i32.const 0))))
)
