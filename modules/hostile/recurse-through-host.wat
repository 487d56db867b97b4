;; attack: a host call is made from the deepest stack
;; when: message
;; ends: stack-overflow
(module
  (import "grid" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func $f (call $log (i32.const 4) (i32.const 0) (i32.const 0)) (call $f))
  (func (export "handle_msg") (param $len i32)
    (call $f))
)
