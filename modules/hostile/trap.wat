;; attack: the guest traps at each message
;; when: message
;; ends: trap
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    unreachable)
)
