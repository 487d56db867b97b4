;; attack: a table grows until it cannot
;; when: message
;; ends: survives
(module
  (memory (export "memory") 1)
  (table $t 1 funcref)
  (func (export "handle_msg") (param $len i32)
    (loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))))
)
