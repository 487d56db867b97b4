;; attack: a function calls itself for ever
;; when: message
;; ends: stack-overflow
(module
  (memory (export "memory") 1)
  (func $f (call $f) (drop (i32.const 1)))
  (func (export "handle_msg") (param $len i32)
    (call $f))
)
