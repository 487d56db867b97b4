;; attack: `recv` is called again and again
;; when: message
;; ends: survives
(module
  (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (loop $l (br_if $l (i32.ne (call $recv (i32.const 0) (i32.const 65536)) (i32.const -1)))))
)
