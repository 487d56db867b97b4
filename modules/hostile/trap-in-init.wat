;; attack: the guest traps before its first message
;; when: init
;; ends: start
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    )
  (func (export "init") (param i32) unreachable)
)
