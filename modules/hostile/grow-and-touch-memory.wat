;; attack: memory grows until it cannot, and all of it is written
;; when: message
;; ends: survives
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (loop $l (br_if $l (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) (memory.fill (i32.const 0) (i32.const 170) (i32.mul (memory.size) (i32.const 65536))))
)
