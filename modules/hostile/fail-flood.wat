;; attack: the same message fails for ever
;; when: message
;; ends: time-limit
(module
  (import "grid" "fail" (func $fail (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (loop $l (call $fail (i32.const 0) (i32.const 8192)) (br $l)))
)
