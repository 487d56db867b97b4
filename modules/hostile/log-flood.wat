;; attack: lines of log are written for ever
;; when: message
;; ends: time-limit
(module
  (import "grid" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (loop $l (call $log (i32.const 2) (i32.const 0) (i32.const 8192)) (br $l)))
)
