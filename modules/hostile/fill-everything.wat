;; attack: one instruction writes all of memory
;; when: message
;; ends: survives
(module
  (memory (export "memory") 4096)
  (func (export "handle_msg") (param $len i32)
    (memory.fill (i32.const 0) (i32.const 255) (i32.const 268435456)))
)
